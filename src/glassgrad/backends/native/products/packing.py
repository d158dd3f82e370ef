"""Copies of matrices for fast products: panels that are read from start to end, and transposes by shuffles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.transpose import turn
from glassgrad.backends.native.ir.types import Reg


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


def copy_panel(
    f: Function,
    kind: str,
    source: Reg,
    target: Reg,
    panel: Reg,
    *,
    k: int,
    columns: int,
    width: int,
    step: int,
) -> None:
    """Columns ``panel * width`` .. ``+ width`` of a matrix (k, columns), as (k, step), in vectors of type ``kind``.

    Vectors beyond the last column hold something else: nothing outside of the matrix is read but the rest of a
    vector.
    """
    element, lanes = Reg("", kind).element, Reg("", kind).lanes
    there = f.at(target, element, f.mul(panel, k * step))
    final = columns - 1
    sources = []
    for offset in range(0, width, lanes):
        column = f.add(f.mul(panel, width), offset)
        inside = column if columns % width == 0 else f.intrinsic("umin", column, f.number("i64", final))
        sources.append((offset, f.at(source, element, inside)))
    with f.loop(k) as p:
        packed = f.at(there, element, f.mul(p, step))
        for offset, here in sources:
            f.store(f.load(kind, f.at(here, element, f.mul(p, columns))), f.at(packed, element, offset))


def turn_strip(
    f: Function, piece: str, source: Reg, target: Reg, row: Reg, *, k: int, rows: int, valid: int, step: int
) -> None:
    """Rows ``row`` .. ``+ rows`` of a matrix (n, k), turned into ``rows`` columns of one with ``step`` columns.

    Goes through k in pieces (of type ``piece``) and writes whole ones, so the target needs k rounded up. Of the
    rows only ``valid`` exist; the others' columns are filled with copies of the last.
    """
    element, lanes = Reg("", piece).element, Reg("", piece).lanes
    here = f.at(source, element, f.mul(row, k))
    with f.loop(k, step=lanes) as p:
        there, packed = f.at(here, element, p), f.at(target, element, f.mul(p, step))
        pieces = [f.load(piece, f.at(there, element, min(i, valid - 1) * k)) for i in range(rows)]
        for i, value in enumerate(turn(f, pieces)):
            f.store(value, f.at(packed, element, i * step))
