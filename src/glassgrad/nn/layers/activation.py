"""The activation layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from glassgrad.graph.node import Shape, Value
from glassgrad.nn.activations import Activation, activation
from glassgrad.nn.layer import LAYERS, BuildContext, Built, Layer, Spec, single_input


@final
@dataclass(frozen=True, eq=False)
class ActivationLayer(Layer):
    """An activation as a layer."""

    activation: Activation | Spec

    def __post_init__(self) -> None:
        """Check the options."""
        object.__setattr__(self, "activation", activation(self.activation))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the input."""
        return single_input(self, inputs)

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """activation(x)."""
        context.inner["preactivation"] = inputs[0]
        return activation(self.activation)(inputs[0]), {}


LAYERS.add("activation", ActivationLayer)
