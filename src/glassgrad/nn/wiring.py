"""Layers that bring rows into another shape, and several inputs together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, final

from glassgrad.common.constraints import Whole, check
from glassgrad.common.errors import InputError, shown
from glassgrad.graph.node import Shape, Value
from glassgrad.nn.layer import Weightless, one
from glassgrad.ops.elementwise import add, multiply
from glassgrad.ops.parts import concatenate
from glassgrad.ops.structure import reshape


@final
@dataclass(frozen=True, eq=False)
class Flatten(Weightless):
    """Rows of any shape -> rows of one axis."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """One axis with every element."""
        return (math.prod(one(self, inputs)),)

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The elements in row-major order."""
        return reshape(inputs[0], (inputs[0].shape[0], -1))


@final
@dataclass(frozen=True, eq=False)
class Reshape(Weightless):
    """Rows with the same elements in another shape; one extent may be -1."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the options."""
        if not isinstance(self.shape, (tuple, list)):
            raise InputError(f"Reshape: shape is a list of extents, not {shown(self.shape)}")
        extents = tuple(check("Reshape: each extent", n, Whole(-1, 2**31 - 1)) for n in self.shape)
        object.__setattr__(self, "shape", extents)
        if 0 in self.shape or self.shape.count(-1) > 1:
            raise InputError(f"Reshape: {self.shape} is not a shape; give extents above 0, one may be -1")

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """``shape``, with -1 worked out."""
        size = math.prod(one(self, inputs))
        known = math.prod(n for n in self.shape if n != -1)
        shape = tuple(size // known if n == -1 else n for n in self.shape)
        if math.prod(shape) != size:
            raise InputError(f"rows of shape {inputs[0]} do not fill {self.shape}")
        return shape

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The elements in row-major order."""
        return reshape(inputs[0], (inputs[0].shape[0], *self.output_shape([inputs[0].shape[1:]])))


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
