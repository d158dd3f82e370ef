"""Are the neurons alive, and their inputs right? In pictures: what each layer does, what each input says."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement
from glassgrad.report import lens_pictures, neuron_pictures, run_pictures
from glassgrad.report.figures import bars, histogram
from glassgrad.report.page import Block, Details, Figure, Table
from glassgrad.report.words import evenly, number
from glassgrad.training.run import Run

MOST_INPUTS = 12
BINS = 20


def draw(measured: NeuronsMeasurement, run: Run) -> list[Block]:
    """The blocks of the section; ``run`` is the watched run that ``measured`` was taken from."""
    blocks: list[Block] = [*_use(measured), *_active(measured)]
    if run.lenses is not None:
        blocks += lens_pictures.activity(run.lenses, neuron_pictures.working_layers(run.model.network)[:-1])
    blocks += [*_alone(measured), *_sizes(measured)]
    blocks += neuron_pictures.first_layer(run)
    with suppress(InputError):  # weights that give no number for some row
        blocks += neuron_pictures.one_row(run, run_pictures.unseen_rows(run))
    return [*blocks, *_table(measured)]


def _use(m: NeuronsMeasurement) -> list[Block]:
    layers = evenly(m.hidden)
    if not layers:
        return []
    units = np.array([max(layer.units, 1) for layer in layers], np.float64)
    dead, copies, rank = (
        np.array(values, np.float64)
        for values in zip(*[(layer.dead, layer.copies, layer.rank) for layer in layers], strict=True)
    )
    picture = bars(
        [layer.name for layer in layers],
        {"independent": np.clip(rank / units, 0, 1), "dead": dead / units, "copies": copies / units},
        title="What the neurons of each layer are worth",
        in_percent=True,
        x_range=(0, 1.16),
    )
    caption = (
        "Dead neurons are active on no training row, copies compute what another one does. Independent is how many "
        "neurons that have nothing in common would say as much (the effective rank), as a share of all."
    )
    return [Figure(picture, caption, "Does every neuron do something of its own?")]


def _active(m: NeuronsMeasurement) -> list[Block]:
    layers = [layer for layer in m.hidden if np.isfinite(layer.active).all()][:4]
    if not layers:
        return []
    edges = np.linspace(0, 1, BINS + 1)
    counts = {layer.name: np.histogram(layer.active, edges)[0] for layer in layers}
    picture = histogram(
        100 * edges,
        counts,
        title="Neurons by how often they are active",
        x_label="active on % of the rows",
        y_label="neurons",
    )
    caption = (
        "Neurons at the far left are never active: they are dead. Those at the far right always are, and so bend "
        "nothing."
    )
    return [Figure(picture, caption, "How often is each neuron active?")]


def _alone(m: NeuronsMeasurement) -> list[Block]:
    best = sorted(m.inputs.alone.items(), key=lambda item: -item[1])[:MOST_INPUTS]
    if len(best) < 2 or best[0][1] <= 0:
        return []
    picture = bars(
        [name for name, _ in best],
        {"taken away": [share for _, share in best]},
        title="What each input says by itself",
        in_percent=True,
        x_range=(0, 1.16),
    )
    what = "mistakes" if m.classification else "variance"
    caption = (
        f"How much of the {what} of a constant guess the best guess from this input alone takes away. An "
        f"input near 100%, "
        "far above the others, may be the target in disguise: something not known yet when a prediction is wanted."
    )
    return [Figure(picture, caption, "Does one input give the answer away?")]


def _sizes(m: NeuronsMeasurement) -> list[Block]:
    inputs = m.inputs
    varied = np.flatnonzero((inputs.spreads > 0) & np.isfinite(inputs.sizes))
    if inputs.scaling != "none" or len(varied) < 2 or inputs.ratio < 2:
        return []
    order = varied[np.argsort(-inputs.sizes[varied], kind="stable")]
    shown = (
        order if len(order) <= MOST_INPUTS else np.r_[order[: MOST_INPUTS // 2], order[-MOST_INPUTS // 2 :]]
    )
    picture = bars(
        [inputs.names[i] for i in shown],
        {"size": inputs.sizes[shown]},
        title="The size of the inputs",
        x_label="root mean square",
        log_x=True,
        show=lambda value: number(value, 2),
    )
    caption = "Inputs come as they are. A step that suits the largest is far too small for the smallest."
    return [Figure(picture, caption, "Are the inputs of one size?")]


def _table(m: NeuronsMeasurement) -> list[Block]:
    rows = [
        [
            layer.name,
            layer.activation,
            layer.units,
            layer.dead,
            layer.dead_at_start,
            f"{layer.saturated:.0%}",
            layer.constant,
            layer.copies,
            round(layer.rank, 1) if math.isfinite(layer.rank) else None,
            f"{layer.explained:.0%}" if math.isfinite(layer.explained) else "–",
        ]
        for layer in m.layers
    ]
    header = [
        "layer",
        "activation",
        "neurons",
        "dead",
        "dead at start",
        "saturated",
        "constant",
        "copies",
        "effective rank",
        "explains of the output",
    ]
    return [Details("All layers, neuron by neuron", [Table(header, rows)])]
