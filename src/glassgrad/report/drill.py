"""The chain rule as nested folds: the loss at the top, one factor per fold, a weight at the bottom."""

from __future__ import annotations

from glassgrad.common.errors import InputError
from glassgrad.explain.tree import Node, derivative_tree
from glassgrad.report.page import Block, Details, Text
from glassgrad.report.words import number, plural
from glassgrad.training.run import Run


def walk(run: Run, row: int = 0) -> list[Block]:
    """Nested folds for one validation row (or training row); no blocks if the layers are too large."""
    parts = run.task.parts
    x, targets = parts.validation or parts.train
    try:
        loss, root = derivative_tree(run.model, x[row], targets[row : row + 1])
    except InputError:  # the layers are too large
        return []
    part = "validation" if parts.validation is not None else "training"
    lead = (
        f"This {part} row has a loss of {number(loss)}. Each fold goes back by one unit. × is the local derivative, "
        "and dL is the derivative of the loss along this path: the product of all factors so far."
    )
    folds = [_fold(child, "the loss") for child in root.children]
    return [Text(lead, heading="From the loss down to a weight"), *folds]


def _fold(node: Node, above: str) -> Block:
    label = (
        f"{node.name} = {number(node.value)}   dL = {number(node.derivative)}"
        if above == "the loss"
        else f"{node.name} = {number(node.value)}   × {number(node.factor)}   dL = {number(node.derivative)}"
    )
    if not node.children:
        return Text(f"{label}   (× d {above} / d {node.name})", quiet=True)
    blocks: list[Block] = [_fold(child, node.name) for child in node.children]
    if node.others:
        blocks.append(
            Text(f"{plural(node.others, 'weaker branch', 'weaker branches')} not shown", quiet=True)
        )
    return Details(label, blocks)
