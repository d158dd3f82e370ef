"""Layers for images: convolution and pooling. A row is (height, width, channels)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

from glassgrad.common.constraints import COUNT, Choice, check
from glassgrad.common.errors import InputError, shown
from glassgrad.graph.node import Shape, Value
from glassgrad.nn.activations import Activation, activation
from glassgrad.nn.initializers import Initializer, initializer
from glassgrad.nn.layer import LAYERS, Building, Built, Layer, Spec, Weight, Weightless, one
from glassgrad.ops.reductions import reduce_mean
from glassgrad.ops.windows import Pair, average_pool2d, conv2d, max_pool2d


@final
@dataclass(frozen=True, eq=False)
class Conv2D(Layer):
    """``filters`` neurons, each of which looks at every window of the image with the same weights.

    Rows (h, w, c) -> (h', w', filters); weights (*size, c, filters), bias (filters,). ``padding`` is "valid"
    (none) or "same" (zeros around, so that h' = ceil(h / stride)).
    """

    filters: int
    size: Pair | int = 3
    stride: Pair | int = 1
    padding: str = "valid"
    activation: Activation | Spec = "identity"
    init: Initializer | Spec = "he_normal"
    bias_init: Initializer | Spec = "zeros"

    constraints = MappingProxyType({"filters": COUNT, "padding": Choice(("valid", "same"))})

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        object.__setattr__(self, "size", _pair(self, "size", self.size))
        object.__setattr__(self, "stride", _pair(self, "stride", self.stride))
        object.__setattr__(self, "activation", activation(self.activation))
        object.__setattr__(self, "init", initializer(self.init))
        object.__setattr__(self, "bias_init", initializer(self.bias_init))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """(h', w', filters)."""
        shape = one(self, inputs, rank=3)
        return (*_places(shape, self.size, self.stride, self.padding), self.filters)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Weight]:
        """``weights`` (*size, c, filters) and ``bias`` (filters,)."""
        size, channels = _both(self.size), inputs[0][-1]
        area = size[0] * size[1]
        fans = (area * channels, area * self.filters)
        return {
            "weights": Weight((*size, channels, self.filters), initializer(self.init), fans),
            "bias": Weight((self.filters,), initializer(self.bias_init), fans),
        }

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """activation(conv2d(x, weights) + bias)."""
        total = conv2d(inputs[0], weights["weights"], _both(self.stride), self.padding) + weights["bias"]
        building.inner["preactivation"] = total
        return activation(self.activation)(total), {}


@dataclass(frozen=True, eq=False)
class _Pool(Weightless):
    """One number for every window, channel by channel."""

    size: Pair | int = 2
    stride: Pair | int | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        object.__setattr__(self, "size", _pair(self, "size", self.size))
        if self.stride is not None:
            object.__setattr__(self, "stride", _pair(self, "stride", self.stride))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """(h', w', channels)."""
        shape = one(self, inputs, rank=3)
        return (*_places(shape, self.size, self.stride or self.size, "valid"), shape[-1])


@final
class MaxPool2D(_Pool):
    """The maximum of every window, channel by channel; ``stride`` defaults to ``size``."""

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The maximum over each window."""
        return max_pool2d(inputs[0], _both(self.size), _both(self.stride or self.size))


@final
class AveragePool2D(_Pool):
    """The mean of every window, channel by channel; ``stride`` defaults to ``size``."""

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The mean over each window."""
        return average_pool2d(inputs[0], _both(self.size), _both(self.stride or self.size))


@final
@dataclass(frozen=True, eq=False)
class GlobalAveragePool2D(Weightless):
    """The mean of each channel over the whole image: (h, w, c) -> (c,)."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """(channels,)."""
        return one(self, inputs, rank=3)[-1:]

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The mean over height and width."""
        return reduce_mean(inputs[0], (1, 2))


def _both(number: Pair | int) -> Pair:
    return (number, number) if isinstance(number, int) else (number[0], number[1])


def _pair(layer: Layer, key: str, given: Any) -> Pair:
    pair = tuple(given) if isinstance(given, (list, tuple)) else (given, given)
    if len(pair) != 2:
        raise InputError(f"{layer.label()}: {key} is one number or two, not {shown(given)}")
    first, second = (check(f"{layer.label()}: {key}", number, COUNT) for number in pair)
    return (first, second)


def _places(shape: Shape, size: Pair | int, stride: Pair | int, padding: str) -> Shape:
    if padding == "same":
        return tuple(-(-n // d) for n, d in zip(shape, _both(stride), strict=False))
    places = tuple((n - s) // d + 1 for n, s, d in zip(shape, _both(size), _both(stride), strict=False))
    if min(places) < 1:
        raise InputError(f"a window of {_both(size)} does not fit in an image of {shape[:2]}")
    return places


_LAYERS: dict[str, type[Layer]] = {
    "conv2d": Conv2D,
    "max_pool2d": MaxPool2D,
    "average_pool2d": AveragePool2D,
    "global_average_pool2d": GlobalAveragePool2D,
}
for _name, _class in _LAYERS.items():
    LAYERS.add(_name, _class)
