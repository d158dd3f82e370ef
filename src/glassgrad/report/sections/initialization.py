"""Do the weights start right? In pictures: their size against the need, the sums on the rows, and other starts."""

from __future__ import annotations

import math

import numpy as np

from glassgrad.diagnosis.initialization.question import GIVEN, Initialization
from glassgrad.diagnosis.measures.first_weights import Start
from glassgrad.report import run_pictures
from glassgrad.report.drawing import Mark
from glassgrad.report.figures import bars
from glassgrad.report.page import Block, Details, Figure, Table, Text
from glassgrad.report.words import evenly, number, plural
from glassgrad.training.run import Run

FIRST = 3


def draw(measured: Initialization, run: Run) -> list[Block]:
    """The blocks of the section; ``run`` is the run that ``measured`` was taken from."""
    blocks: list[Block] = [*_idea(measured), *_against_need(measured), *_on_the_rows(measured)]
    weights = run_pictures.weight_spreads(run)
    blocks += [*_tried(measured), *weights[:FIRST]]
    if len(weights) > FIRST:
        blocks.append(Details("The weights of the other layers", weights[FIRST:]))
    blocks += _table(measured)
    return blocks


def _idea(m: Initialization) -> list[Block]:
    """What the size of the weights is for, on the reader's own numbers."""
    start = next((one for one in m.hidden if one.scaled), None)
    if start is None:
        return []
    need = "it halves what comes in" if start.activation == "relu" else "of what it takes away"
    before = (
        f"In {start.layer} every neuron adds up {plural(start.fan_in, 'input')}, each times a weight. The weights "
        f"have a typical size of {number(start.size)}"
    )
    if start.size == 0:
        return [Text(f"{before}: every sum is 0, whatever the inputs are.")]
    after = (
        f", and since random signs let most of it cancel, the sums are {number(start.size)} × √{start.fan_in} = "
        f"{number(start.gain)} times as large as the inputs. "
    )
    if start.activation == "identity":
        return [Text(f"{before}{after}About 1 keeps them at one size.")]
    return [
        Text(
            f"{before}{after}Behind {start.activation} about {number(start.need)} keeps values at one size, because "
            f"{need}."
        )
    ]


def _shown(m: Initialization) -> list[Start]:
    """The weights that have a scale; evenly spaced ones of very many."""
    return evenly([start for start in m.starts if start.scaled])


def _label(start: Start, m: Initialization) -> str:
    alone = sum(other.layer == start.layer for other in m.starts) == 1
    return start.layer if alone else f"{start.layer} {start.weight}"


def _against_need(m: Initialization) -> list[Block]:
    shown = [start for start in _shown(m) if start.size > 0]
    if not shown:
        return []
    picture = bars(
        [_label(start, m) for start in shown],
        {
            "forward": [start.gain / start.need for start in shown],
            "backward": [start.gain_back / start.need_back for start in shown],
        },
        title="Size of the weights against what each layer needs",
        x_label="times the need",
        log_x=True,
        show=lambda value: f"{number(value, 2)}×",
        marks=[Mark("right", x=1.0)],
    )
    caption = (
        "The gain of each layer, divided by the gain that keeps values (forward) or the gradient (backward) at one "
        "size. No start suits both; within a factor of three all is well. Errors multiply from layer to layer."
    )
    return [Figure(picture, caption, "The weights against the need")]


def _on_the_rows(m: Initialization) -> list[Block]:
    shown = evenly([layer for layer in m.layers if layer.preactivation >= 0])
    if not any(layer.preactivation > 0 for layer in shown):
        return []
    sizes = [layer.preactivation for layer in shown]
    spreads = [layer.spread for layer in shown]
    positive = [value for value in (*sizes, *spreads) if value > 0]
    log = max(positive) > 30 * min(positive)
    picture = bars(
        [layer.name for layer in shown],
        {"sums": sizes, "differences between rows": spreads},
        title="Size of the sums inside each layer, before the first step",
        x_label="typical size",
        log_x=log,
        show=lambda value: number(value, 2),
    )
    caption = (
        f"Measured on {plural(m.rows, 'row')} of yours, before the first step. Sums about as large as 1 are right. "
        "What differs between rows is all that later layers can learn from: where it fades, all rows look alike."
    )
    return [Figure(picture, caption, "What your rows do to it")]


def _tried(m: Initialization) -> list[Block]:
    if not m.tried:
        return []
    means = {name: float(np.mean(scores)) for name, scores in m.tried.items()}
    finite = {name: value for name, value in means.items() if math.isfinite(value)}
    if not finite:
        return []
    named = {name: f"{name} ({m.init})" if name == GIVEN and len(m.init) < 16 else name for name in means}
    seeds = len(next(iter(m.tried.values())))
    picture = bars(
        [named[name] for name in means],
        {"loss": [means[name] if name in finite else math.nan for name in means]},
        title="Validation loss from different first weights",
        x_label="validation loss",
        roles=["series_1" if name == GIVEN else "muted" for name in means],
        marks=[Mark("best constant guess", x=m.constant)] if max(finite.values()) > 0.3 * m.constant else [],
    )
    caption = (
        f"The same network, {plural(m.tried_epochs, 'epoch')} long, from other first weights: means over "
        f"{plural(seeds, 'seed')}."
    )
    if len(finite) < len(means):
        caption += " A dash: training broke off, or that start is not possible here."
    return [Figure(picture, caption, "What other starts would have done")]


def _table(m: Initialization) -> list[Block]:
    rows = [
        [
            _label(start, m),
            start.activation,
            start.fan_in,
            start.size,
            start.gain,
            start.need,
            start.gain_back,
            start.need_back,
        ]
        for start in m.starts
    ]
    if not rows:
        return []
    header = [
        "layer",
        "activation",
        "inputs",
        "weight size",
        "gain forward",
        "needed",
        "gain backward",
        "needed backward",
    ]
    facts = Text(
        f"The loss of the first weights is {number(m.loss)}; that of the best constant guess is "
        f"{number(m.constant)}.",
        quiet=True,
    )
    return [Details("All first weights", [Table(header, rows), facts])]
