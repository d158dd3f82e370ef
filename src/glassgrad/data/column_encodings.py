"""Which encoding a column gets, and which one a description in a model file means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from glassgrad.common.errors import InputError
from glassgrad.data.category_encoding import CategoryEncoding
from glassgrad.data.encoding_parts import ColumnEncoding, Odd, text_of
from glassgrad.data.inference import LEFT_OUT, infer
from glassgrad.data.number_encodings import BooleanEncoding, DateEncoding, NumberEncoding
from glassgrad.data.scaling import Floats
from glassgrad.data.table import Column, Table


@dataclass(frozen=True)
class LeftOut:
    """A column that nothing is learned from, and of which ``kind`` it is."""

    name: str
    kind: str
    inputs: ClassVar[tuple[str, ...]] = ()
    measured: ClassVar[int] = 0

    def encode(self, column: Column, table: Table, out: Floats) -> list[Odd]:
        """Nothing."""
        return []

    def use(self) -> str:
        """Why it is left out."""
        return f"left out: {LEFT_OUT[self.kind]}"

    def to_document(self) -> dict[str, Any]:
        """The encoding as plain JSON values."""
        return {"kind": self.kind, "name": self.name}


ENCODINGS: dict[str, Any] = {
    encoding.kind: encoding for encoding in (NumberEncoding, BooleanEncoding, DateEncoding, CategoryEncoding)
}
"""The encodings by the kind of column that they are for."""


def fit_column(column: Column, table: Table, curves: bool) -> ColumnEncoding:
    """The encoding of the training rows ``column`` of ``table``; ``curves`` lets heavy tails be bent."""
    kind = infer(column)
    if kind in LEFT_OUT:
        return LeftOut(column.name, kind)
    if kind == "number":
        return NumberEncoding.fit(column, table, curves)
    if kind == "category":
        category = CategoryEncoding.fit(column, table)
        # Where no value is frequent, all are together in one input that says nothing.
        return category if category.categories else LeftOut(column.name, "identifier")
    encoding: ColumnEncoding = ENCODINGS[kind].fit(column, table)
    return encoding


def column_from(document: Any) -> ColumnEncoding:
    """The encoding that ``to_document`` described; raises InputError for anything else."""
    kind = document.get("kind") if isinstance(document, Mapping) else None
    if isinstance(kind, str) and kind in LEFT_OUT and set(document) == {"kind", "name"}:
        return LeftOut(text_of(document, "name"), kind)
    if not isinstance(kind, str) or kind not in ENCODINGS:
        raise InputError(f"preprocessing: a column is of no known kind: {kind!r:.40}; save the model again")
    cls = ENCODINGS[kind]
    keys = {"kind", *(item.name for item in fields(cls) if item.init)}
    if set(document) != keys:
        raise InputError(
            f"preprocessing: a column's entries are not {', '.join(sorted(keys))}; save it again"
        )
    encoding: ColumnEncoding = cls.from_document(document)
    return encoding
