"""Layers of neurons, and what is done to each neuron on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from glassgrad.common.constraints import COUNT, SHARE, Flag
from glassgrad.graph.node import Shape, Value
from glassgrad.nn.activations import Activation, activation
from glassgrad.nn.initializers import Initializer, initializer
from glassgrad.nn.layer import Building, Built, Layer, Spec, Weight, one, with_channels
from glassgrad.ops.elementwise import select
from glassgrad.ops.indexing import gather_rows
from glassgrad.ops.parts import slice_axis
from glassgrad.ops.products import matmul
from glassgrad.ops.scan import scan
from glassgrad.ops.structure import convert, reshape, transpose, zeros_like


@final
@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """``units`` neurons, each of which sees every input: activation(x @ weights + bias).

    Rows (..., n) -> (..., units); weights (n, units), bias (units,). A neuron is one column of the weights,
    its bias, and the activation: ``dense_1[7]`` is the neuron of column 7.
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
        return (*with_channels(self, inputs)[:-1], self.units)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Weight]:
        """``weights`` (n, units) and ``bias`` (units,)."""
        n = inputs[0][-1]
        wanted = {"weights": Weight((n, self.units), initializer(self.init), (n, self.units))}
        if self.bias:
            wanted["bias"] = Weight((self.units,), initializer(self.bias_init), (n, self.units))
        return wanted

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """activation(x @ weights + bias)."""
        total = matmul(inputs[0], weights["weights"])
        if self.bias:
            total = total + weights["bias"]
        building.inner["preactivation"] = total
        return activation(self.activation)(total), {}


@final
@dataclass(frozen=True, eq=False)
class Activate(Layer):
    """An activation on its own."""

    activation: Activation | Spec

    def __post_init__(self) -> None:
        """Check the options."""
        object.__setattr__(self, "activation", activation(self.activation))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the input."""
        return one(self, inputs)

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """activation(x)."""
        building.inner["preactivation"] = inputs[0]
        return activation(self.activation)(inputs[0]), {}


@final
@dataclass(frozen=True, eq=False)
class Dropout(Layer):
    """In training, each element is 0 with probability ``rate``, and the others are scaled by 1 / (1 - rate).

    N. Srivastava et al., "Dropout", JMLR 2014, in the "inverted" form: prediction changes nothing.
    """

    rate: float = 0.5

    constraints = MappingProxyType({"rate": SHARE})

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the input."""
        return one(self, inputs)

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """x / (1 - rate) where the mask holds, else 0; x outside of training."""
        (x,) = inputs
        if not building.training or self.rate == 0:
            return x, {}
        mask = building.mask(x.shape[1:], 1 - self.rate)
        return select(mask, x * (1 / (1 - self.rate)), 0.0), {}


@final
@dataclass(frozen=True, eq=False)
class Embedding(Layer):
    """A learned row of ``dimension`` numbers for each of ``entries`` tokens, given as whole numbers.

    Rows (...) of indices -> (..., dimension). An index outside of 0 to entries - 1 is clipped into it.
    """

    entries: int
    dimension: int
    init: Initializer | Spec = "normal(1.0)"

    constraints = MappingProxyType({"entries": COUNT, "dimension": COUNT})

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        object.__setattr__(self, "init", initializer(self.init))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """One more axis, of ``dimension``."""
        return (*one(self, inputs), self.dimension)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Weight]:
        """``weights`` (entries, dimension)."""
        shape = (self.entries, self.dimension)
        return {"weights": Weight(shape, initializer(self.init), shape)}

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """weights[index]."""
        return gather_rows(weights["weights"], convert(inputs[0], "int32")), {}


@final
@dataclass(frozen=True, eq=False)
class Recurrent(Layer):
    """A recurrent layer (J. Elman, 1990): h = activation(x @ weights + h @ recurrent + bias), per time step.

    Rows (time, n) -> (time, units), or (units,) of the last step with ``last``. The state starts at 0.
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
        time, _ = one(self, inputs, rank=2)
        return (self.units,) if self.last else (time, self.units)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Weight]:
        """``weights`` (n, units), ``recurrent`` (units, units), ``bias`` (units,)."""
        n, units = inputs[0][-1], self.units
        return {
            "weights": Weight((n, units), initializer(self.init), (n, units)),
            "recurrent": Weight((units, units), initializer(self.recurrent_init), (units, units)),
            "bias": Weight((units,), initializer("zeros"), (n, units)),
        }

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """One scan over the time axis; the products with the inputs are taken before it, all at once."""
        function = activation(self.activation)
        driven = transpose(matmul(inputs[0], weights["weights"]) + weights["bias"], (1, 0, 2))

        def step(h: Value, drive: Value, recurrent: Value) -> tuple[Value, Value]:
            new = function(drive + matmul(h, recurrent))
            return new, new

        start = reshape(zeros_like(slice_axis(driven, 0, 0, 1)), driven.shape[1:])
        (final_state,), (states,) = scan(step, [start], [driven], [weights["recurrent"]])
        return (final_state if self.last else transpose(states, (1, 0, 2))), {}
