"""Loads and stores of elements of buffers in the arena."""

from __future__ import annotations

from collections.abc import Callable

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import ELEMENT, SIZE, Reg, vector
from glassgrad.backends.native.plan.memory import Buffer
from glassgrad.graph.node import DType, Value

ARENA = Reg("%arena", "ptr")


Locate = Callable[[Value], Buffer]


def address(f: Function, buffer: Buffer, index: Reg | int = 0, offset: int = 0) -> Reg:
    """The address of element ``index + offset`` of ``buffer``."""
    element = "i8" if buffer.type.dtype == "bool" else ELEMENT[buffer.type.dtype]
    return f.at(f.at(f.place(buffer.offset), element, index), element, offset)


def load(f: Function, pointer: Reg, dtype: DType, lanes: int) -> Reg:
    """Load ``lanes`` elements. A bool is a byte in memory and a bit in a register."""
    if dtype != "bool":
        return f.load(vector(ELEMENT[dtype], lanes), pointer, SIZE[dtype])
    return f.compare("ne", f.load(vector("i8", lanes), pointer, 1), 0)


def store(f: Function, value: Reg, pointer: Reg, dtype: DType, count: int) -> None:
    """Store the first ``count`` lanes of ``value``."""
    if dtype == "bool":
        value = f.cast("zext", value, "i8")
    if count == value.lanes:
        f.store(value, pointer, SIZE[dtype])
    else:
        f.masked_store(value, pointer, f.lane_mask(value.lanes, count), SIZE[dtype])
