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
class _Together(Weightless):
    """Two or more inputs of one shape, element by element, to one."""

    op: ClassVar[Callable[[Value, Value], Value]]

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of every input."""
        if len(inputs) < 2 or any(shape != inputs[0] for shape in inputs):
            raise InputError(f"takes two or more inputs of one shape, not {list(inputs)}")
        return inputs[0]

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The first with the second, that with the third ..."""
        return reduce(type(self).op, inputs)


@final
class Add(_Together):
    """The sum of two or more inputs of one shape: a residual connection."""

    op = staticmethod(add)


@final
class Multiply(_Together):
    """The product, element by element, of two or more inputs of one shape: a gate."""

    op = staticmethod(multiply)


@final
@dataclass(frozen=True, eq=False)
class Concatenate(Weightless):
    """Two or more inputs side by side along the last axis."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The last axes added up."""
        if len(inputs) < 2 or any(shape[:-1] != inputs[0][:-1] or not shape for shape in inputs):
            raise InputError(
                f"takes two or more inputs that agree in all but the last axis, not {list(inputs)}"
            )
        return (*inputs[0][:-1], sum(shape[-1] for shape in inputs))

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The inputs in order."""
        return concatenate(inputs, len(inputs[0].shape) - 1)


LAYERS.add("add", Add)
LAYERS.add("multiply", Multiply)
LAYERS.add("concatenate", Concatenate)
