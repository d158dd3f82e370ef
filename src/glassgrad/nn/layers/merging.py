"""Layers that merge several inputs into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, final

from glassgrad.common.errors import InputError
from glassgrad.graph.node import Shape, Value
from glassgrad.nn.layer import LAYERS, Weightless
from glassgrad.ops.elementwise import add, multiply
from glassgrad.ops.parts import concatenate


@dataclass(frozen=True, eq=False)
class _ElementwiseMerge(Weightless):
    """Combines two or more inputs of the same shape element by element."""

    op: ClassVar[Callable[[Value, Value], Value]]

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The common shape of the inputs."""
        if len(inputs) < 2 or any(shape != inputs[0] for shape in inputs):
            raise InputError(f"takes two or more inputs of one shape, not {list(inputs)}")
        return inputs[0]

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The op applied to the inputs from left to right."""
        return reduce(type(self).op, inputs)


@final
class Add(_ElementwiseMerge):
    """The sum of two or more inputs of the same shape: a residual connection."""

    op = staticmethod(add)


@final
class Multiply(_ElementwiseMerge):
    """The elementwise product of two or more inputs of the same shape: a gate."""

    op = staticmethod(multiply)


@final
@dataclass(frozen=True, eq=False)
class Concatenate(Weightless):
    """The concatenation of two or more inputs along the last axis."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the first input, with the sum of all last axes."""
        if len(inputs) < 2 or any(shape[:-1] != inputs[0][:-1] or not shape for shape in inputs):
            raise InputError(
                f"takes two or more inputs that agree in all but the last axis, not {list(inputs)}"
            )
        return (*inputs[0][:-1], sum(shape[-1] for shape in inputs))

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The inputs concatenated in order."""
        return concatenate(inputs, len(inputs[0].shape) - 1)


LAYERS.add("add", Add)
LAYERS.add("multiply", Multiply)
LAYERS.add("concatenate", Concatenate)
