"""The interface of layers: output shape, weights and buffers, and the graph of the layer.

A layer is a frozen dataclass of options and holds no arrays. The network names the layer, the package ``training``
draws its weights, and ``build`` returns the graph of its output and of its buffer updates.
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
    """A trainable parameter of a layer: its shape, its initializer, and ``(fan_in, fan_out)``."""

    shape: Shape
    init: Initializer
    fans: tuple[int, int]


@frozen
class BufferSpec:
    """A buffer of a layer: an array without a gradient that is kept between steps, such as a running mean."""

    shape: Shape
    fill: float


@frozen
class Randomness:
    """The random inputs of a program. Each layer draws from its own random stream."""

    seed: Value
    step: Value
    rows: Value


@frozen
class BuildContext:
    """The context in which a layer builds its graph.

    ``row_mask`` is bool[batch], False for padded rows, which batch statistics must leave out. ``random`` is None in
    prediction. ``inner`` collects, by name, inner values that can be read later, such as pre-activations.

    Each call of ``mask``, ``uniform`` or ``normal`` draws from its own random stream, which follows from the
    position of the call among the layer's draws. A layer that builds other layers passes them its ``context`` (or
    a ``dataclasses.replace`` of it), so that their draws count too. The body of a ``scan`` is built once but runs
    once per element: draw before the scan and pass the numbers to it as a sequence.
    """

    name: str
    stream: int
    """The random stream of the layer's first draw; the streams of later draws are derived from it."""
    training: bool
    row_mask: Value
    random: Randomness | None = None
    inner: dict[str, Value] = field(default_factory=dict)
    draws: Iterator[int] = field(default_factory=itertools.count, repr=False)
    """Counts the draws of this layer."""

    def mask(self, shape: Shape, probability: float) -> Value:
        """bool[batch, *shape], True with ``probability``. Raises InputError outside training."""
        r, stream = self._next_draw()
        return random_mask(r.seed, r.step, r.rows, stream=stream, shape=shape, probability=probability)

    def uniform(self, shape: Shape, dtype: DType = "float32") -> Value:
        """[batch, *shape], uniform in [0, 1). Raises InputError outside training."""
        r, stream = self._next_draw()
        return random_uniform(r.seed, r.step, r.rows, stream=stream, shape=shape, dtype=dtype)

    def normal(self, shape: Shape, dtype: DType = "float32") -> Value:
        """[batch, *shape], normal with mean 0 and standard deviation 1. Raises InputError outside training."""
        r, stream = self._next_draw()
        return random_normal(r.seed, r.step, r.rows, stream=stream, shape=shape, dtype=dtype)

    def _next_draw(self) -> tuple[Randomness, int]:
        """The random inputs, and the stream of the next draw."""
        if self.random is None:
            raise InputError(
                f"layer {self.name!r} draws random numbers outside training; draw only if context.training is True"
            )
        number = next(self.draws)
        # ``stream`` is the CRC-32 of the layer's name. Later draws use the CRC-32 of "name/number"; the name of a
        # layer contains no "/".
        return self.random, zlib.crc32(f"/{number}".encode(), self.stream) if number else self.stream


Built = tuple[Value, dict[str, Value]]
"""The result of ``build``: the output [batch, *shape], and the new values of the buffers that change."""


class Layer(Part, ABC):
    """Base of all layers. Shapes are those of one row, without the batch axis."""

    @abstractmethod
    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of one output row. Raises InputError if the input shapes do not fit."""

    def weights(self, inputs: Sequence[Shape]) -> dict[str, ParameterSpec]:
        """The trainable parameters for these input shapes, by name."""
        return {}

    def statistics(self, inputs: Sequence[Shape]) -> dict[str, BufferSpec]:
        """The buffers for these input shapes, by name."""
        return {}

    @abstractmethod
    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> Built:
        """Build the graph of the layer's output and of its buffer updates."""

    def label(self) -> str:
        """The name of the class. The network adds the name of the layer to messages."""
        return type(self).__name__

    def __call__(self, *inputs: SymbolicTensor, name: str | None = None) -> SymbolicTensor:
        """Apply this layer in the functional form; ``name`` replaces the automatic name."""
        for item in inputs:
            if not isinstance(item, SymbolicTensor):
                raise InputError(
                    f"{type(self).__name__} takes symbolic tensors, such as Input(), not {item!r}"
                )
        return SymbolicTensor(self, inputs, check_name(name) if name is not None else None)


@runtime_checkable
class HasActivation(Protocol):
    """A layer with the option ``activation``."""

    @property
    def activation(self) -> object:
        """An ``Activation`` in the layers of this package; any object in others."""


class Weightless(Layer):
    """A layer without weights and buffers: the same function of its inputs in training and prediction."""

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
        """The output of ``apply``, without buffer updates."""
        return self.apply(inputs), {}


@frozen
class SymbolicTensor:
    """The output of a layer in the functional form; without a layer, the input of the network."""

    layer: Layer | None
    inputs: tuple[SymbolicTensor, ...] = ()
    name: str | None = None


Spec = str | Mapping[str, Any]
"""An activation or initializer as text or as a configuration."""

LAYERS: Registry[Layer] = Registry("layer", Layer)  # type: ignore[type-abstract]
# Each module of nn/layers registers its layers. It is imported when one of them is first requested.
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
    """``name``; raises InputError if it is not a valid layer name."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name) or name == "input":
        raise InputError(
            f"{name!r} is not a valid layer name; use letters, digits, '_' and '-' (not 'input')"
        )
    return name


def single_input(layer: Layer, inputs: Sequence[Shape], rank: int | None = None) -> Shape:
    """The shape of the only input of ``layer``; raises InputError unless it is one, with ``rank`` axes."""
    if len(inputs) != 1:
        raise InputError(f"takes one input, not {len(inputs)}")
    if rank is not None and len(inputs[0]) != rank:
        raise InputError(f"takes rows with {rank} axes, not rows of shape {inputs[0]}")
    return inputs[0]


def input_with_channels(layer: Layer, inputs: Sequence[Shape]) -> Shape:
    """The shape of the only input of ``layer``; raises InputError unless it is one, with at least one axis."""
    shape = single_input(layer, inputs)
    if not shape:
        raise InputError("takes rows with at least one axis; add Reshape([1]) before it")
    return shape
