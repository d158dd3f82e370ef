"""What each column of a table is: something to learn from, or something to leave out."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

import numpy as np

from glassgrad.data.cells import whole
from glassgrad.data.table import Column

Kind = Literal["number", "category", "boolean", "date", "identifier", "text", "constant", "empty"]

LEFT_OUT: dict[str, str] = {
    "identifier": "an identifier: its values hardly ever repeat",
    "text": "free text",
    "constant": "the same value in every row",
    "empty": "no value in any row",
}
"""The kinds of columns that nothing is learned from, and why, in words."""

FEW = 20
"""So many different texts are categories even where most rows have one of their own."""

WORDS, LETTERS, PHRASES = 4, 40, 100
"""Texts of so many words, or letters, on average are free text, unless there are only so many of them."""

_NAMED = re.compile(r"(^|[^A-Za-z])(id|ids|uid|uuid|guid|index|idx|key)$", re.IGNORECASE)
_CAMEL = re.compile(r"[a-z](Id|ID|Key|Index)$")


def infer(column: Column) -> Kind:
    """The kind of ``column``, from its values and (for whole numbers that hardly repeat) its name.

    Whole numbers are numbers, however few of them are different. They are an identifier where more than half
    of them are different and the column is called "id", "index", "key" or the like. Text is a category unless
    more than half of it is different (then it is an identifier, or free text by its length).
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
    if is_called_identifier(column.name) and (values.dtype.kind == "i" or whole(values)):
        distinct = len(np.unique(values))
        if distinct > max(FEW, len(values) / 2) or distinct == len(values):
            return "identifier"
    return "number"


def is_called_identifier(name: str) -> bool:
    """Whether ``name`` is that of an identifier: "id", "customer_id", "PassengerId", "row index" ..."""
    return bool(_NAMED.search(name.strip()) or _CAMEL.search(name.strip()))


def _kind_of_text(values: list[str], complete: bool) -> Kind:
    counts = Counter(values)
    if len(counts) == 1 and complete:
        return "constant"
    own = len(counts) == len(values) or len(counts) > max(FEW, len(values) / 2)
    words = sum(len(text.split()) for text in counts) / len(counts)
    letters = sum(map(len, counts)) / len(counts)
    if (words >= WORDS or letters >= LETTERS) and (own or len(counts) > PHRASES):
        return "text"
    return "identifier" if own and len(values) > 1 else "category"
