"""One step of a sum or a maximum, and its initial value."""

from __future__ import annotations

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg
from glassgrad.graph.node import Node


def combine(f: Function, node: Node, a: Reg, b: Reg) -> Reg:
    """One step of the reduction ``node``: ``a`` and ``b`` combined."""
    if node.op.name == "sum":
        return f.fadd(a, b) if node.types[0].is_float else f.add(a, b)
    if node.types[0].is_float:
        return f.select(f.or_(f.compare("ogt", a, b), f.compare("uno", a, a)), a, b)
    return f.select(f.compare("sgt" if node.types[0].dtype == "int32" else "ugt", a, b), a, b)


def identity(f: Function, node: Node, kind: str) -> Reg:
    """The initial value of the reduction ``node``, of LLVM type ``kind``."""
    if node.op.name == "sum":
        return f.number(kind, 0)
    starts = {"float32": -float("inf"), "float64": -float("inf"), "int32": -(2**31), "uint32": 0}
    return f.number(kind, starts[node.types[0].dtype])
