"""What a layer is: shapes, weights and state that it wants, and the graph that it builds.

A layer holds no numbers. It is a frozen dataclass of options; the network gives it a name, the training floor
draws its weights, and ``build`` turns inputs into an output and its state updates, as graph.
"""

from __future__ import annotations

import itertools
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol, runtime_checkable

from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.common.part import Part
from glassgrad.common.registry import Registry
from glassgrad.graph.node import DType, Shape, Value
from glassgrad.init.initializers import Initializer
from glassgrad.ops.random import random_mask, random_normal, random_uniform


@frozen
class ParameterSpec:
    """A trainable parameter of a layer: its shape, its initializer, and the fans that the initializer scales by."""

    shape: Shape
    init: Initializer
    fans: tuple[int, int]


@frozen
class BufferSpec:
    """A buffer of a layer: an array kept between steps that no gradient reaches, such as a running mean."""

    shape: Shape
    fill: float


@frozen
class Randomness:
    """The random inputs of a program; each layer draws from a stream of its own."""

    seed: Value
    step: Value
    rows: Value


@frozen
class BuildContext:
    """What a layer may use while it builds its graph.

    ``row_mask`` is bool[batch], False for padding: statistics over the batch leave it out. ``random`` is None in
    prediction. ``inner`` collects values worth reading that are not the output (pre-activations), by name.

    Each call of ``mask``, ``uniform`` and ``normal`` draws from a random stream of its own, fixed by its order
    among the draws of the layer. A layer that builds other layers hands its own ``building`` (or a
    ``dataclasses.replace`` of it) to them, so that their draws are counted too. A body of ``scan`` runs once per
    element but is built once: draw before the scan, and hand the numbers to it as a sequence.
    """

    name: str
    stream: int
    """The stream of the layer's first draw; those of later draws are derived from it."""
    training: bool
    row_mask: Value
    random: Randomness | None = None
    inner: dict[str, Value] = field(default_factory=dict)
    draws: Iterator[int] = field(default_factory=itertools.count, repr=False)
    """Numbers the draws of this layer."""

    def mask(self, shape: Shape, probability: float) -> Value:
        """bool[batch, *shape], True with ``probability``; raises InputError outside of training."""
        r, stream = self._next_draw()
        return random_mask(r.seed, r.step, r.rows, stream=stream, shape=shape, probability=probability)

    def uniform(self, shape: Shape, dtype: DType = "float32") -> Value:
        """[batch, *shape], uniform in [0, 1); raises InputError outside of training."""
        r, stream = self._next_draw()
        return random_uniform(r.seed, r.step, r.rows, stream=stream, shape=shape, dtype=dtype)

    def normal(self, shape: Shape, dtype: DType = "float32") -> Value:
        """[batch, *shape], of mean 0 and standard deviation 1; raises InputError outside of training."""
        r, stream = self._next_draw()
        return random_normal(r.seed, r.step, r.rows, stream=stream, shape=shape, dtype=dtype)

    def _next_draw(self) -> tuple[Randomness, int]:
        """The random inputs, and the stream of the next draw."""
        if self.random is None:
            raise InputError(f"layer {self.name!r} draws random numbers outside of training")
        number = next(self.draws)
        # The network's stream of a layer is the CRC-32 of its name; this continues it to that of "name/number",
        # and "/" cannot be in the name of a layer.
        return self.random, zlib.crc32(f"/{number}".encode(), self.stream) if number else self.stream


Built = tuple[Value, dict[str, Value]]
"""What ``build`` gives: the output ([batch, *shape]) and the state after this step (only what changes)."""


class Layer(Part, ABC):
    """Base of all layers. Shapes are those of one row: the batch axis is left out."""

    @abstractmethod
    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of one output row; raises InputError where the inputs do not fit."""

    def weights(self, inputs: Sequence[Shape]) -> dict[str, ParameterSpec]:
        """The weights wanted for these inputs, by name."""
        return {}

    def statistics(self, inputs: Sequence[Shape]) -> dict[str, BufferSpec]:
        """The state wanted for these inputs, by name."""
        return {}

    @abstractmethod
    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """The layer's output and its new state, as graph."""

    def label(self) -> str:
        """The name of the class: a network's messages say which layer it is."""
        return type(self).__name__

    def __call__(self, *inputs: SymbolicTensor, name: str | None = None) -> SymbolicTensor:
        """Apply this layer in the functional form; ``name`` replaces the automatic one."""
        for item in inputs:
            if not isinstance(item, SymbolicTensor):
                raise InputError(
                    f"{type(self).__name__} takes symbolic tensors, such as Input(), not {item!r}"
                )
        return SymbolicTensor(self, inputs, check_name(name) if name is not None else None)


@runtime_checkable
class Activated(Protocol):
    """A layer with an activation of its own, as an option."""

    @property
    def activation(self) -> object:
        """An ``Activation``, in the layers of this package."""


class Weightless(Layer):
    """A layer without weights or state: one function of its inputs, in training as in use."""

    @abstractmethod
    def apply(self, inputs: Sequence[Value]) -> Value:
        """The output, [batch, *shape]."""

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """That function."""
        return self.apply(inputs), {}


@frozen
class SymbolicTensor:
    """The output of a layer (or, with no layer, the network's input) in the functional form."""

    layer: Layer | None
    inputs: tuple[SymbolicTensor, ...] = ()
    name: str | None = None


Spec = str | Mapping[str, Any]
"""A part of a layer as text or as configuration."""

LAYERS: Registry[Layer] = Registry("layer", Layer)  # type: ignore[type-abstract]
# Each file of nn/layers registers its own layers; it is loaded when one of them is asked for.
LAYERS.add_later("glassgrad.nn.layers.convolution", "conv2d")
LAYERS.add_later("glassgrad.nn.layers.pooling", "max_pool2d", "average_pool2d", "global_average_pool2d")
LAYERS.add_later("glassgrad.nn.layers.dense", "dense")
LAYERS.add_later("glassgrad.nn.layers.activation", "activation")
LAYERS.add_later("glassgrad.nn.layers.dropout", "dropout")
LAYERS.add_later("glassgrad.nn.layers.normalization", "batch_norm", "layer_norm")
LAYERS.add_later("glassgrad.nn.layers.reshaping", "flatten", "reshape")
LAYERS.add_later("glassgrad.nn.layers.merging", "add", "multiply", "concatenate")
LAYERS.add_later("glassgrad.nn.layers.embedding", "embedding")
LAYERS.add_later("glassgrad.nn.layers.recurrent", "simple_rnn")


def check_name(name: str) -> str:
    """``name``, if it can be the name of a layer."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name) or name == "input":
        raise InputError(f"{name!r} cannot name a layer; use letters, digits, '_' and '-', and not 'input'")
    return name


def one(layer: Layer, inputs: Sequence[Shape], rank: int | None = None) -> Shape:
    """The single input of ``layer``, checked to have ``rank`` axes."""
    if len(inputs) != 1:
        raise InputError(f"takes one input, not {len(inputs)}")
    if rank is not None and len(inputs[0]) != rank:
        raise InputError(f"takes rows of {rank} axes, not of shape {inputs[0]}")
    return inputs[0]


def with_channels(layer: Layer, inputs: Sequence[Shape]) -> Shape:
    """The single input of ``layer``, checked to have a last axis."""
    shape = one(layer, inputs)
    if not shape:
        raise InputError("takes rows of at least one axis; give a Reshape([1]) before it")
    return shape
