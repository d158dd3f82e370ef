"""Shared parts of the column encodings: their protocol, the notices about unseen cells, and their documents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar, cast

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.common.plain import plain
from glassgrad.data import cells
from glassgrad.data.scaling import Floats
from glassgrad.data.table import Bools, Column, Table

T = TypeVar("T")


@dataclass(frozen=True)
class UnseenCells:
    """The cells of one column of a sort that no training row has.

    ``what`` is "new" for a category that is not in the training rows, "missing" for a missing value.
    """

    column: str
    what: str
    count: int
    first: str
    """The row or line of the first such cell, in words."""
    cell: str
    """The text of the first such cell."""
    replacement: str
    """The value that replaces the cells, in words."""

    def plus(self, later: UnseenCells) -> UnseenCells:
        """These cells, together with the cells of some later rows."""
        return replace(self, count=self.count + later.count)

    def sentence(self) -> str:
        """A notice with the number of cells, the first one, and their replacement."""
        have = f"{self.count} cell{'s have' if self.count > 1 else ' has'}"
        first = f"{'the first ' if self.count > 1 else ''}in {self.first}"
        if self.what == "missing":
            return (
                f"column {self.column!r}: {have} no value ({first}), but all training rows had one; "
                f"{self.replacement}"
            )
        return (
            f"column {self.column!r}: {have} a category that is not in the training rows "
            f"({self.cell}, {first}); {self.replacement}"
        )

    def refusal(self, source_name: str) -> str:
        """The error message for the first of the cells."""
        content = (
            "no value" if self.what == "missing" else f"{self.cell}, a category not in the training rows,"
        )
        return (
            f"{source_name}: column {self.column!r} has {content} in {self.first}; "
            "correct it, or leave out --strict"
        )


class ColumnEncoding(Protocol):
    """The encoding of one column as inputs of a network."""

    @property
    def kind(self) -> str:
        """The kind of the column, one of ``inference.Kind``."""

    @property
    def name(self) -> str:
        """The column's name."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its inputs; empty if the column is not used."""

    @property
    def standardized_inputs(self) -> int:
        """The number of its inputs to standardize. They come first."""

    def encode(self, column: Column, table: Table, out: Floats) -> list[UnseenCells]:
        """Write the inputs into ``out`` [rows, inputs]. Raises InputError for a cell of another kind."""

    def use(self) -> str:
        """A description of the column's inputs for people."""

    def to_document(self) -> dict[str, Any]:
        """The encoding as plain JSON values."""


def unseen_cells(
    what: str, name: str, column: Column, table: Table, where: Bools, replacement: str
) -> list[UnseenCells]:
    """The cells of the column ``name`` where ``where`` [rows] is True: one item, or no item if there are none."""
    count = int(where.sum())
    if count == 0:
        return []
    first = int(np.argmax(where))
    return [UnseenCells(name, what, count, table.where(first), cells.shown(column, first), replacement)]


class DataclassEncoding:
    """An encoding that is a dataclass. Its document has one entry per field."""

    kind: ClassVar[str]

    def to_document(self) -> dict[str, Any]:
        """The encoding as plain JSON values: its kind, and its fields."""
        values = {item.name: getattr(self, item.name) for item in fields(cast(Any, self)) if item.init}
        document: dict[str, Any] = plain(values, null_for_nan=False)
        return {"kind": self.kind} | document


def damaged(entry: str) -> InputError:
    """The error for a document with an invalid ``entry``."""
    return InputError(f"preprocessing: the entry {entry!r} of a column is invalid; save the model again")


def text_of(document: Mapping[str, Any], key: str) -> str:
    """The text under ``key``; raises InputError for something else."""
    return _entry(document, key, str)


def _entry(document: Mapping[str, Any], key: str, kind: type[T]) -> T:
    value = document[key]
    if not isinstance(value, kind):
        raise damaged(key)
    return value


def text_list(document: Mapping[str, Any], key: str) -> list[str]:
    """The list of texts under ``key``; raises InputError for something else."""
    value = document[key]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise damaged(key)
    return value


def bool_of(document: Mapping[str, Any], key: str) -> bool:
    """The bool under ``key``; raises InputError for something else."""
    return _entry(document, key, bool)


def number_of(document: Mapping[str, Any], key: str) -> float:
    """The finite number under ``key``; raises InputError for something else."""
    value = document[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise damaged(key)
    try:
        number = float(value)
    except OverflowError:
        raise damaged(key) from None
    if not math.isfinite(number):
        raise damaged(key)
    return number
