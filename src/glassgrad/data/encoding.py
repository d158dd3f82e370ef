"""A table as the numbers that a network takes: fitted on training rows, kept in the model file."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from glassgrad.common.cached import cached_property
from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.data.checks import some
from glassgrad.data.scaling import Floats, chunks, moments
from glassgrad.data.table import Column, Table

if TYPE_CHECKING:
    from glassgrad.data.encoding_parts import ColumnEncoding, Odd


@frozen
class TableEncoding:
    """How the columns of a table become the inputs of a network.

    ``target`` is the name of the column that is predicted (None where the targets came on their own).
    ``columns`` has one entry for every other column of the table that was fitted, in its order.
    """

    target: str | None
    columns: tuple[ColumnEncoding, ...]

    @classmethod
    def fit(cls, table: Table, target: str | None = None, *, curves: bool = True) -> TableEncoding:
        """The encoding of the training rows ``table``, which has no target in it.

        ``curves`` lets numbers with a heavy tail be bent (see ``NumberEncoding``). Raises InputError where no
        column is left to learn from.
        """
        from glassgrad.data.column_encodings import fit_column  # what arrays have no use for

        encoding = cls(target, tuple(fit_column(column, table, curves) for column in table.columns))
        if not encoding.names:
            left = [f"{c.name!r} ({c.kind})" for c in encoding.columns[:10]]
            raise InputError(
                f"{table.place}: no column is left to learn from; left out: {', '.join(left) or 'nothing'}"
            )
        return encoding

    @cached_property
    def used(self) -> tuple[ColumnEncoding, ...]:
        """The columns that the network sees."""
        return tuple(column for column in self.columns if column.inputs)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the network's inputs: "age", "age is missing", "workclass=Private" ..."""
        return tuple(name for column in self.used for name in column.inputs)

    @cached_property
    def origins(self) -> tuple[str, ...]:
        """For each input, the column it comes from."""
        return tuple(column.name for column in self.used for _ in column.inputs)

    @property
    def width(self) -> int:
        """The number of the network's inputs."""
        return len(self.names)

    def transform(self, table: Table, *, strict: bool = False) -> tuple[Floats, tuple[str, ...]]:
        """The inputs of every row, float64 [rows, width], not yet standardised, and what is odd about them.

        Columns are found by name; others are ignored, and told. A category, or a missing value, that training
        never saw is told with the number of its cells; with ``strict`` the first is refused. Raises
        InputError for columns that are not there, and for the first cell that is not of its column's kind.
        """
        result = np.empty((len(table), self.width))
        told = self.check(table)
        odd: dict[tuple[str, str], Odd] = {}
        for part in chunks(len(table), self.width):
            self.fill(table[part], result[part], odd, strict=strict)
        return result, (*told, *(item.sentence() for item in odd.values()))

    def check(self, table: Table) -> tuple[str, ...]:
        """What is to be told of the columns of ``table``; raises InputError where one is not there."""
        there = set(table.names)
        known = {column.name for column in self.columns} | {self.target}
        extra = [name for name in table.names if name not in known]
        missing = [column.name for column in self.used if column.name not in there]
        if missing:
            spare = {name.lower(): name for name in extra}
            near = difflib.get_close_matches(missing[0].lower(), spare, n=1, cutoff=0.6)
            hint = f"; is it the one called {spare[near[0]]!r}?" if near else ""
            raise InputError(f"{table.place}: has no column {some(missing)}, which this model needs{hint}")
        return (f"ignored, because training had no such column: {some(extra)}",) if extra else ()

    def fill(
        self, table: Table, out: Floats, odd: dict[tuple[str, str], Odd], *, strict: bool = False
    ) -> None:
        """Write the inputs of the rows of ``table`` into ``out`` [rows, width]; add to ``odd`` what is so."""
        columns: dict[str, Column] = {column.name: column for column in table.columns}
        for encoding, part in self._parts:
            for item in encoding.encode(columns[encoding.name], table, out[:, part]):
                if strict:
                    raise InputError(item.refusal(table.place))
                key = (item.column, item.what)
                odd[key] = odd[key].and_then(item) if key in odd else item

    def moments(self, table: Table) -> tuple[Floats, Floats]:
        """Mean and standard deviation, float64 [width], of the inputs that are to be standardised.

        Those are numbers and dates. What is 0 or 1 by nature keeps mean 0 and scale 1: divided by its tiny
        spread, a rare category would shout down everything else.
        """
        mean, scale = np.zeros(self.width), np.ones(self.width)
        for encoding, part in self._parts:
            if encoding.measured:
                values = np.empty((len(table), len(encoding.inputs)))
                encoding.encode(table.column(encoding.name), table, values)
                first = slice(part.start, part.start + encoding.measured)
                called = [f"column {encoding.name!r}"]
                mean[first], scale[first] = moments(values[:, : encoding.measured], table.place, called)
        return mean, scale

    def facts(self) -> list[dict[str, Any]]:
        """One entry per column, for people and programs: name, kind, inputs, and what became of it."""
        return [
            {"name": c.name, "kind": c.kind, "inputs": len(c.inputs), "use": c.use()} for c in self.columns
        ]

    @cached_property
    def _parts(self) -> tuple[tuple[ColumnEncoding, slice], ...]:
        """The columns that the network sees, and where among its inputs theirs are."""
        ends = np.cumsum([0, *(len(column.inputs) for column in self.used)]).tolist()
        return tuple(zip(self.used, itertools.starmap(slice, itertools.pairwise(ends)), strict=True))

    def to_document(self) -> dict[str, Any]:
        """The encoding as plain JSON values, from which ``from_document`` restores every float to the bit."""
        return {"target": self.target, "columns": [column.to_document() for column in self.columns]}

    @classmethod
    def from_document(cls, document: Any) -> TableEncoding:
        """The encoding that ``to_document`` described. Raises InputError for anything else."""
        if not isinstance(document, Mapping) or set(document) != {"target", "columns"}:
            raise InputError("preprocessing: the table is not described; save the model again")
        target, columns = document["target"], document["columns"]
        if not (target is None or isinstance(target, str)) or not isinstance(columns, list):
            raise InputError("preprocessing: the table's target or columns are no such; save the model again")
        from glassgrad.data.column_encodings import column_from

        encodings = tuple(map(column_from, columns))
        names = [column.name for column in encodings]
        if len(set(names)) < len(names) or target in names:
            raise InputError("preprocessing: the table has two columns of one name; save the model again")
        return cls(target, encodings)
