"""Layers of neurons, and what goes between them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from glassgrad.common.errors import InputError
from glassgrad.graph.node import Shape, Value
from glassgrad.nn.activations import Activation, activation
from glassgrad.nn.initializers import Initializer, initializer
from glassgrad.nn.layer import LAYERS, Building, Layer, Statistic, Weight, fraction, one, positive
from glassgrad.ops.elementwise import add, multiply, select, sqrt
from glassgrad.ops.indexing import gather_rows
from glassgrad.ops.products import matmul
from glassgrad.ops.scan import scan
from glassgrad.ops.structure import (
    broadcast,
    concatenate,
    convert,
    reduce_sum,
    reshape,
    slice_axis,
    stop_gradient,
    transpose,
    zeros_like,
)

Built = tuple[Value, dict[str, Value]]
Spec = str | Mapping[str, Any]


@final
@dataclass(frozen=True)
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

    def __post_init__(self) -> None:
        """Check the options."""
        positive(self, units=self.units)
        object.__setattr__(self, "activation", activation(self.activation))
        object.__setattr__(self, "init", initializer(self.init))
        object.__setattr__(self, "bias_init", initializer(self.bias_init))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The last axis becomes ``units``."""
        return (*_with_channels(self, inputs)[:-1], self.units)

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
@dataclass(frozen=True)
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
@dataclass(frozen=True)
class Dropout(Layer):
    """In training, each element is 0 with probability ``rate``, and the others are scaled by 1 / (1 - rate).

    N. Srivastava et al., "Dropout", JMLR 2014, in the "inverted" form: prediction changes nothing.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        """Check the options."""
        fraction(self, rate=self.rate)

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
@dataclass(frozen=True)
class BatchNorm(Layer):
    """Each channel (last axis) to mean 0 and variance 1 over the batch, then scaled and shifted.

    S. Ioffe and C. Szegedy, "Batch normalization", 2015. Training uses the valid rows of the batch and moves
    the running statistics by ``momentum`` (the variance among them is the unbiased one); prediction uses
    these. A sample weight plays no part.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        """Check the options."""
        fraction(self, momentum=self.momentum)
        _check_epsilon(self, self.epsilon)

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the input."""
        return _with_channels(self, inputs)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Weight]:
        """``scale`` and ``shift``, both (channels,)."""
        n = inputs[0][-1]
        return {
            "scale": Weight((n,), initializer("constant(1.0)"), (n, n)),
            "shift": Weight((n,), initializer("zeros"), (n, n)),
        }

    def statistics(self, inputs: Sequence[Shape]) -> dict[str, Statistic]:
        """``running_mean`` and ``running_variance``, both (channels,)."""
        n = inputs[0][-1]
        return {"running_mean": Statistic((n,), 0.0), "running_variance": Statistic((n,), 1.0)}

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """(x - mean) / sqrt(variance + epsilon) * scale + shift."""
        (x,) = inputs
        updates: dict[str, Value] = {}
        if building.training:
            axes = range(len(x.shape) - 1)
            per_row = math.prod(x.shape[1:-1])
            mask = broadcast(building.valid, x.shape, [0])
            # The padding is never empty-handed: a batch has at least one valid row.
            count = reduce_sum(convert(building.valid, x.dtype)) * float(per_row)
            mean = reduce_sum(select(mask, x, 0.0), axes) / count
            offset = select(mask, x - mean, 0.0)
            variance = reduce_sum(offset * offset, axes) / count
            unbiased = variance * (count / select(count > 1.0, count - 1.0, 1.0))
            for name, value in (("running_mean", mean), ("running_variance", unbiased)):
                updates[name] = state[name] + (stop_gradient(value) - state[name]) * self.momentum
        else:
            mean, variance = state["running_mean"], state["running_variance"]
        factor = weights["scale"] / sqrt(variance + self.epsilon)
        return (x - mean) * factor + weights["shift"], updates


@final
@dataclass(frozen=True)
class LayerNorm(Layer):
    """Each row to mean 0 and variance 1 over its last axis, then scaled and shifted (J. Ba et al., 2016)."""

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        """Check the options."""
        _check_epsilon(self, self.epsilon)

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the input."""
        return _with_channels(self, inputs)

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Weight]:
        """``scale`` and ``shift``, both (channels,)."""
        return BatchNorm().weights(inputs)

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """(x - mean) / sqrt(variance + epsilon) * scale + shift."""
        (x,) = inputs
        share = 1.0 / x.shape[-1]
        offset = x - reduce_sum(x, -1, keepdims=True) * share
        variance = reduce_sum(offset * offset, -1, keepdims=True) * share
        return offset / sqrt(variance + self.epsilon) * weights["scale"] + weights["shift"], {}


