"""The chain rule to click through: the loss at the top, a weight at the bottom, one factor at every fold."""

from __future__ import annotations

from glassgrad.common.errors import InputError
from glassgrad.explain.tree import Node, derivative_tree
from glassgrad.report.page import Block, Details, Text
from glassgrad.report.words import number, plural
from glassgrad.training.run import Run


def walk(run: Run, row: int = 0) -> list[Block]:
    """Folds within folds for one validation (or training) row; nothing where layers are too large."""
    parts = run.task.parts
    x, targets = parts.validation or parts.train
    try:
        loss, root = derivative_tree(run.model, x[row], targets[row : row + 1])
    except InputError:  # layers too large to be taken apart
        return []
    part = "validation" if parts.validation is not None else "training"
    lead = (
        f"Take one {part} row. Its loss is {number(loss)}. Open a fold to go one factor further back: each says by "
        "how much the loss answers to that unit along this way, and which factor was multiplied in."
    )
    folds = [_fold(child, "the loss") for child in root.children]
    return [Text(lead, heading="From the loss down to a weight"), *folds]


def _fold(node: Node, above: str) -> Block:
    shown = (
        f"{node.name} = {number(node.value)}   dL = {number(node.derivative)}"
        if above == "the loss"
        else f"{node.name} = {number(node.value)}   × {number(node.factor)}   dL = {number(node.derivative)}"
    )
    if not node.children:
        return Text(f"{shown}   (× d {above} / d {node.name})", quiet=True)
    blocks: list[Block] = [_fold(child, node.name) for child in node.children]
    if node.others:
        blocks.append(
            Text(f"{plural(node.others, 'weaker branch', 'weaker branches')} not shown", quiet=True)
        )
    return Details(shown, blocks)
