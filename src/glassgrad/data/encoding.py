"""The encoding of a table as inputs of a network. It is fitted on the training rows and stored in the model file."""

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
    from glassgrad.data.encoding_parts import ColumnEncoding, UnseenCells


@frozen
class TableEncoding:
    """The encoding of the columns of a table as inputs of a network.

    ``target`` is the name of the predicted column (None if the targets were given separately). ``columns`` has one
    entry for each other column of the training table, in its order.
    """

    target: str | None
    columns: tuple[ColumnEncoding, ...]

    @classmethod
    def fit(cls, table: Table, target: str | None = None, *, transform_tails: bool = True) -> TableEncoding:
        """The encoding fitted on the training rows ``table``, which does not contain the target.

        ``transform_tails`` allows the transform of heavy-tailed numbers (see ``NumberEncoding``). Raises InputError
        if no column can be learned from.
        """
        from glassgrad.data.column_encodings import fit_column  # not needed for arrays

        encoding = cls(target, tuple(fit_column(column, table, transform_tails) for column in table.columns))
        if not encoding.names:
            unused = [f"{c.name!r} ({c.kind})" for c in encoding.columns[:10]]
            raise InputError(
                f"{table.source_name}: no column is left to learn from; left out: {', '.join(unused) or 'nothing'}"
            )
        return encoding

    @cached_property
    def used(self) -> tuple[ColumnEncoding, ...]:
        """The columns with at least one input of the network."""
        return tuple(column for column in self.columns if column.inputs)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the network's inputs: "age", "age is missing", "workclass=Private" ..."""
        return tuple(name for column in self.used for name in column.inputs)

    @cached_property
    def origins(self) -> tuple[str, ...]:
        """The name of the column of each input."""
        return tuple(column.name for column in self.used for _ in column.inputs)

    @property
    def width(self) -> int:
        """The number of the network's inputs."""
        return len(self.names)

    def transform(self, table: Table, *, strict: bool = False) -> tuple[Floats, tuple[str, ...]]:
        """The inputs of every row before standardization, float64 [rows, width], and notices about unusual cells.

        Columns are found by name. Other columns are ignored, with a notice. Categories that are not in the training
        rows get a notice with the number of cells; so do missing values in a column without missing values in the
        training rows. With ``strict`` the first such cell raises InputError. Also raises InputError for missing
        columns, and for the first cell that is not of its column's kind.
        """
        result = np.empty((len(table), self.width))
        notices = self.check(table)
        unseen: dict[tuple[str, str], UnseenCells] = {}
        for part in chunks(len(table), self.width):
            self.fill(table[part], result[part], unseen, strict=strict)
        return result, (*notices, *(item.sentence() for item in unseen.values()))

    def check(self, table: Table) -> tuple[str, ...]:
        """Notices about the columns of ``table``. Raises InputError if a required column is missing."""
        names = set(table.names)
        known = {column.name for column in self.columns} | {self.target}
        extra = [name for name in table.names if name not in known]
        missing = [column.name for column in self.used if column.name not in names]
        if missing:
            by_lower_case = {name.lower(): name for name in extra}
            matches = difflib.get_close_matches(missing[0].lower(), by_lower_case, n=1, cutoff=0.6)
            hint = f"; did you rename it to {by_lower_case[matches[0]]!r}?" if matches else ""
            raise InputError(
                f"{table.source_name}: has no column {some(missing)}, which this model needs{hint}"
            )
        return (
            (f"columns ignored because the training table did not have them: {some(extra)}",) if extra else ()
        )

    def fill(
        self, table: Table, out: Floats, unseen: dict[tuple[str, str], UnseenCells], *, strict: bool = False
    ) -> None:
        """Write the inputs of ``table`` into ``out`` [rows, width], and add its unseen cells to ``unseen``.

        The keys of ``unseen`` are column name and kind of cell. With ``strict`` an unseen cell raises InputError.
        """
        columns: dict[str, Column] = {column.name: column for column in table.columns}
        for encoding, part in self._parts:
            for item in encoding.encode(columns[encoding.name], table, out[:, part]):
                if strict:
                    raise InputError(item.refusal(table.source_name))
                key = (item.column, item.what)
                unseen[key] = unseen[key].plus(item) if key in unseen else item

    def moments(self, table: Table) -> tuple[Floats, Floats]:
        """Mean and standard deviation, float64 [width], of the inputs to standardize: numbers and dates.

        Inputs that are 0 or 1 keep mean 0 and scale 1. Divided by its small standard deviation, a rare category
        would dominate all other inputs.
        """
        mean, scale = np.zeros(self.width), np.ones(self.width)
        for encoding, part in self._parts:
            if encoding.standardized_inputs:
                values = np.empty((len(table), len(encoding.inputs)))
                encoding.encode(table.column(encoding.name), table, values)
                first = slice(part.start, part.start + encoding.standardized_inputs)
                names = [f"column {encoding.name!r}"]
                mean[first], scale[first] = moments(
                    values[:, : encoding.standardized_inputs], table.source_name, names
                )
        return mean, scale

    def facts(self) -> list[dict[str, Any]]:
        """One entry per column: its name, its kind, the number of its inputs, and a description of them ("use")."""
        return [
            {"name": c.name, "kind": c.kind, "inputs": len(c.inputs), "use": c.use()} for c in self.columns
        ]

    @cached_property
    def _parts(self) -> tuple[tuple[ColumnEncoding, slice], ...]:
        """The used columns, each with the slice of the network's inputs that it fills."""
        ends = np.cumsum([0, *(len(column.inputs) for column in self.used)]).tolist()
        return tuple(zip(self.used, itertools.starmap(slice, itertools.pairwise(ends)), strict=True))

    def to_document(self) -> dict[str, Any]:
        """The encoding as plain JSON values, from which ``from_document`` restores every float to the bit."""
        return {"target": self.target, "columns": [column.to_document() for column in self.columns]}

    @classmethod
    def from_document(cls, document: Any) -> TableEncoding:
        """The encoding of a document written by ``to_document``. Raises InputError for anything else."""
        if not isinstance(document, Mapping) or set(document) != {"target", "columns"}:
            raise InputError("preprocessing: the entry 'table' is incomplete; save the model again")
        target, columns = document["target"], document["columns"]
        if not (target is None or isinstance(target, str)) or not isinstance(columns, list):
            raise InputError("preprocessing: the table's target or columns are invalid; save the model again")
        from glassgrad.data.column_encodings import column_from

        encodings = tuple(map(column_from, columns))
        names = [column.name for column in encodings]
        if len(set(names)) < len(names) or target in names:
            raise InputError(
                "preprocessing: two columns of the table have the same name; save the model again"
            )
        return cls(target, encodings)
