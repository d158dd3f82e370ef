"""The cells of a column as what they are asked to be, whatever type the column was read as.

The type of a column is guessed from its cells, so the same column may be read as integers in one file and as
text in the next, where one cell is a slip of the pen. What follows reads both, and names the cell that does
not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError
from glassgrad.data.checks import Array
from glassgrad.data.scaling import Floats
from glassgrad.data.table import Column, Table

T = TypeVar("T")

MICROSECONDS_PER_DAY = 86_400 * 10**6
READ_AS = {"f": "numbers", "i": "numbers", "b": "true and false", "M": "dates", "O": "text"}
_TRUE, _FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")


def numbers(column: Column, table: Table) -> Floats:
    """The cells as float64 [rows], NaN where missing; raises InputError for dates, and text that is none."""
    if column.values.dtype.kind == "O":
        return _parsed(column, table, _number, "a number")
    _refuse(column, table, "numbers", "fib")
    return np.where(column.missing, np.nan, column.values.astype(np.float64))


def truths(column: Column, table: Table) -> Floats:
    """The cells as float64 [rows], 1 for true and 0 for false, NaN where missing; raises InputError for others."""
    if column.values.dtype.kind == "O":
        return _parsed(column, table, _truth, "true or false")
    _refuse(column, table, "true and false", "fib")
    values = np.where(column.missing, np.nan, column.values.astype(np.float64))
    odd = ~(column.missing | (values == 0) | (values == 1))
    if odd.any():
        raise _misfit(column, table, int(np.argmax(odd)), "true or false")
    return values


def days(column: Column, table: Table) -> Floats:
    """The cells as days since 1970-01-01 in UTC, float64 [rows], NaN where missing; InputError for others."""
    if column.values.dtype.kind == "O":
        return _parsed(column, table, _day, "a date")
    if not column.missing.all():  # a column without any value has no type of its own
        _refuse(column, table, "dates", "M")
    else:
        return np.full(len(table), np.nan)
    micros = column.values.astype("datetime64[us]").astype(np.int64)
    return np.where(column.missing, np.nan, micros / MICROSECONDS_PER_DAY)


def codes(column: Column, index: Mapping[str, int], unknown: int) -> npt.NDArray[np.intp]:
    """The number of each cell's text in ``index``, or ``unknown``; [rows], of no meaning where missing.

    Where the column was not read as text, cells and texts are compared by value: 1 is "1", and "1.0" too.
    """
    if column.values.dtype.kind == "O":
        found = map(index.get, column.values.tolist(), repeat(unknown))
        return np.fromiter(found, np.intp, len(column.values))
    by_value: dict[Any, int] = {}
    for word, code in index.items():
        by_value.setdefault(_value(word), code)
    distinct, inverse = np.unique(column.values, return_inverse=True)
    coded = [by_value.get(value, unknown) for value in distinct.tolist()]
    return np.array(coded, dtype=np.intp)[inverse]


def shown(column: Column, row: int) -> str:
    """The cell in row ``row`` for a message."""
    return repr(column.values[row : row + 1].astype(str)[0].item())[:60]


def _parsed(column: Column, table: Table, parse: Callable[[str], float | None], wanted: str) -> Floats:
    words = column.values.tolist()
    known = {word: parse(word) for word in dict.fromkeys(words)}
    known[""] = np.nan
    odd = {word for word, value in known.items() if value is None}
    if odd:
        row = next(number for number, word in enumerate(words) if word in odd)
        raise _misfit(column, table, row, wanted)
    return np.fromiter(map(known.__getitem__, words), np.float64, len(words))


def _misfit(column: Column, table: Table, row: int, wanted: str) -> InputError:
    return InputError(
        f"{table.place}: column {column.name!r} holds {shown(column, row)} in {table.where(row)}, "
        f"which is not {wanted}; correct it, or leave the cell empty"
    )


def _refuse(column: Column, table: Table, wanted: str, kinds: str) -> None:
    kind = column.values.dtype.kind
    if kind not in kinds:
        raise InputError(
            f"{table.place}: column {column.name!r} holds {READ_AS[kind]}, where {wanted} are needed; "
            "convert the column"
        )


def _number(word: str) -> float | None:
    value = _attempt(float, word)
    return value if value is not None and np.isfinite(value) else None


def _truth(word: str) -> float | None:
    word = word.strip().lower()
    return 1.0 if word in _TRUE else 0.0 if word in _FALSE else None


def _day(word: str) -> float | None:
    moment = _moment(word)
    return None if moment is None else (moment - datetime(1970, 1, 1)).total_seconds() / 86_400


def _moment(word: str) -> datetime | None:
    moment = _attempt(datetime.fromisoformat, word.strip())
    if moment is None or moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return None


def _value(word: str) -> Any:
    """What ``word`` would be in a column that was not read as text; the word itself where it is only text."""
    lower = word.strip().lower()
    if lower in ("true", "false"):
        return lower == "true"
    for parse in (_whole, _number, _moment):
        value: Any = parse(word)
        if value is not None:
            return value
    return word


def _whole(word: str) -> int | None:
    return _attempt(int, word)


def _attempt(parse: Callable[[str], T], word: str) -> T | None:
    if "_" in word:  # separates digits in Python only
        return None
    try:
        return parse(word)
    except (ValueError, OverflowError):
        return None


def whole(values: Array) -> bool:
    """Whether the floats ``values`` are all whole numbers that float64 holds exactly."""
    return bool(((values == np.trunc(values)) & (np.abs(values) < 2.0**53)).all())
