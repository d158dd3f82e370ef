"""Are the neurons alive, and are their inputs right? Figures: the activity of each layer, the value of each input."""

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
    """The blocks of the section. ``run`` is the run with lenses in which ``measured`` was measured."""
    blocks: list[Block] = [*_useful_neurons(measured), *_active(measured)]
    if run.lenses is not None:
        blocks += lens_pictures.activity(run.lenses, neuron_pictures.working_layers(run.model.network)[:-1])
    blocks += [*_single_inputs(measured), *_input_scales(measured)]
    blocks += neuron_pictures.first_layer(run)
    with suppress(InputError):  # the weights may produce NaN or Inf for some row
        blocks += neuron_pictures.one_row(run, run_pictures.unseen_rows(run))
    return [*blocks, *_table(measured)]


def _useful_neurons(m: NeuronsMeasurement) -> list[Block]:
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
        title="Useful and useless neurons in each layer",
        in_percent=True,
        x_range=(0, 1.16),
    )
    caption = (
        "Dead neurons are active for no training row. Copies compute the same as another neuron. Independent is the "
        "number of uncorrelated neurons that would carry as much information (the effective rank), as a share of the "
        "layer."
    )
    return [Figure(picture, caption, "How many neurons are useful?")]


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
        x_label="active for % of the rows",
        y_label="neurons",
    )
    caption = (
        "Neurons at the far left are never active: they are dead. Neurons at the far right are always active: they "
        "act as linear units."
    )
    return [Figure(picture, caption, "How often is each neuron active?")]


def _single_inputs(m: NeuronsMeasurement) -> list[Block]:
    best = sorted(m.inputs.alone.items(), key=lambda item: -item[1])[:MOST_INPUTS]
    if len(best) < 2 or best[0][1] <= 0:
        return []
    picture = bars(
        [name for name, _ in best],
        {"explained": [share for _, share in best]},
        title="What each input predicts by itself",
        in_percent=True,
        x_range=(0, 1.16),
    )
    error, removes = ("mistakes", "avoids") if m.classification else ("variance", "explains")
    caption = (
        f"The share of the {error} of a constant guess that the best prediction from this input alone {removes}. An "
        "input near 100%, far above the others, may leak the target: perhaps it is not yet known when a prediction "
        "is needed."
    )
    return [Figure(picture, caption, "Does a single input give the answer away?")]


def _input_scales(m: NeuronsMeasurement) -> list[Block]:
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
        title="Scale of the inputs",
        x_label="root mean square",
        log_x=True,
        show=lambda value: number(value, 2),
    )
    caption = (
        "The inputs are not scaled. A learning rate that suits the largest is far too small for the smallest."
    )
    return [Figure(picture, caption, "Do the inputs have the same scale?")]


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
        "output explained",
    ]
    return [Details("All layers", [Table(header, rows)])]
