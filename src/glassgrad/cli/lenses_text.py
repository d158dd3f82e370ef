"""What the lenses saw, as text: a line per epoch, a live table, and a table of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from glassgrad.cli import output

if TYPE_CHECKING:
    from glassgrad.training.lenses import Lenses

LINE_LAYERS = 4  # on one line; of more layers only the ends
HEADER = ("layer", "gradient", "update : weight", "active")


def epoch_line(lenses: Lenses) -> str:
    """The gradients of an epoch from the first layer to the last, and how many units were active."""
    seen = lenses.per_epoch()
    if not len(seen):
        return ""
    parts = []
    for measure, name in (("gradient_norm", "gradient"), ("active", "active")):
        values = [_short(float(seen[measure, layer][-1])) for layer in seen.layers(measure)]
        if len(values) > LINE_LAYERS:
            values = [values[0], "..", values[-1]]
        if values:
            parts.append(f"  {name} {' '.join(values)}")
    return "".join(parts)


def epoch_rows(lenses: Lenses) -> list[list[str]]:
    """One row of ``HEADER`` for each layer with weights or an activation: the means of an epoch."""
    seen = lenses.per_epoch()
    return [
        [layer, *("-" if value is None else _short(value) for value in _numbers(seen, layer, -1))]
        for layer in (_layers(seen) if len(seen) else ())
    ]


def run_table(lenses: Lenses) -> str:
    """The same at the start and at the end of a run: the means of its first epoch and of its last."""
    seen = lenses.per_epoch()
    header = ["layer"]
    for title in HEADER[1:]:
        header += [f"{title}, first epoch", "last"]
    rows = []
    for layer in _layers(seen):
        pairs = zip(_numbers(seen, layer, 0), _numbers(seen, layer, -1), strict=True)
        rows.append([layer, *(value for pair in pairs for value in pair)])
    return output.table(header, rows)


def _layers(lenses: Lenses) -> Sequence[str]:
    """The layers with weights or an activation, in the order of the network."""
    told = {*lenses.layers("gradient_norm"), *lenses.layers("active")}
    return [layer for layer in lenses.layers("output_mean") if layer in told]


def _numbers(lenses: Lenses, layer: str, place: int) -> tuple[float | None, ...]:
    """What stands below ``HEADER`` for ``layer`` in one sample; None for what it does not have."""
    has_weights, has_activation = (layer in lenses.layers(m) for m in ("gradient_norm", "active"))
    return (
        float(lenses["gradient_norm", layer][place]) if has_weights else None,
        float(lenses.update_ratio(layer)[place]) if has_weights else None,
        float(lenses["active", layer][place]) if has_activation else None,
    )


def _short(value: float) -> str:
    return f"{value:.3g}"
