"""Matrices in panels: some columns of all rows, then those to the right of them."""

from __future__ import annotations

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg


def in_panel(f: Function, panel: int, rows: int, column: Reg) -> Reg:
    """Where ``column`` of a matrix in panels begins, in elements; it has ``rows`` rows."""
    inside = f.binary("urem", column, panel)
    return f.add(f.mul(f.sub(column, inside), rows), inside)
