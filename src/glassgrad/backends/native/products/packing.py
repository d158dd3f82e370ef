"""Copies of matrices for fast products: panels that are read from start to end, and transposes by shuffles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.transpose import transpose
from glassgrad.backends.native.ir.types import Reg
from glassgrad.common.frozen import frozen


@contextmanager
def section(f: Function, first: Reg | int, last: Reg | int, start: int, stop: int) -> Iterator[Reg]:
    """A loop over those of the pieces ``start`` .. ``stop`` that lie in ``first`` .. ``last``, counted from 0.

    Where both ends are Python numbers, there must be such a piece.
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
    """Panels of ``width`` columns of a matrix (rows, columns); in a panel, rows lie ``step`` elements apart."""

    rows: int
    columns: int
    width: int
    step: int


def copy_panel(f: Function, kind: str, source: Reg, target: Reg, panel: Reg, shape: PanelShape) -> None:
    """Copy one panel, in vectors of type ``kind``.

    Vectors beyond the last column hold something else: nothing outside of the matrix is read but the rest of a
    vector.
    """
    element, lanes = Reg("", kind).element, Reg("", kind).lanes
    there = f.at(target, element, f.mul(panel, shape.rows * shape.step))
    final, is_whole = shape.columns - 1, shape.columns % shape.width == 0
    sources = []
    for offset in range(0, shape.width, lanes):
        column = f.add(f.mul(panel, shape.width), offset)
        inside = column if is_whole else f.intrinsic("umin", column, f.number("i64", final))
        sources.append((offset, f.at(source, element, inside)))
    with f.loop(shape.rows) as p:
        packed = f.at(there, element, f.mul(p, shape.step))
        for offset, here in sources:
            f.store(f.load(kind, f.at(here, element, f.mul(p, shape.columns))), f.at(packed, element, offset))


@frozen
class StripShape:
    """Rows of ``k`` elements, of which only ``valid`` exist; rows of the transpose lie ``step`` elements apart."""

    k: int
    rows: int
    valid: int
    step: int


def transpose_strip(f: Function, piece: str, source: Reg, target: Reg, row: Reg, shape: StripShape) -> None:
    """Rows ``row`` .. ``+ shape.rows`` of a matrix (n, k), as columns of the target.

    Goes through k in pieces (of type ``piece``) and writes whole ones, so the target needs k rounded up. The columns
    of rows that do not exist are filled with copies of the last.
    """
    element, lanes = Reg("", piece).element, Reg("", piece).lanes
    here = f.at(source, element, f.mul(row, shape.k))
    with f.loop(shape.k, step=lanes) as p:
        there, packed = f.at(here, element, p), f.at(target, element, f.mul(p, shape.step))
        pieces = [
            f.load(piece, f.at(there, element, min(i, shape.valid - 1) * shape.k)) for i in range(shape.rows)
        ]
        for i, value in enumerate(transpose(f, pieces)):
            f.store(value, f.at(packed, element, i * shape.step))
