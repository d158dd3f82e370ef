"""Matrices in panels: a panel holds a number of columns of all rows; the next panel holds the next columns."""

from __future__ import annotations

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg


def in_panel(f: Function, panel: int, rows: int, column: Reg) -> Reg:
    """The index of the first element of ``column``, in a matrix of ``rows`` rows in panels of ``panel`` columns."""
    column_in_panel = f.binary("urem", column, panel)
    return f.add(f.mul(f.sub(column, column_in_panel), rows), column_in_panel)
