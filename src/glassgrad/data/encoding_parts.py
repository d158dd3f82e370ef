"""What the encodings of single columns share: their form, what they tell, and how they are described."""

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
class Odd:
    """Cells of one column that training never saw the like of: ``what`` is "new" or "missing"."""

    column: str
    what: str
    count: int
    first: str
    """Where the first of them is."""
    cell: str
    instead: str
    """What stands in for them."""

    def and_then(self, later: Odd) -> Odd:
        """The same with the cells of some later rows."""
        return replace(self, count=self.count + later.count)

    def sentence(self) -> str:
        """For people: how many, the first, and what became of them."""
        holds = f"{self.count} cell{'s hold' if self.count > 1 else ' holds'}"
        first = f"{'the first ' if self.count > 1 else ''}in {self.first}"
        if self.what == "missing":
            return (
                f"column {self.column!r}: {holds} no value ({first}), as no training row did; {self.instead}"
            )
        return (
            f"column {self.column!r}: {holds} a category that training never saw "
            f"({self.cell}, {first}); {self.instead}"
        )

    def refusal(self, place: str) -> str:
        """The refusal of the first of them."""
        found = "no value" if self.what == "missing" else f"{self.cell}, a category that training never saw,"
        return (
            f"{place}: column {self.column!r} holds {found} in {self.first}; "
            "correct it, or leave out --strict"
        )


class ColumnEncoding(Protocol):
    """How one column becomes inputs of a network."""

    @property
    def kind(self) -> str:
        """What the column is: a kind of ``inference.Kind``."""

    @property
    def name(self) -> str:
        """The column's name."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its inputs; empty where the column is left out."""

    @property
    def measured(self) -> int:
        """How many of its inputs, the first ones, are to be standardised."""

    def encode(self, column: Column, table: Table, out: Floats) -> list[Odd]:
        """Write the inputs into ``out`` [rows, inputs]; InputError for a cell that is of another kind."""

    def use(self) -> str:
        """What becomes of the column, in words."""

    def to_document(self) -> dict[str, Any]:
        """The encoding as plain JSON values."""


def odd_cells(what: str, name: str, column: Column, table: Table, where: Bools, instead: str) -> list[Odd]:
    """Nothing, or (one item) the cells ``where`` [rows] of the column ``name``."""
    count = int(where.sum())
    if count == 0:
        return []
    first = int(np.argmax(where))
    return [Odd(name, what, count, table.where(first), cells.shown(column, first), instead)]


class Described:
    """An encoding that is a dataclass, and described by its fields."""

    kind: ClassVar[str]

    def to_document(self) -> dict[str, Any]:
        """The encoding as plain JSON values: its kind, and its fields."""
        values = {item.name: getattr(self, item.name) for item in fields(cast(Any, self)) if item.init}
        document: dict[str, Any] = plain(values, null_for_nan=False)
        return {"kind": self.kind} | document


def damaged(entry: str) -> InputError:
    """The refusal of a description whose ``entry`` is not what an encoding wrote there."""
    return InputError(f"preprocessing: a column's {entry} cannot be used; save the model again")


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


def truth_of(document: Mapping[str, Any], key: str) -> bool:
    """The truth under ``key``; raises InputError for something else."""
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
