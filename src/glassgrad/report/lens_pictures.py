"""Figures of what lenses recorded during training: one line for each layer, over the epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from glassgrad.report.figures import Line, bars, line_figure
from glassgrad.report.page import Block, Details, Figure
from glassgrad.report.words import evenly, number
from glassgrad.training.lenses import Lenses

FEW_EPOCHS = 4
"""Runs with fewer epochs are drawn step by step."""


def activity(lenses: Lenses, hidden: Sequence[str]) -> list[Block]:
    """The share of active neurons in each of the ``hidden`` layers, at the start, at the end, and by epoch."""
    layers = [layer for layer in lenses.layers("active") if layer in hidden]
    if not layers or not len(lenses):
        return []
    at_ends = bars(
        layers,
        {
            when: [float(lenses["active", layer][i]) for layer in layers]
            for when, i in (("start", 0), ("end", -1))
        },
        title="Active neurons at the start and at the end",
        in_percent=True,
        x_range=(0, 1.12),
    )
    shown = {layer: lenses["active", layer] for layer in layers}
    over_time = _lines(lenses, shown, "Active neurons by layer", "active", in_percent=True, wide=True)
    caption = (
        "A neuron is active for a row if the slope of its activation is not zero. In a healthy network some neurons "
        "are inactive for some rows; a layer near 0% passes on almost nothing."
    )
    return [
        Figure(at_ends, caption, "How much of each layer is active"),
        Details("Active neurons, epoch by epoch", [Figure(over_time, wide=True)]),
    ]


def update_ratios(lenses: Lenses) -> list[Block]:
    """The size of the updates of each layer, relative to its weights."""
    layers = lenses.layers("update_norm")
    if not layers or not len(lenses):
        return []
    ratios = {layer: lenses.update_ratio(layer) for layer in layers}
    picture = _lines(lenses, ratios, "Updates relative to weights, by layer", "update : weight", log=True)
    caption = "How much one step changes the weights of a layer, relative to their size."
    return [Figure(picture, caption, "Update size, layer by layer")]


def gradient_sizes(lenses: Lenses) -> list[Block]:
    """The gradient norm of each layer, over time."""
    layers = lenses.layers("gradient_norm")
    if not layers or not len(lenses):
        return []
    sizes = {layer: lenses["gradient_norm", layer] for layer in layers}
    picture = _lines(lenses, sizes, "Gradient norm by layer", "gradient norm", log=True, wide=True)
    caption = (
        "The norm of the gradient with respect to all weights of a layer. In a network that learns, the lines "
        "usually fall together. If one line lies far below the others, the gradient hardly reaches that layer."
    )
    return [Figure(picture, caption, "The gradient, layer by layer", wide=True)]


def signal_sizes(lenses: Lenses, shown: Sequence[str]) -> list[Block]:
    """The standard deviation of the outputs of the layers in ``shown``, at the start and at the end."""
    layers = [layer for layer in lenses.layers("output_variance") if layer in shown]
    if not layers or not len(lenses):
        return []
    spread = {layer: np.sqrt(lenses["output_variance", layer].astype(np.float64)) for layer in layers}
    picture = bars(
        layers,
        {
            "first step": [float(spread[layer][0]) for layer in layers],
            "last step": [float(spread[layer][-1]) for layer in layers],
        },
        title="Spread of the outputs of each layer",
        x_label="standard deviation of the outputs",
        show=number,
    )
    caption = "If the bars have similar lengths, the signal keeps its size on its way through the network."
    return [Figure(picture, caption, "Size of the signal, layer by layer")]


def _lines(
    lenses: Lenses,
    values: dict[str, npt.NDArray[np.floating]],
    title: str,
    label: str,
    *,
    log: bool = False,
    in_percent: bool = False,
    wide: bool = False,
) -> str:
    """One line for each layer: the means of the epochs, or the single steps of a short run."""
    layers = evenly(list(values))
    by_step = Lenses(lenses.steps, lenses.epochs, {("shown", layer): values[layer] for layer in layers})
    by_epoch = len(np.unique(lenses.epochs)) >= FEW_EPOCHS
    shown = by_step.per_epoch() if by_epoch else by_step
    x = shown.epochs if by_epoch else shown.steps + 1
    return line_figure(
        [Line(layer, shown["shown", layer], x) for layer in layers],
        title=title,
        x_label="epoch" if by_epoch else "step",
        y_label=label,
        log_y=log,
        in_percent=in_percent,
        in_order=True,
        from_zero=in_percent,
        whole_x=True,
        wide=wide,
    )
