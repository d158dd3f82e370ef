"""What the neurons of one run do: the weights of the first layer, and one row on its way through the network."""

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
PLAIN = ("flatten", "reshape", "dropout")  # layers that hand their values on


def working_layers(network: Network) -> list[str]:
    """The layers that compute something."""
    return [node.name for node in network.nodes if kind_of(node.layer) not in PLAIN]


def first_layer(run: Run) -> list[Block]:
    """The weights of the first layer: as images where its inputs are one, else by the names of the inputs."""
    assert run.start is not None
    end, start = _first_weights(run.model), _first_weights(run.start)
    if end is None or start is None:
        return _by_input(run)
    count = len(end.images)
    some = f"the first {MOST_NEURONS} of {count:,}" if count > MOST_NEURONS else f"all {count}"
    learned = [one - other for one, other in zip(end.images, start.images, strict=True)]
    return [
        Figure(
            _neuron_grid(end.images, f"weights of {end.layer}"),
            f"The weights of {some} {end.noun}s, pixel by pixel: orange pixels make a {end.noun} stronger, blue ones "
            "weaker.",
            f"What the {end.noun}s of {end.layer} look for",
            wide=True,
        ),
        Figure(
            _neuron_grid(learned, f"what training added to the weights of {end.layer}"),
            f"The same {end.noun}s without what they started with: weights at the end minus those at the start.",
            "What of it was learned",
            wide=True,
        ),
    ]


def _by_input(run: Run) -> list[Block]:
    """What training added to the weights of a dense first layer, for the inputs to which it added most."""
    assert run.start is not None
    first, names = run.model.network.nodes[0], run.model.schema.input_names
    end, start = (model.weights.get(f"{first.name}.weights") for model in (run.model, run.start))
    if kind_of(first.layer) != "dense" or first.inputs != (INPUT,) or end is None or start is None:
        return []
    learned = end.astype(np.float64) - start
    most = np.abs(np.nan_to_num(learned)).max(axis=1)
    shown = np.sort(np.argsort(-most, kind="stable")[:MOST_INPUTS])
    neurons = min(learned.shape[1], MOST_NEURONS)
    picture = heat_map(
        learned[shown, :neurons],
        [names[i] for i in shown],
        range(neurons),
        title=f"what training added to the weights of {first.name}",
        x_label=f"neurons of {first.name}",
        label_length=24,
        numbers=False,
        wide=True,
    )
    some = (
        f", for the {MOST_INPUTS} of {len(names):,} inputs that changed most"
        if len(names) > MOST_INPUTS
        else ""
    )
    caption = (
        f"The weights at the end minus those at the start{some}. Orange: this input makes the neuron stronger than "
        "before; blue: weaker."
    )
    return [Figure(picture, caption, f"What the neurons of {first.name} learned to look at", wide=True)]


def _neuron_grid(images: Sequence[Floats], title: str) -> str:
    shown = images[:MOST_NEURONS]
    return image_grid(shown, range(len(shown)), title=title, signed=True, together=False)


@frozen
class _Images:
    """An image for each unit of ``layer``; ``noun`` is what a unit is called."""

    layer: str
    images: list[Floats]
    noun: str


def _first_weights(model: Model) -> _Images | None:
    """The weights of the first layer that has any, if they look at an image."""
    shape = model.schema.feature_shape
    if not is_image(shape):
        return None
    reached = {INPUT}
    for node in model.network.nodes:
        if not set(node.inputs) <= reached:
            continue
        weights = model.weights.get(f"{node.name}.weights")
        kind = kind_of(node.layer)
        if kind in PLAIN:
            reached.add(node.name)
        elif kind == "dense" and weights is not None and weights.shape[0] == math.prod(shape):
            images = weights.T.reshape(-1, *shape).astype(np.float64)
            return _Images(node.name, [_gray(image) for image in images], "neuron")
        elif kind == "conv2d" and weights is not None:
            images = np.moveaxis(weights, -1, 0).astype(np.float64)
            return _Images(node.name, [_gray(image) for image in images], "filter")
    return None


def one_row(run: Run, rows: Rows) -> list[Block]:
    """The first row on its way through the network, layer by layer, where it is an image."""
    shape = run.model.schema.feature_shape
    if not is_image(shape) or len(rows.targets) == 0:
        return []
    row = np.asarray(rows.features[:1])
    names = working_layers(run.model.network)
    inside = run.model.inside(row, *names)
    images = [input_image(row[0])]
    labels = ["the row"]
    for name in names:
        for label, values in images_of(name, inside[name][0].astype(np.float64)):
            images.append(values)
            labels.append(label)
    signed = [False] + [True] * (len(images) - 1)
    svg = image_grid(
        images, labels, title="one row, layer by layer", signed=signed, together=False, smallest=96
    )
    caption = (
        "The first row of the held-out data, and the values that each layer makes of it: one pixel for each neuron, "
        "orange above zero and blue below."
    )
    blocks: list[Block] = [
        Figure(svg, caption, "One row on its way through the network", wide=len(images) > 9)
    ]
    classes = run.model.schema.classes
    try:
        shares = run.model.predict_probabilities(row)[0]
    except InputError:  # a regression, or a loss that has none
        return blocks
    assert classes is not None
    top = np.argsort(-shares, kind="stable")[:MOST_BARS]
    right = str(rows.targets[0])
    said = f"It says {classes[top[0]]} ({percent(shares[top[0]])}); the right answer is {right}."
    picture = bars(
        [classes[i] for i in top],
        {"probability": shares[top]},
        title="Probabilities of the classes",
        in_percent=True,
        x_range=(0, 1.12),
        roles=["series_1" if str(classes[i]) == right else "muted" for i in top],
    )
    return [*blocks, Figure(picture, said, "What the network says of it")]


def images_of(name: str, values: Floats) -> list[tuple[str, Floats]]:
    """The values of one layer as images: one for each of the first channels, or all in one."""
    if values.ndim == 3:
        return [(f"{name}, {channel}", values[..., channel]) for channel in range(min(values.shape[2], 4))]
    flat = values.reshape(-1)
    width = _width(len(flat))
    padded = np.full(-(-len(flat) // width) * width, np.nan)
    padded[: len(flat)] = flat
    return [(f"{name}: {plural(len(flat), 'neuron')}", padded.reshape(-1, width))]


def _width(count: int) -> int:
    """The width of a nearly square image of ``count`` pixels, without an empty corner where possible."""
    root = math.isqrt(count)
    for height in range(root, max(root // 2, 0), -1):
        if count % height == 0:
            return count // height
    return math.ceil(math.sqrt(count))


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether rows of this shape can be looked at."""
    return len(shape) in (2, 3) and min(shape[:2]) >= 4 and (len(shape) == 2 or shape[2] in (1, 3))


def _gray(image: Floats) -> Floats:
    """One number per pixel."""
    return image if image.ndim == 2 else image.mean(axis=2)


def input_image(row: npt.NDArray[Any]) -> Floats:
    """One row as a picture."""
    values = row.astype(np.float64)
    if values.ndim == 3 and values.shape[2] == 3:
        return values / (255.0 if values.max(initial=0) > 1 else 1.0)
    return values.reshape(values.shape[:2])
