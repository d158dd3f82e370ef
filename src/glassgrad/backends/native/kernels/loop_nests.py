"""Loop nests over the axes of an array, and indices that are affine in the loop variables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import SIZE, Reg
from glassgrad.backends.native.plan.memory import Buffer
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import DType, Node

Ints = Sequence[int]


@frozen
class EmitContext:
    """The context of an emitter: the function that it appends to, and the machine's vector width in bytes."""

    f: Function
    vector_bytes: int

    def lanes(self, dtype: DType) -> int:
        """The lanes of a full vector of ``dtype``, at 4 bytes or more per lane, so that masks fit numbers."""
        return self.vector_bytes // max(SIZE[dtype], 4)


Emit = Callable[[EmitContext, Node, Sequence[Buffer], Sequence[Buffer]], None]


def strides_of(shape: Ints) -> list[int]:
    """Row-major strides in elements."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


@contextmanager
def nest(f: Function, shape: Ints) -> Iterator[list[Reg]]:
    """A loop per axis, the last one innermost."""
    with ExitStack() as stack:
        yield [stack.enter_context(f.loop(extent)) for extent in shape]


def dot(f: Function, indices: Sequence[Reg], strides: Ints, base: int = 0) -> Reg:
    """base + sum of index * stride, as i64."""
    total = Reg(str(base), "i64")
    for index, stride in zip(indices, strides, strict=True):
        if stride and index.text != "0":
            total = f.add(total, f.mul(index, stride))
    return total
