"""Recurrent layers. The shape of a row is (time, features)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from glassgrad.common.constraints import COUNT, Flag
from glassgrad.graph.node import Shape, Value
from glassgrad.init.initializers import Initializer, initializer
from glassgrad.nn.activations import Activation, activation
from glassgrad.nn.layer import LAYERS, BuildContext, Built, Layer, ParameterSpec, Spec, single_input
from glassgrad.ops.loops import scan
from glassgrad.ops.parts import slice_axis
from glassgrad.ops.products import matmul
from glassgrad.ops.structure import reshape, transpose, zeros_like


@final
@dataclass(frozen=True, eq=False)
class SimpleRNN(Layer):
    """A recurrent layer: h = activation(x @ weights + h @ recurrent + bias) at each time step.

    Rows (time, n) -> (time, units); with ``last``, only the last time step: (units,). The hidden state h starts at
    0. Source: J. Elman, 1990.
    """

    units: int
    activation: Activation | Spec = "tanh"
    init: Initializer | Spec = "xavier_uniform"
    recurrent_init: Initializer | Spec = "orthogonal"
    last: bool = False

    constraints = MappingProxyType({"units": COUNT, "last": Flag()})

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        object.__setattr__(self, "activation", activation(self.activation))
        object.__setattr__(self, "init", initializer(self.init))
        object.__setattr__(self, "recurrent_init", initializer(self.recurrent_init))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """(time, units) or (units,)."""
        time, _ = single_input(self, inputs, rank=2)
        return (self.units,) if self.last else (time, self.units)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, ParameterSpec]:
        """``weights`` (n, units), ``recurrent`` (units, units), ``bias`` (units,)."""
        n, units = inputs[0][-1], self.units
        return {
            "weights": ParameterSpec((n, units), initializer(self.init), (n, units)),
            "recurrent": ParameterSpec((units, units), initializer(self.recurrent_init), (units, units)),
            "bias": ParameterSpec((units,), initializer("zeros"), (n, units)),
        }

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """One scan over the time axis. The products with the inputs are computed before it, for all time steps."""
        function = activation(self.activation)
        input_terms = transpose(matmul(inputs[0], weights["weights"]) + weights["bias"], (1, 0, 2))

        def step(h: Value, input_term: Value, recurrent: Value) -> tuple[Value, Value]:
            new_h = function(input_term + matmul(h, recurrent))
            return new_h, new_h

        start = reshape(zeros_like(slice_axis(input_terms, 0, 0, 1)), input_terms.shape[1:])
        (final_state,), (states,) = scan(step, [start], [input_terms], [weights["recurrent"]])
        return (final_state if self.last else transpose(states, (1, 0, 2))), {}


LAYERS.add("simple_rnn", SimpleRNN)
