"""Does the gradient reach every layer? Figures: its size at each layer, the factor of each layer, both over time."""

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
    """The blocks of the section. ``run`` is the run with lenses in which ``measured`` was measured."""
    blocks: list[Block] = [
        *_idea(measured),
        *_custom_parts(measured),
        *_gradient_at_layers(measured),
        *_factors(measured),
    ]
    if run.lenses is not None:
        blocks += lens_pictures.gradient_sizes(run.lenses)
    return [*blocks, *_table(measured)]


def _idea(m: ChainRule) -> list[Block]:
    """The chain rule with the measured numbers: one factor for each layer."""
    links = [link for link in m.links if link.factor >= 0]
    if len(links) < 2 or not m.at_output[0] > 0:
        return []
    first, last = links[0], links[-1]
    lead = (
        f"Before the first step, the gradient of the loss at the network's output has norm "
        f"{number(m.at_output[0])}. Every layer multiplies it by a factor on the way back to {first.layer}:"
    )
    factors = [number(link.factor) for link in reversed(links)]
    if len(factors) > 2 * MOST_FACTORS:
        factors = [*factors[:MOST_FACTORS], "…", *factors[-MOST_FACTORS:]]
    product = f"{' × '.join(factors)} = {number(first.start)}"
    caption = f"One factor per layer, from {last.layer} back to {first.layer}."
    return [Text(lead), Code(product, caption)]


def _gradient_at_layers(m: ChainRule) -> list[Block]:
    links = evenly([link for link in m.links if not math.isnan(link.start)])
    if len(links) < 2 or not any(link.start > 0 or link.end > 0 for link in links):
        return []
    picture = bars(
        [link.layer for link in links],
        {"start": [link.start for link in links], "end": [link.end for link in links]},
        title="Gradient at each layer, relative to the gradient at the output",
        x_label="gradient relative to the output",
        log_x=True,
        show=lambda value: number(value, 2),
        marks=[Mark("vanishing", x=VANISHES)] if min(link.start for link in links) < 3 * VANISHES else [],
    )
    caption = (
        "The output is at the bottom. If all bars have about the same length, the gradient reaches every layer. If "
        "they get shorter towards the top, it vanishes on the way. A dash is a gradient of exactly 0."
    )
    return [Figure(picture, caption, "The gradient at each layer")]


def _factors(m: ChainRule) -> list[Block]:
    links = evenly([link for link in m.links if link.factor > 0 or link.jacobian > 0])
    if len(links) < 2:
        return []
    picture = bars(
        [link.layer for link in links],
        {"this gradient": [link.factor for link in links], "maximum": [link.jacobian for link in links]},
        title="Factor of each layer",
        x_label="factor",
        log_x=True,
        show=lambda value: f"×{number(value, 2)}",
        marks=[Mark("no change", x=1.0)],
    )
    caption = (
        "The factor by which each layer multiplies the gradient before the first step, and the maximum over all "
        "directions (the norm of its Jacobian). Many factors above 1 make the gradient explode; many below 1 make it "
        "vanish."
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
            "intended: it has steps" if part.meant else "wrong" if part.error > WRONG else "right",
        ]
        for part in m.parts
    ]
    text = (
        "The derivative of each custom part is compared with central differences in random directions. The relative "
        "error of a right derivative is below one millionth."
    )
    table = Table(["part", "in", "derivative by", "error", "result"], rows)
    return [Text(text, heading="Custom parts"), table]


def _table(m: ChainRule) -> list[Block]:
    rows = [
        [link.layer, link.activation, link.start, link.end, link.factor, link.jacobian] for link in m.links
    ]
    if not rows:
        return []
    header = ["layer", "activation", "gradient at start", "gradient at end", "factor", "Jacobian norm"]
    facts = Text(
        f"The gradients of the layers are relative to the gradient at the output: {number(m.at_output[0])} at the "
        f"start, {number(m.at_output[1])} at the end. The product of all Jacobian norms is {number(m.product)}; the "
        "gradient of a typical row cannot grow by more.",
        quiet=True,
    )
    return [Details("All layers", [Table(header, rows), facts])]
