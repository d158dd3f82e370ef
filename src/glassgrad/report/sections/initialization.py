"""Do the weights start right? Figures: their scale, the pre-activations of real rows, and other initializations."""

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
"""The number of weight histograms that are not folded away."""


def draw(measured: Initialization, run: Run) -> list[Block]:
    """The blocks of the section. ``run`` is the run in which ``measured`` was measured."""
    blocks: list[Block] = [*_idea(measured), *_relative_gains(measured), *_preactivations(measured)]
    weights = run_pictures.weight_spreads(run)
    blocks += [*_other_initializations(measured), *weights[:FIRST]]
    if len(weights) > FIRST:
        blocks.append(Details("The weights of the other layers", weights[FIRST:]))
    blocks += _table(measured)
    return blocks


def _idea(m: Initialization) -> list[Block]:
    """Why the scale of the weights matters, with the measured numbers of the first hidden layer."""
    start = next((start for start in m.hidden if start.scaled), None)
    if start is None:
        return []
    loss_of_signal = "it zeroes half of its inputs" if start.activation == "relu" else "it shrinks its inputs"
    weights = (
        f"Every neuron of {start.layer} multiplies {plural(start.fan_in, 'input')} by weights and adds up the "
        f"products. The weights have a typical size of {number(start.size)}"
    )
    if start.size == 0:
        return [Text(f"{weights}: every sum is 0, whatever the inputs are.")]
    sums = (
        f". Because their signs are random, most terms cancel, and the sums are {number(start.size)} × "
        f"√{start.fan_in} = {number(start.gain)} times as large as the inputs. "
    )
    if start.activation == "identity":
        return [Text(f"{weights}{sums}A factor of about 1 keeps values at the same size.")]
    return [
        Text(
            f"{weights}{sums}With {start.activation}, a factor of about {number(start.need)} keeps values at the "
            f"same size, because {loss_of_signal}."
        )
    ]


def _scaled_weights(m: Initialization) -> list[Start]:
    """The weights that have a scale, or evenly spaced ones if there are many."""
    return evenly([start for start in m.starts if start.scaled])


def _label(start: Start, m: Initialization) -> str:
    is_only_weight = sum(other.layer == start.layer for other in m.starts) == 1
    return start.layer if is_only_weight else f"{start.layer} {start.weight}"


def _relative_gains(m: Initialization) -> list[Block]:
    shown = [start for start in _scaled_weights(m) if start.size > 0]
    if not shown:
        return []
    picture = bars(
        [_label(start, m) for start in shown],
        {
            "forward": [start.gain / start.need for start in shown],
            "backward": [start.gain_back / start.need_back for start in shown],
        },
        title="Gain of each layer relative to its ideal gain",
        x_label="gain relative to the ideal",
        log_x=True,
        show=lambda value: f"{number(value, 2)}×",
        marks=[Mark("ideal", x=1.0)],
    )
    caption = (
        "The gain of each layer, divided by the gain that keeps the values (forward) or the gradient (backward) at "
        "the same size. Most layers cannot satisfy both; a factor of up to three is fine. Errors multiply from layer "
        "to layer."
    )
    return [Figure(picture, caption, "Are the weights the right size?")]


def _preactivations(m: Initialization) -> list[Block]:
    shown = evenly([layer for layer in m.layers if layer.preactivation >= 0])
    if not any(layer.preactivation > 0 for layer in shown):
        return []
    sizes = [layer.preactivation for layer in shown]
    spreads = [layer.spread for layer in shown]
    positive = [value for value in (*sizes, *spreads) if value > 0]
    log = max(positive) > 30 * min(positive)
    picture = bars(
        [layer.name for layer in shown],
        {"pre-activations": sizes, "differences between rows": spreads},
        title="Size of the pre-activations of each layer before the first step",
        x_label="typical size",
        log_x=log,
        show=lambda value: number(value, 2),
    )
    caption = (
        f"Measured on {plural(m.rows, 'row')} of your data before the first step. The sums inside the neurons "
        "(pre-activations) should be about 1. Later layers can learn only from the differences between rows; where "
        "these shrink, all rows look alike."
    )
    return [Figure(picture, caption, "The signal in your data")]


def _other_initializations(m: Initialization) -> list[Block]:
    if not m.tried:
        return []
    means = {name: float(np.mean(scores)) for name, scores in m.tried.items()}
    finite = {name: value for name, value in means.items() if math.isfinite(value)}
    if not finite:
        return []
    labels = {name: f"{name} ({m.init})" if name == GIVEN and len(m.init) < 16 else name for name in means}
    seeds = len(next(iter(m.tried.values())))
    picture = bars(
        [labels[name] for name in means],
        {"loss": [means[name] if name in finite else math.nan for name in means]},
        title="Validation loss for different initializations",
        x_label="validation loss",
        roles=["series_1" if name == GIVEN else "muted" for name in means],
        marks=[Mark("best constant guess", x=m.constant)] if max(finite.values()) > 0.3 * m.constant else [],
    )
    caption = (
        f"The same network, trained for {plural(m.tried_epochs, 'epoch')} from other initial weights: means over "
        f"{plural(seeds, 'seed')}."
    )
    if len(finite) < len(means):
        caption += " A dash means that training diverged or that the initialization is not possible here."
    return [Figure(picture, caption, "Other initializations")]


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
        "forward gain",
        "ideal",
        "backward gain",
        "ideal backward",
    ]
    facts = Text(
        f"The loss before training is {number(m.loss)}; the best constant guess has {number(m.constant)}.",
        quiet=True,
    )
    return [Details("All initial weights", [Table(header, rows), facts])]
