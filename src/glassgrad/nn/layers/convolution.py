"""Convolution over images. The shape of a row is (height, width, channels)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from glassgrad.common.constraints import COUNT, Choice
from glassgrad.graph.node import Shape, Value
from glassgrad.init.initializers import Initializer, initializer
from glassgrad.nn.activations import Activation, activation
from glassgrad.nn.layer import LAYERS, BuildContext, Built, Layer, ParameterSpec, Spec, single_input
from glassgrad.nn.layers.windows import axis_pair, both_axes, window_counts
from glassgrad.ops.convolution import Pair, conv2d


@final
@dataclass(frozen=True, eq=False)
class Conv2D(Layer):
    """Two-dimensional convolution: each of the ``filters`` neurons applies the same weights to every window.

    Rows (h, w, c) -> (h', w', filters); weights (*kernel_size, c, filters), bias (filters,). ``padding`` is "valid"
    (no padding) or "same" (zeros at the borders, so that h' = ceil(h / stride)).
    """

    filters: int
    kernel_size: Pair | int = 3
    stride: Pair | int = 1
    padding: str = "valid"
    activation: Activation | Spec = "identity"
    init: Initializer | Spec = "he_normal"
    bias_init: Initializer | Spec = "zeros"

    constraints = MappingProxyType({"filters": COUNT, "padding": Choice(("valid", "same"))})

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        object.__setattr__(self, "kernel_size", axis_pair(self, "kernel_size", self.kernel_size))
        object.__setattr__(self, "stride", axis_pair(self, "stride", self.stride))
        object.__setattr__(self, "activation", activation(self.activation))
        object.__setattr__(self, "init", initializer(self.init))
        object.__setattr__(self, "bias_init", initializer(self.bias_init))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """(h', w', filters)."""
        shape = single_input(self, inputs, rank=3)
        return (*window_counts(shape, self.kernel_size, self.stride, self.padding), self.filters)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, ParameterSpec]:
        """``weights`` (*kernel_size, c, filters) and ``bias`` (filters,)."""
        kernel_size, channels = both_axes(self.kernel_size), inputs[0][-1]
        area = kernel_size[0] * kernel_size[1]
        fans = (area * channels, area * self.filters)
        return {
            "weights": ParameterSpec((*kernel_size, channels, self.filters), initializer(self.init), fans),
            "bias": ParameterSpec((self.filters,), initializer(self.bias_init), fans),
        }

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """activation(conv2d(x, weights) + bias)."""
        total = conv2d(inputs[0], weights["weights"], both_axes(self.stride), self.padding) + weights["bias"]
        context.inner["preactivation"] = total
        return activation(self.activation)(total), {}


LAYERS.add("conv2d", Conv2D)
