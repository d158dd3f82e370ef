"""The choice of the encoding of a column, and its restoration from a model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from glassgrad.common.errors import InputError
from glassgrad.data.category_encoding import CategoryEncoding
from glassgrad.data.encoding_parts import ColumnEncoding, UnseenCells, text_of
from glassgrad.data.inference import UNUSED_KINDS, infer
from glassgrad.data.number_encodings import BooleanEncoding, DateEncoding, NumberEncoding
from glassgrad.data.scaling import Floats
from glassgrad.data.table import Column, Table


@dataclass(frozen=True)
class UnusedColumn:
    """A column that is not used for training, because of its ``kind``."""

    name: str
    kind: str
    inputs: ClassVar[tuple[str, ...]] = ()
    standardized_inputs: ClassVar[int] = 0

    def encode(self, column: Column, table: Table, out: Floats) -> list[UnseenCells]:
        """Write nothing: the column has no inputs."""
        return []

    def use(self) -> str:
        """The reason why the column is left out."""
        return f"left out: {UNUSED_KINDS[self.kind]}"

    def to_document(self) -> dict[str, Any]:
        """The encoding as plain JSON values."""
        return {"kind": self.kind, "name": self.name}


ENCODINGS: dict[str, Any] = {
    encoding.kind: encoding for encoding in (NumberEncoding, BooleanEncoding, DateEncoding, CategoryEncoding)
}
"""The encodings by kind of column."""


def fit_column(column: Column, table: Table, transform_tails: bool) -> ColumnEncoding:
    """The encoding fitted on the training rows ``column`` of ``table``.

    ``transform_tails`` allows the transform of heavy-tailed numbers (see ``NumberEncoding``).
    """
    kind = infer(column)
    if kind in UNUSED_KINDS:
        return UnusedColumn(column.name, kind)
    if kind == "number":
        return NumberEncoding.fit(column, table, transform_tails)
    if kind == "category":
        category = CategoryEncoding.fit(column, table)
        # Without a frequent category, the only input would be the same for all rows.
        return category if category.categories else UnusedColumn(column.name, "identifier")
    encoding: ColumnEncoding = ENCODINGS[kind].fit(column, table)
    return encoding


def column_from(document: Any) -> ColumnEncoding:
    """The encoding of a document written by ``to_document``. Raises InputError for anything else."""
    kind = document.get("kind") if isinstance(document, Mapping) else None
    if isinstance(kind, str) and kind in UNUSED_KINDS and set(document) == {"kind", "name"}:
        return UnusedColumn(text_of(document, "name"), kind)
    if not isinstance(kind, str) or kind not in ENCODINGS:
        raise InputError(f"preprocessing: a column has the unknown kind {kind!r:.40}; save the model again")
    cls = ENCODINGS[kind]
    keys = {"kind", *(item.name for item in fields(cls) if item.init)}
    if set(document) != keys:
        raise InputError(
            f"preprocessing: a column's entries are not {', '.join(sorted(keys))}; save the model again"
        )
    encoding: ColumnEncoding = cls.from_document(document)
    return encoding
