"""Pooling over images. The shape of a row is (height, width, channels)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from glassgrad.graph.node import Shape, Value
from glassgrad.nn.layer import LAYERS, Weightless, single_input
from glassgrad.nn.layers.windows import axis_pair, both_axes, window_counts
from glassgrad.ops.convolution import Pair, average_pool2d, max_pool2d
from glassgrad.ops.reductions import reduce_mean


@dataclass(frozen=True, eq=False)
class _Pool(Weightless):
    """Reduces every window of every channel to one number."""

    pool_size: Pair | int = 2
    stride: Pair | int | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        object.__setattr__(self, "pool_size", axis_pair(self, "pool_size", self.pool_size))
        if self.stride is not None:
            object.__setattr__(self, "stride", axis_pair(self, "stride", self.stride))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """(h', w', channels)."""
        shape = single_input(self, inputs, rank=3)
        return (*window_counts(shape, self.pool_size, self.stride or self.pool_size, "valid"), shape[-1])


@final
class MaxPool2D(_Pool):
    """The maximum of every window of every channel; ``stride`` defaults to ``pool_size``."""

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The maximum over each window."""
        return max_pool2d(inputs[0], both_axes(self.pool_size), both_axes(self.stride or self.pool_size))


@final
class AveragePool2D(_Pool):
    """The mean of every window of every channel; ``stride`` defaults to ``pool_size``."""

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The mean over each window."""
        return average_pool2d(inputs[0], both_axes(self.pool_size), both_axes(self.stride or self.pool_size))


@final
@dataclass(frozen=True, eq=False)
class GlobalAveragePool2D(Weightless):
    """The mean of each channel over the whole image: (h, w, c) -> (c,)."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """(channels,)."""
        return single_input(self, inputs, rank=3)[-1:]

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The mean over height and width."""
        return reduce_mean(inputs[0], (1, 2))


LAYERS.add("max_pool2d", MaxPool2D)
LAYERS.add("average_pool2d", AveragePool2D)
LAYERS.add("global_average_pool2d", GlobalAveragePool2D)
