"""LLVM types of registers and constants, and of the elements of a graph's values."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from glassgrad.graph.node import DType

ELEMENT: dict[DType, str] = {
    "float32": "float",
    "float64": "double",
    "int32": "i32",
    "uint32": "i32",
    "bool": "i1",
}
SIZE: dict[DType, int] = {"float32": 4, "float64": 8, "int32": 4, "uint32": 4, "bool": 1}


@dataclass(frozen=True, slots=True)
class Reg:
    """A register or a constant: its text, and its LLVM type (``float``, ``<16 x float>``, ``i64``, ``ptr``)."""

    text: str
    type: str

    @property
    def element(self) -> str:
        """The type of one lane."""
        return self.type[1:-1].split(" x ")[1] if self.type[0] == "<" else self.type

    @property
    def lanes(self) -> int:
        """The number of lanes (1 for a scalar)."""
        return int(self.type[1:-1].split(" x ")[0]) if self.type[0] == "<" else 1

    def of(self, element: str) -> str:
        """The type of the same number of lanes of ``element``."""
        return vector(element, self.lanes)


def vector(element: str, lanes: int) -> str:
    """The type of a vector of ``lanes`` lanes of ``element``; of a scalar for one lane."""
    return f"<{lanes} x {element}>" if lanes > 1 else element


def literal(element: str, number: float | int | bool) -> str:
    """``number`` as an exact constant of type ``element``."""
    if element in ("float", "double"):
        if element == "float":
            number = struct.unpack("f", struct.pack("f", number))[0]
        return f"0x{struct.unpack('>Q', struct.pack('>d', number))[0]:016X}"
    if element == "i1":
        return "true" if number else "false"
    whole = int(number)
    return str(whole - 2**32 if element == "i32" and whole >= 2**31 else whole)