@final
@dataclass(frozen=True)
class Flatten(Layer):
    """Rows of any shape -> rows of one axis."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """One axis with every element."""
        return (math.prod(one(self, inputs)),)

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """The elements in row-major order."""
        return reshape(inputs[0], (inputs[0].shape[0], -1)), {}


@final
@dataclass(frozen=True)
class Reshape(Layer):
    """Rows with the same elements in another shape; one extent may be -1."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the options."""
        if not isinstance(self.shape, (tuple, list)):
            raise InputError(f"Reshape: shape is a list of extents, not {self.shape!r}")
        object.__setattr__(self, "shape", tuple(self.shape))
        if any(type(n) is not int or n == 0 or n < -1 for n in self.shape) or self.shape.count(-1) > 1:
            raise InputError(f"Reshape: {self.shape} is not a shape; give extents above 0, one may be -1")

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """``shape``, with -1 worked out."""
        size = math.prod(one(self, inputs))
        known = math.prod(n for n in self.shape if n != -1)
        shape = tuple(size // known if n == -1 else n for n in self.shape)
        if math.prod(shape) != size:
            raise InputError(f"rows of shape {inputs[0]} do not fill {self.shape}")
        return shape

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """The elements in row-major order."""
        return reshape(inputs[0], (inputs[0].shape[0], *self.output_shape([inputs[0].shape[1:]]))), {}


@final
@dataclass(frozen=True)
class Add(Layer):
    """The sum of two or more inputs of one shape: a residual connection."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of every input."""
        return _equal(inputs)

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """a + b + ..."""
        return _fold(add, inputs), {}


@final
@dataclass(frozen=True)
class Multiply(Layer):
    """The product, element by element, of two or more inputs of one shape: a gate."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of every input."""
        return _equal(inputs)

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """a * b * ..."""
        return _fold(multiply, inputs), {}


@final
@dataclass(frozen=True)
class Concatenate(Layer):
    """Two or more inputs side by side along the last axis."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The last axes added up."""
        if len(inputs) < 2 or any(shape[:-1] != inputs[0][:-1] or not shape for shape in inputs):
            raise InputError(
                f"takes two or more inputs that agree in all but the last axis, not {list(inputs)}"
            )
        return (*inputs[0][:-1], sum(shape[-1] for shape in inputs))

    def build(
        self,
        building: Building,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """The inputs in order."""
        return concatenate(inputs, len(inputs[0].shape) - 1), {}


@final
@dataclass(frozen=True)
class Embedding(Layer):
    """A learned row of ``dimension`` numbers for each of ``entries`` tokens, given as whole numbers.

    Rows (...) of indices -> (..., dimension). An index outside of 0 to entries - 1 is clipped into it.
    """

    entries: int
    dimension: int
    init: Initializer | Spec = "normal(1.0)"

    def __post_init__(self) -> None:
        """Check the options."""
        positive(self, entries=self.entries, dimension=self.dimension)
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
@dataclass(frozen=True)
class Recurrent(Layer):
    """A recurrent layer (J. Elman, 1990): h = activation(x @ weights + h @ recurrent + bias), per time step.

    Rows (time, n) -> (time, units), or (units,) of the last step with ``last``. The state starts at 0.
    """

    units: int
    activation: Activation | Spec = "tanh"
    init: Initializer | Spec = "xavier_uniform"
    recurrent_init: Initializer | Spec = "orthogonal"
    last: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        positive(self, units=self.units)
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


def _with_channels(layer: Layer, inputs: Sequence[Shape]) -> Shape:
    shape = one(layer, inputs)
    if not shape:
        raise InputError("takes rows of at least one axis; give a Reshape([1]) before it")
    return shape


def _check_epsilon(layer: Layer, epsilon: object) -> None:
    if (
        not isinstance(epsilon, (int, float))
        or isinstance(epsilon, bool)
        or not 0 < epsilon <= sys.float_info.max
    ):
        raise InputError(f"{type(layer).__name__}: epsilon must be above 0 and finite, not {epsilon!r}")


def _equal(inputs: Sequence[Shape]) -> Shape:
    if len(inputs) < 2 or any(shape != inputs[0] for shape in inputs):
        raise InputError(f"takes two or more inputs of one shape, not {list(inputs)}")
    return inputs[0]


def _fold(op: Any, inputs: Sequence[Value]) -> Value:
    total = inputs[0]
    for item in inputs[1:]:
        total = op(total, item)
    return total


_LAYERS: dict[str, type[Layer]] = {
    "dense": Dense,
    "activation": Activate,
    "dropout": Dropout,
    "batch_norm": BatchNorm,
    "layer_norm": LayerNorm,
    "flatten": Flatten,
    "reshape": Reshape,
    "add": Add,
    "multiply": Multiply,
    "concatenate": Concatenate,
    "embedding": Embedding,
    "recurrent": Recurrent,
}
for _name, _class in _LAYERS.items():
    LAYERS.add(_name, _class)
