"""Inference of the kind of each column of a table, and of the columns that are not used."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

import numpy as np

from glassgrad.data.cells import all_whole
from glassgrad.data.table import Column

Kind = Literal["number", "category", "boolean", "date", "identifier", "text", "constant", "empty"]

UNUSED_KINDS: dict[str, str] = {
    "identifier": "an identifier: its values almost never repeat",
    "text": "free text",
    "constant": "the same value in every row",
    "empty": "no value in any row",
}
"""The kinds of columns that are not used for training, and the reasons."""

FEW = 20
"""Up to this number of distinct texts are categories, even if most rows have different ones."""

WORDS, LETTERS, PHRASES = 4, 40, 100
"""Texts with at least ``WORDS`` words or ``LETTERS`` letters on average are free text, if most of them are distinct
or more than ``PHRASES`` are."""

_NAMED = re.compile(r"(^|[^A-Za-z])(id|ids|uid|uuid|guid|index|idx|key)$", re.IGNORECASE)
_CAMEL = re.compile(r"[a-z](Id|ID|Key|Index)$")


def infer(column: Column) -> Kind:
    """The kind of ``column``, from its values and, for whole numbers that rarely repeat, its name.

    Whole numbers are numbers, even if only a few of them are distinct. They are an identifier if more than half of
    them are distinct and the column has a name such as "id", "index" or "key". Text is a category unless more than
    half of its values are distinct; then it is an identifier, or free text if it is long.
    """
    values = column.values[~column.missing]
    if len(values) == 0:
        return "empty"
    if values.dtype.kind == "O":
        return _kind_of_text(values.tolist(), complete=len(values) == len(column.values))
    if len(values) == len(column.values) and (values == values[0]).all():
        return "constant"
    if values.dtype.kind == "b":
        return "boolean"
    if values.dtype.kind == "M":
        return "date"
    if is_called_identifier(column.name) and (values.dtype.kind == "i" or all_whole(values)):
        distinct = len(np.unique(values))
        if distinct > max(FEW, len(values) / 2) or distinct == len(values):
            return "identifier"
    return "number"


def is_called_identifier(name: str) -> bool:
    """Whether ``name`` looks like an identifier: "id", "customer_id", "PassengerId", "row index" ..."""
    return bool(_NAMED.search(name.strip()) or _CAMEL.search(name.strip()))


def _kind_of_text(values: list[str], complete: bool) -> Kind:
    counts = Counter(values)
    if len(counts) == 1 and complete:
        return "constant"
    mostly_distinct = len(counts) == len(values) or len(counts) > max(FEW, len(values) / 2)
    words = sum(len(text.split()) for text in counts) / len(counts)
    letters = sum(map(len, counts)) / len(counts)
    if (words >= WORDS or letters >= LETTERS) and (mostly_distinct or len(counts) > PHRASES):
        return "text"
    return "identifier" if mostly_distinct and len(values) > 1 else "category"
