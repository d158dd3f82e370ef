"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from glassgrad.common.constraints import COUNT, Flag
from glassgrad.graph.node import Shape, Value
from glassgrad.init.initializers import Initializer, initializer
from glassgrad.nn.activations import Activation, activation
from glassgrad.nn.layer import LAYERS, BuildContext, Built, Layer, ParameterSpec, Spec, input_with_channels
from glassgrad.ops.products import matmul


@final
@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """``units`` neurons, each connected to all inputs: activation(x @ weights + bias).

    Rows (..., n) -> (..., units); weights (n, units), bias (units,). A neuron is one column of the weights, its
    bias, and the activation: ``dense_1[7]`` is the neuron of column 7.
    """

    units: int
    activation: Activation | Spec = "identity"
    init: Initializer | Spec = "he_normal"
    bias_init: Initializer | Spec = "zeros"
    bias: bool = True

    constraints = MappingProxyType({"units": COUNT, "bias": Flag()})

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        object.__setattr__(self, "activation", activation(self.activation))
        object.__setattr__(self, "init", initializer(self.init))
        object.__setattr__(self, "bias_init", initializer(self.bias_init))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The last axis becomes ``units``."""
        return (*input_with_channels(self, inputs)[:-1], self.units)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, ParameterSpec]:
        """``weights`` (n, units) and ``bias`` (units,)."""
        n = inputs[0][-1]
        specs = {"weights": ParameterSpec((n, self.units), initializer(self.init), (n, self.units))}
        if self.bias:
            specs["bias"] = ParameterSpec((self.units,), initializer(self.bias_init), (n, self.units))
        return specs

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """activation(x @ weights + bias)."""
        total = matmul(inputs[0], weights["weights"])
        if self.bias:
            total = total + weights["bias"]
        context.inner["preactivation"] = total
        return activation(self.activation)(total), {}


LAYERS.add("dense", Dense)
