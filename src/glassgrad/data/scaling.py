"""Mean and standard deviation, and standardization, in float64 and in chunks of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError
from glassgrad.data.checks import Array

Floats = npt.NDArray[np.float64]

CHUNK = 1 << 20
"""The approximate number of values in a chunk."""


def chunks(rows: int, width: int) -> list[slice]:
    """Slices of ``rows`` rows of ``width`` numbers, each of about ``CHUNK`` numbers."""
    step = max(1, CHUNK // max(1, width))
    return [slice(start, start + step) for start in range(0, rows, step)]


def moments(values: Array, label: str, names: Sequence[str] | None = None) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the columns of ``values`` ``[rows, columns]``, in two passes.

    A constant column has scale 1. Raises InputError if a column cannot be standardized in float64 arithmetic. The
    message is one line that begins with ``label`` and names the column, by ``names`` or else by its number.
    """
    rows, columns = values.shape
    parts = chunks(rows, columns)
    low, high = values.min(axis=0).astype(np.float64), values.max(axis=0).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean: Floats = sum((values[c].sum(axis=0, dtype=np.float64) for c in parts), np.zeros(columns)) / rows
        # Rounding must not turn a constant column into one with a tiny spread.
        constant = low == high
        mean = np.where(constant, low, mean)
        # Deviations are divided by the largest one, so that their squares neither overflow nor underflow.
        unit = np.where(constant, 1.0, np.maximum(high - mean, mean - low))
        squares = sum(
            (np.square((values[c].astype(np.float64) - mean) / unit).sum(axis=0) for c in parts),
            np.zeros(columns),
        )
        scale = np.where(constant, 1.0, unit * np.sqrt(squares / rows))
    usable = np.isfinite(mean) & np.isfinite(scale) & (scale > 0)
    if not usable.all():
        column = int(np.argmin(usable))
        name = f"column {column} (from 0)" if names is None else names[column]
        raise InputError(
            f"{label}: {name} spans {low[column]:g} to {high[column]:g}, "
            "which float64 arithmetic cannot standardize; rescale it"
        )
    return mean, scale


def scaled(array: Array, mean: Floats, scale: Floats, dtype: npt.DTypeLike) -> Array:
    """``(array - mean) / scale``, computed in float64, as a C-contiguous array of ``dtype``; overflow gives Inf."""
    result = np.empty(array.shape, dtype)
    with np.errstate(over="ignore"):
        for part in chunks(len(array), math.prod(array.shape[1:])):
            result[part] = (array[part].astype(np.float64) - mean) / scale
    return result
