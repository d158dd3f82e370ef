"""Packing of operands for fast products: copies into panels, and transposes by shuffles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.transpose import transpose
from glassgrad.backends.native.ir.types import Reg
from glassgrad.common.frozen import frozen


@contextmanager
def section(f: Function, first: Reg | int, last: Reg | int, start: int, stop: int) -> Iterator[Reg]:
    """A loop over the intersection of ``start`` .. ``stop`` and ``first`` .. ``last``, with indices from ``start``.

    Both ends are exclusive. If ``first`` and ``last`` are Python numbers, the intersection must not be empty.
    """
    if isinstance(first, int) and isinstance(last, int):
        with f.loop(min(last, stop) - start, max(first, start) - start) as piece:
            yield piece
        return
    low, high = (item if isinstance(item, Reg) else f.number("i64", item) for item in (first, last))
    begin = f.sub(f.intrinsic("umax", low, f.number("i64", start)), start)
    end = f.sub(
        f.intrinsic("umax", f.intrinsic("umin", high, f.number("i64", stop)), f.number("i64", start)), start
    )
    with f.when(f.compare("ult", begin, end)), f.loop(end, begin) as piece:
        yield piece


@frozen
class PanelShape:
    """Panels of ``width`` columns of a matrix (rows, columns); the rows of a panel are ``step`` elements apart."""

    rows: int
    columns: int
    width: int
    step: int


def copy_panel(f: Function, kind: str, source: Reg, target: Reg, panel: Reg, shape: PanelShape) -> None:
    """Copy one panel, in vectors of type ``kind``.

    Vectors beyond the last column hold arbitrary elements. At most the rest of one vector is read past the matrix.
    """
    element, lanes = Reg("", kind).element, Reg("", kind).lanes
    panel_start = f.at(target, element, f.mul(panel, shape.rows * shape.step))
    last_column, is_whole = shape.columns - 1, shape.columns % shape.width == 0
    sources = []
    for offset in range(0, shape.width, lanes):
        column = f.add(f.mul(panel, shape.width), offset)
        inside = column if is_whole else f.intrinsic("umin", column, f.number("i64", last_column))
        sources.append((offset, f.at(source, element, inside)))
    with f.loop(shape.rows) as p:
        packed = f.at(panel_start, element, f.mul(p, shape.step))
        for offset, column_start in sources:
            value = f.load(kind, f.at(column_start, element, f.mul(p, shape.columns)))
            f.store(value, f.at(packed, element, offset))


@frozen
class StripShape:
    """Rows of ``k`` elements, ``valid`` of which exist; the rows of the transpose are ``step`` elements apart."""

    k: int
    rows: int
    valid: int
    step: int


def transpose_strip(f: Function, piece: str, source: Reg, target: Reg, row: Reg, shape: StripShape) -> None:
    """Transpose rows ``row`` .. ``row + shape.rows`` of a matrix (n, k) into columns of the target.

    The loop over k loads pieces of type ``piece`` and stores whole ones, so the target must have room for k rounded
    up. Columns for rows that do not exist are filled with copies of the last row.
    """
    element, lanes = Reg("", piece).element, Reg("", piece).lanes
    strip_start = f.at(source, element, f.mul(row, shape.k))
    with f.loop(shape.k, step=lanes) as p:
        piece_start, packed = f.at(strip_start, element, p), f.at(target, element, f.mul(p, shape.step))
        pieces = [
            f.load(piece, f.at(piece_start, element, min(i, shape.valid - 1) * shape.k))
            for i in range(shape.rows)
        ]
        for i, value in enumerate(transpose(f, pieces)):
            f.store(value, f.at(packed, element, i * shape.step))
