"""The measurements of the lenses, as text: a line per epoch, a live table, and a table of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from glassgrad.cli import output

if TYPE_CHECKING:
    from glassgrad.training.lenses import Lenses

LINE_LAYERS = 4
"""A line shows the values of up to this many layers; of more layers, only the first and the last."""

HEADER = ("layer", "gradient", "update : weight", "active")


def epoch_line(lenses: Lenses) -> str:
    """The gradient norms of the last epoch from the first layer to the last, and the fractions of active units."""
    epochs = lenses.per_epoch()
    if not len(epochs):
        return ""
    parts = []
    for measure, name in (("gradient_norm", "gradient"), ("active", "active")):
        values = [_short(float(epochs[measure, layer][-1])) for layer in epochs.layers(measure)]
        if len(values) > LINE_LAYERS:
            values = [values[0], "..", values[-1]]
        if values:
            parts.append(f"  {name} {' '.join(values)}")
    return "".join(parts)


def epoch_rows(lenses: Lenses) -> list[list[str]]:
    """One row under ``HEADER`` for each layer with weights or an activation: the means of the last epoch."""
    epochs = lenses.per_epoch()
    return [
        [layer, *("-" if value is None else _short(value) for value in _numbers(epochs, layer, -1))]
        for layer in (_layers(epochs) if len(epochs) else ())
    ]


def run_table(lenses: Lenses) -> str:
    """A table of the layers at the start and at the end of a run: the means of its first and of its last epoch."""
    epochs = lenses.per_epoch()
    header = ["layer"]
    for title in HEADER[1:]:
        header += [f"{title}, first epoch", "last"]
    rows = []
    for layer in _layers(epochs):
        pairs = zip(_numbers(epochs, layer, 0), _numbers(epochs, layer, -1), strict=True)
        rows.append([layer, *(value for pair in pairs for value in pair)])
    return output.table(header, rows)


def _layers(lenses: Lenses) -> Sequence[str]:
    """The layers with weights or an activation, in the order of the network."""
    measured_layers = {*lenses.layers("gradient_norm"), *lenses.layers("active")}
    return [layer for layer in lenses.layers("output_mean") if layer in measured_layers]


def _numbers(lenses: Lenses, layer: str, sample: int) -> tuple[float | None, ...]:
    """The values below ``HEADER`` for ``layer`` in the given sample; None for a measure that it does not have."""
    has_weights, has_activation = (layer in lenses.layers(m) for m in ("gradient_norm", "active"))
    return (
        float(lenses["gradient_norm", layer][sample]) if has_weights else None,
        float(lenses.update_ratio(layer)[sample]) if has_weights else None,
        float(lenses["active", layer][sample]) if has_activation else None,
    )


def _short(value: float) -> str:
    return f"{value:.3g}"
