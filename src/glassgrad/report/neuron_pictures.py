"""Figures of the neurons of one run: the weights of the first layer, and the values of one row in every layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.nn.network import INPUT, Network, kind_of
from glassgrad.report.figures import bars
from glassgrad.report.maps import heat_map, image_grid
from glassgrad.report.page import Block, Figure
from glassgrad.report.run_pictures import Floats, Rows
from glassgrad.report.words import percent, plural
from glassgrad.training.model import Model
from glassgrad.training.run import Run

MOST_NEURONS = 24
MOST_INPUTS = 16
MOST_BARS = 5
PASS_THROUGH = ("flatten", "reshape", "dropout")
"""Kinds of layers that compute nothing in inference mode."""


def working_layers(network: Network) -> list[str]:
    """The names of the layers that change their values."""
    return [node.name for node in network.nodes if kind_of(node.layer) not in PASS_THROUGH]


def first_layer(run: Run) -> list[Block]:
    """The weights of the first layer: as images if the input is an image, otherwise by input name."""
    assert run.start is not None
    end, start = _first_weights(run.model), _first_weights(run.start)
    if end is None or start is None:
        return _by_input(run)
    count = len(end.images)
    selection = f"the first {MOST_NEURONS} of {count:,}" if count > MOST_NEURONS else f"all {count}"
    changes = [after - before for after, before in zip(end.images, start.images, strict=True)]
    return [
        Figure(
            _neuron_grid(end.images, f"weights of {end.layer}"),
            f"The weights of {selection} {end.noun}s, pixel by pixel. Orange pixels raise the sum of a "
            f"{end.noun}, blue ones lower it.",
            f"What the {end.noun}s of {end.layer} look for",
            wide=True,
        ),
        Figure(
            _neuron_grid(changes, f"change of the weights of {end.layer} during training"),
            f"The same {end.noun}s: the weights after training minus the initial weights.",
            "What training changed",
            wide=True,
        ),
    ]


def _by_input(run: Run) -> list[Block]:
    """The change of the weights of a dense first layer, for the inputs whose weights changed most."""
    assert run.start is not None
    first, names = run.model.network.nodes[0], run.model.schema.input_names
    end, start = (model.weights.get(f"{first.name}.weights") for model in (run.model, run.start))
    if kind_of(first.layer) != "dense" or first.inputs != (INPUT,) or end is None or start is None:
        return []
    change = end.astype(np.float64) - start
    largest = np.abs(np.nan_to_num(change)).max(axis=1)
    shown = np.sort(np.argsort(-largest, kind="stable")[:MOST_INPUTS])
    neurons = min(change.shape[1], MOST_NEURONS)
    picture = heat_map(
        change[shown, :neurons],
        [names[i] for i in shown],
        range(neurons),
        title=f"change of the weights of {first.name} during training",
        x_label=f"neurons of {first.name}",
        label_length=24,
        numbers=False,
        wide=True,
    )
    selection = (
        f", for the {MOST_INPUTS} of {len(names):,} inputs that changed most"
        if len(names) > MOST_INPUTS
        else ""
    )
    caption = (
        f"The weights after training minus the initial weights{selection}. Orange: training raised the weight; blue: "
        "training lowered it."
    )
    return [Figure(picture, caption, f"What training changed in {first.name}", wide=True)]


def _neuron_grid(images: Sequence[Floats], title: str) -> str:
    shown = images[:MOST_NEURONS]
    return image_grid(shown, range(len(shown)), title=title, signed=True, together=False)


@frozen
class _Images:
    """One image for each unit of ``layer``. ``noun`` is "neuron" or "filter"."""

    layer: str
    images: list[Floats]
    noun: str


def _first_weights(model: Model) -> _Images | None:
    """The weights of the first dense or convolutional layer as images; None if it does not read an image."""
    shape = model.schema.feature_shape
    if not is_image(shape):
        return None
    pixel_layers = {INPUT}  # layers that hold the pixels unchanged
    for node in model.network.nodes:
        if not set(node.inputs) <= pixel_layers:
            continue
        weights = model.weights.get(f"{node.name}.weights")
        kind = kind_of(node.layer)
        if kind in PASS_THROUGH:
            pixel_layers.add(node.name)
        elif kind == "dense" and weights is not None and weights.shape[0] == math.prod(shape):
            images = weights.T.reshape(-1, *shape).astype(np.float64)
            return _Images(node.name, [_gray(image) for image in images], "neuron")
        elif kind == "conv2d" and weights is not None:
            images = np.moveaxis(weights, -1, 0).astype(np.float64)
            return _Images(node.name, [_gray(image) for image in images], "filter")
    return None


def one_row(run: Run, rows: Rows) -> list[Block]:
    """The values of the first row in every layer, and its prediction; no blocks if the row is not an image."""
    shape = run.model.schema.feature_shape
    if not is_image(shape) or len(rows.targets) == 0:
        return []
    row = np.asarray(rows.features[:1])
    names = working_layers(run.model.network)
    layer_values = run.model.inside(row, *names)
    images = [input_image(row[0])]
    labels = ["input"]
    for name in names:
        for label, values in images_of(name, layer_values[name][0].astype(np.float64)):
            images.append(values)
            labels.append(label)
    signed = [False] + [True] * (len(images) - 1)
    svg = image_grid(
        images, labels, title="one row, layer by layer", signed=signed, together=False, smallest=96
    )
    caption = (
        f"The first of the {rows.name}, and the values that each layer computes from it: one pixel per neuron, "
        "orange for positive, blue for negative."
    )
    blocks: list[Block] = [Figure(svg, caption, "One row inside the network", wide=len(images) > 9)]
    classes = run.model.schema.classes
    try:
        probabilities = run.model.predict_probabilities(row)[0]
    except InputError:  # a regression, or a loss without probabilities
        return blocks
    assert classes is not None
    top = np.argsort(-probabilities, kind="stable")[:MOST_BARS]
    true_class = str(rows.targets[0])
    outcome = (
        f"The network predicts {classes[top[0]]} ({percent(probabilities[top[0]])}); "
        f"the correct class is {true_class}."
    )
    picture = bars(
        [classes[i] for i in top],
        {"probability": probabilities[top]},
        title="Probabilities of the classes",
        in_percent=True,
        x_range=(0, 1.12),
        roles=["series_1" if str(classes[i]) == true_class else "muted" for i in top],
    )
    return [*blocks, Figure(picture, outcome, "The prediction for this row")]


def images_of(name: str, values: Floats) -> list[tuple[str, Floats]]:
    """The values of one layer as labelled images: one for each of the first four channels, or a single one."""
    if values.ndim == 3:
        return [(f"{name}, {channel}", values[..., channel]) for channel in range(min(values.shape[2], 4))]
    flat = values.reshape(-1)
    width = _width(len(flat))
    padded = np.full(-(-len(flat) // width) * width, np.nan)
    padded[: len(flat)] = flat
    return [(f"{name}: {plural(len(flat), 'neuron')}", padded.reshape(-1, width))]


def _width(count: int) -> int:
    """The width of a nearly square image of ``count`` pixels, preferably a divisor of ``count``."""
    root = math.isqrt(count)
    for height in range(root, max(root // 2, 0), -1):
        if count % height == 0:
            return count // height
    return math.ceil(math.sqrt(count))


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether rows of this shape are images: [height, width], or [height, width, channels] with 1 or 3 channels."""
    return len(shape) in (2, 3) and min(shape[:2]) >= 4 and (len(shape) == 2 or shape[2] in (1, 3))


def _gray(image: Floats) -> Floats:
    """``image`` as [height, width]: the mean over the channels."""
    return image if image.ndim == 2 else image.mean(axis=2)


def input_image(row: npt.NDArray[Any]) -> Floats:
    """One row as an image: [height, width], or [height, width, 3] with colours from 0 to 1."""
    values = row.astype(np.float64)
    if values.ndim == 3 and values.shape[2] == 3:
        return values / (255.0 if values.max(initial=0) > 1 else 1.0)
    return values.reshape(values.shape[:2])
