"""A table in memory: named columns of equal length, and the original number of each row."""

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
    """One column: ``values`` [rows], and ``missing`` [rows], which is True where the table has no value.

    ``values`` is float64 (NaN where missing, never Inf), int64 (0 where missing), bool (False where missing),
    datetime64[us] (NaT where missing; in UTC if the source has a time zone), or an object array of str (""
    where missing). A column without any value is float64.
    """

    name: str
    values: Array
    missing: Bools


@frozen
class Table:
    """Columns of equal length, with different names.

    ``source_name`` is the name of the table in messages (a path, or "the DataFrame"). ``first_line`` is the line of
    row 0 in its file, if each row has exactly one line; otherwise, and without a file, it is None. ``numbers`` [rows]
    are the original row numbers (from 0). They do not change when rows are selected.
    """

    source_name: str
    columns: tuple[Column, ...]
    first_line: int | None
    numbers: Ints

    @classmethod
    def of(
        cls, source_name: str, columns: tuple[Column, ...], rows: int, first_line: int | None = None
    ) -> Table:
        """A new table of ``columns`` with ``rows`` rows, numbered from 0."""
        return cls(source_name, columns, first_line, np.arange(rows, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns, like the shape of an array of rank 2."""
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
        """The column with the name ``name``. Raises InputError, with the most similar name, if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        names = self.names
        by_lower_case = {known.lower(): known for known in reversed(names)}
        matches = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
        hint = f"; did you mean {by_lower_case[matches[0]]!r}?" if matches else ""
        raise InputError(
            f"{self.source_name}: has no column {name!r}{hint} (it has: {some(list(names)) or 'none'})"
        )

    def without(self, name: str) -> Table:
        """The table without the column ``name``. Raises InputError if there is no such column."""
        removed = self.column(name)
        columns = tuple(column for column in self.columns if column is not removed)
        return Table(self.source_name, columns, self.first_line, self.numbers)

    def __getitem__(self, rows: Any) -> Table:
        """The rows that ``rows`` selects: an array of ints, an array of bools [rows], or a slice."""
        if not isinstance(rows, slice):
            rows = np.atleast_1d(np.asarray(rows))
            rows = rows if rows.size else rows.astype(np.intp)
        columns = tuple(Column(c.name, c.values[rows], c.missing[rows]) for c in self.columns)
        return Table(self.source_name, columns, self.first_line, self.numbers[rows])

    def where(self, row: int) -> str:
        """The origin of row ``row`` of this table, in words: "line 17", or a row number."""
        number = int(self.numbers[row])
        if self.first_line is None:
            return f"row {number} (rows count from 0)"
        return f"line {self.first_line + number}"
