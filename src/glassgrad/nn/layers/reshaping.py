"""Layers that change the shape of a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from glassgrad.common.constraints import Whole, check
from glassgrad.common.errors import InputError, shown
from glassgrad.graph.node import Shape, Value
from glassgrad.nn.layer import LAYERS, Weightless, single_input
from glassgrad.ops.structure import reshape


@final
@dataclass(frozen=True, eq=False)
class Flatten(Weightless):
    """Rows of any shape -> rows with one axis."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """One axis with all elements."""
        return (math.prod(single_input(self, inputs)),)

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The elements in row-major order."""
        return reshape(inputs[0], (inputs[0].shape[0], -1))


@final
@dataclass(frozen=True, eq=False)
class Reshape(Weightless):
    """Rows with the same elements in another shape. One size may be -1: it is inferred."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the options."""
        if not isinstance(self.shape, (tuple, list)):
            raise InputError(f"Reshape: shape is a list of sizes, not {shown(self.shape)}")
        sizes = tuple(check("Reshape: each size", n, Whole(-1, 2**31 - 1)) for n in self.shape)
        object.__setattr__(self, "shape", sizes)
        if 0 in self.shape or self.shape.count(-1) > 1:
            raise InputError(
                f"Reshape: {self.shape} is not a shape; use sizes above 0, of which one may be -1"
            )

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """``shape``, with -1 replaced by the inferred size."""
        element_count = math.prod(single_input(self, inputs))
        known_count = math.prod(n for n in self.shape if n != -1)
        shape = tuple(element_count // known_count if n == -1 else n for n in self.shape)
        if math.prod(shape) != element_count:
            raise InputError(f"rows of shape {inputs[0]} cannot be reshaped to {self.shape}")
        return shape

    def apply(self, inputs: Sequence[Value]) -> Value:
        """The elements in row-major order."""
        return reshape(inputs[0], (inputs[0].shape[0], *self.output_shape([inputs[0].shape[1:]])))


LAYERS.add("flatten", Flatten)
LAYERS.add("reshape", Reshape)
