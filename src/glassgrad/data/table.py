"""A table in memory: named columns of equal length that remember where each row came from."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.data.checks import Array, some

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@frozen
class Column:
    """One column: ``values`` [rows] and ``missing`` [rows], True where the table has no value.

    ``values`` is float64 (NaN where missing, never Inf), int64 (0 where missing), bool (False where missing),
    datetime64[us] (NaT where missing, in UTC where the source names a zone), or an object array of str (""
    where missing). A column without a single value is float64.
    """

    name: str
    values: Array
    missing: Bools


@frozen
class Table:
    """Columns of equal length, with different names.

    ``place`` is what messages call the table (a path, or "the DataFrame"). ``first_line`` is the line of the
    file on which row 0 stands, with every row on a line of its own; None where that is not so, or there is no
    file. ``numbers`` [rows] are the numbers that the rows had when they were read (from 0), kept when rows
    are selected.
    """

    place: str
    columns: tuple[Column, ...]
    first_line: int | None
    numbers: Ints

    @classmethod
    def of(cls, place: str, columns: tuple[Column, ...], rows: int, first_line: int | None = None) -> Table:
        """The table of ``columns`` just read, with ``rows`` rows numbered from 0."""
        return cls(place, columns, first_line, np.arange(rows, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, as an array of rank 2 would have them."""
        return len(self.numbers), len(self.columns)

    @property
    def ndim(self) -> int:
        """Always 2: rows and columns."""
        return 2

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column called ``name``; raises InputError, with the nearest name, where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        names = self.names
        plain = {known.lower(): known for known in reversed(names)}
        near = difflib.get_close_matches(name.lower(), plain, n=1, cutoff=0.5)
        hint = f"; did you mean {plain[near[0]]!r}?" if near else ""
        raise InputError(
            f"{self.place}: has no column {name!r}{hint} (it has: {some(list(names)) or 'none'})"
        )

    def without(self, name: str) -> Table:
        """The table with every column but ``name``; raises InputError where there is no such column."""
        gone = self.column(name)
        kept = tuple(column for column in self.columns if column is not gone)
        return Table(self.place, kept, self.first_line, self.numbers)

    def __getitem__(self, rows: Any) -> Table:
        """The rows that ``rows`` selects: an array of ints, an array of bools [rows], or a slice."""
        if not isinstance(rows, slice):
            rows = np.atleast_1d(np.asarray(rows))
            rows = rows if rows.size else rows.astype(np.intp)
        columns = tuple(Column(c.name, c.values[rows], c.missing[rows]) for c in self.columns)
        return Table(self.place, columns, self.first_line, self.numbers[rows])

    def where(self, row: int) -> str:
        """Where row ``row`` of this table came from, in words: "line 17", or a row number."""
        number = int(self.numbers[row])
        if self.first_line is None:
            return f"row {number} (rows count from 0)"
        return f"line {self.first_line + number}"
