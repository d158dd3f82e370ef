"""Elements of buffers in the arena, in registers and back."""

from __future__ import annotations

from collections.abc import Callable

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import ELEMENT, SIZE, Reg, vector
from glassgrad.backends.native.plan.memory import Buffer
from glassgrad.graph.node import DType, Value

ARENA = Reg("%arena", "ptr")


Locate = Callable[[Value], Buffer]


def address(f: Function, buffer: Buffer, index: Reg | int = 0, more: int = 0) -> Reg:
    """The address of element ``index + more`` of ``buffer``."""
    element = "i8" if buffer.type.dtype == "bool" else ELEMENT[buffer.type.dtype]
    return f.at(f.at(f.place(buffer.offset), element, index), element, more)


def load(f: Function, where: Reg, dtype: DType, lanes: int) -> Reg:
    """``lanes`` elements from memory; a bool is a byte there and a bit in a register."""
    if dtype != "bool":
        return f.load(vector(ELEMENT[dtype], lanes), where, SIZE[dtype])
    return f.compare("ne", f.load(vector("i8", lanes), where, 1), 0)


def store(f: Function, value: Reg, where: Reg, dtype: DType, count: int) -> None:
    """The first ``count`` lanes of ``value`` to memory."""
    if dtype == "bool":
        value = f.cast("zext", value, "i8")
    if count == value.lanes:
        f.store(value, where, SIZE[dtype])
    else:
        f.masked_store(value, where, f.lane_mask(value.lanes, count), SIZE[dtype])
