"""Window options and window counts, for convolution and pooling."""

from __future__ import annotations

from typing import Any

from glassgrad.common.constraints import COUNT, check
from glassgrad.common.errors import InputError, shown
from glassgrad.graph.node import Shape
from glassgrad.nn.layer import Layer
from glassgrad.ops.convolution import Pair


def both_axes(number: Pair | int) -> Pair:
    """A number as a pair (the same for both axes); a pair unchanged."""
    return (number, number) if isinstance(number, int) else (number[0], number[1])


def axis_pair(layer: Layer, key: str, value: Any) -> Pair:
    """The option ``key`` of ``layer`` as a pair of whole numbers above 0. Raises InputError for anything else."""
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    if len(pair) != 2:
        raise InputError(f"{layer.label()}: {key} is one number or two, not {shown(value)}")
    first, second = (check(f"{layer.label()}: {key}", number, COUNT) for number in pair)
    return (first, second)


def window_counts(shape: Shape, size: Pair | int, stride: Pair | int, padding: str) -> Shape:
    """The number of windows along both axes of an image. Raises InputError if no window fits."""
    if padding == "same":
        return tuple(-(-n // d) for n, d in zip(shape, both_axes(stride), strict=False))
    counts = tuple(
        (n - s) // d + 1 for n, s, d in zip(shape, both_axes(size), both_axes(stride), strict=False)
    )
    if min(counts) < 1:
        raise InputError(f"a window of {both_axes(size)} does not fit in an image of {shape[:2]}")
    return counts
