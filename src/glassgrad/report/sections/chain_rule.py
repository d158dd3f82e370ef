"""Does the gradient reach every layer? In pictures: its size at each, the factors in between, and both in time."""

from __future__ import annotations

import math

from glassgrad.diagnosis.chain_rule.question import VANISHES, WRONG, ChainRule
from glassgrad.report import lens_pictures
from glassgrad.report.drawing import Mark
from glassgrad.report.figures import bars
from glassgrad.report.page import Block, Code, Details, Figure, Table, Text
from glassgrad.report.words import evenly, number
from glassgrad.training.run import Run

MOST_FACTORS = 5


def draw(measured: ChainRule, run: Run) -> list[Block]:
    """The blocks of the section; ``run`` is the watched run that ``measured`` was taken from."""
    blocks: list[Block] = [
        *_idea(measured),
        *_custom_parts(measured),
        *_reached(measured),
        *_factors(measured),
    ]
    if run.lenses is not None:
        blocks += lens_pictures.gradient_sizes(run.lenses)
    return [*blocks, *_table(measured)]


def _idea(m: ChainRule) -> list[Block]:
    """The chain rule on the reader's own numbers: one factor for each layer."""
    links = [link for link in m.links if link.factor >= 0]
    if len(links) < 2 or not m.at_output[0] > 0:
        return []
    first, last = links[0], links[-1]
    lead = (
        f"Before the first step the gradient of the loss at the network's output has the size "
        f"{number(m.at_output[0])}. On its way back every layer multiplies it, until it reaches {first.layer}:"
    )
    back = [link.factor for link in reversed(links)]
    shown = [number(factor) for factor in back]
    if len(shown) > 2 * MOST_FACTORS:
        shown = [*shown[:MOST_FACTORS], "…", *shown[-MOST_FACTORS:]]
    product = f"{' × '.join(shown)} = {number(first.start)}"
    caption = f"One factor for each layer, from {last.layer} back to {first.layer}."
    return [Text(lead), Code(product, caption)]


def _reached(m: ChainRule) -> list[Block]:
    links = evenly([link for link in m.links if not math.isnan(link.start)])
    if len(links) < 2 or not any(link.start > 0 or link.end > 0 for link in links):
        return []
    picture = bars(
        [link.layer for link in links],
        {"start": [link.start for link in links], "end": [link.end for link in links]},
        title="Gradient that reaches each layer, relative to that at the output",
        x_label="times the gradient at the output",
        log_x=True,
        show=lambda value: number(value, 2),
        marks=[Mark("vanishing", x=VANISHES)] if min(link.start for link in links) < 3 * VANISHES else [],
    )
    caption = (
        "The loss is at the bottom. Bars of about one length: the gradient reaches every layer. Bars that get "
        "shorter towards the top: it vanishes on the way. A dash is a gradient of exactly 0."
    )
    return [Figure(picture, caption, "What reaches each layer")]


def _factors(m: ChainRule) -> list[Block]:
    links = evenly([link for link in m.links if link.factor > 0 or link.jacobian > 0])
    if len(links) < 2:
        return []
    picture = bars(
        [link.layer for link in links],
        {"on average": [link.factor for link in links], "at most": [link.jacobian for link in links]},
        title="Factor of each layer",
        x_label="factor",
        log_x=True,
        show=lambda value: f"×{number(value, 2)}",
        marks=[Mark("no change", x=1.0)],
    )
    caption = (
        "What each layer multiplies the gradient by before the first step: this gradient (on average), and the most "
        "that it does to any direction (the norm of its Jacobian). Factors far from 1, all on one side, multiply up."
    )
    return [Figure(picture, caption, "The factors of the chain rule")]


def _custom_parts(m: ChainRule) -> list[Block]:
    if not m.parts:
        return []
    rows = [
        [
            part.part,
            part.where,
            part.by,
            max(part.errors),
            "meant: it has steps" if part.meant else "wrong" if part.error > WRONG else "right",
        ]
        for part in m.parts
    ]
    text = (
        "The derivative of each of your own parts, in random directions, against central differences. The error is "
        "relative: right derivatives are below a millionth."
    )
    table = Table(["part", "in", "derivative by", "error", "it is"], rows)
    return [Text(text, heading="Your own parts"), table]


def _table(m: ChainRule) -> list[Block]:
    rows = [
        [link.layer, link.activation, link.start, link.end, link.factor, link.jacobian] for link in m.links
    ]
    if not rows:
        return []
    header = ["layer", "activation", "reaches it at start", "at end", "factor", "Jacobian norm"]
    facts = Text(
        f"The gradient at the output is {number(m.at_output[0])} at the start and {number(m.at_output[1])} at the "
        f"end. The product of all Jacobian norms is {number(m.product)}: that of a usual row cannot grow by more.",
        quiet=True,
    )
    return [Details("All layers", [Table(header, rows), facts])]
