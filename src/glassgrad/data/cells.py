"""Conversion of the cells of a column to numbers, booleans, days or category codes.

The type of a column is inferred from its cells. The same column may be integers in one file, and text in the next
because of one mistyped cell. These functions convert columns of either type, and name the cell that does not fit.
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
    """The cells as float64 [rows], NaN where missing. Raises InputError for dates, and for text that is no number."""
    if column.values.dtype.kind == "O":
        return _parsed(column, table, _number, "a number")
    _refuse(column, table, "numbers", "fib")
    return np.where(column.missing, np.nan, column.values.astype(np.float64))


def booleans(column: Column, table: Table) -> Floats:
    """The cells as float64 [rows], 1 for true, 0 for false, NaN where missing. Raises InputError for other cells."""
    if column.values.dtype.kind == "O":
        return _parsed(column, table, _boolean, "true or false")
    _refuse(column, table, "true and false", "fib")
    values = np.where(column.missing, np.nan, column.values.astype(np.float64))
    invalid = ~(column.missing | (values == 0) | (values == 1))
    if invalid.any():
        raise _misfit(column, table, int(np.argmax(invalid)), "true or false")
    return values


def days(column: Column, table: Table) -> Floats:
    """The cells as days since 1970-01-01 in UTC, float64 [rows], NaN where missing.

    Raises InputError for cells that are not dates.
    """
    if column.values.dtype.kind == "O":
        return _parsed(column, table, _day, "a date")
    if not column.missing.all():  # a column without any value has no type to check
        _refuse(column, table, "dates", "M")
    else:
        return np.full(len(table), np.nan)
    micros = column.values.astype("datetime64[us]").astype(np.int64)
    return np.where(column.missing, np.nan, micros / MICROSECONDS_PER_DAY)


def codes(column: Column, index: Mapping[str, int], unknown: int) -> npt.NDArray[np.intp]:
    """The number in ``index`` of each cell's text, or ``unknown``; shape [rows], undefined where missing.

    If the column was not read as text, cells and texts are compared by value: 1 equals "1" and "1.0".
    """
    if column.values.dtype.kind == "O":
        numbers = map(index.get, column.values.tolist(), repeat(unknown))
        return np.fromiter(numbers, np.intp, len(column.values))
    by_value: dict[Any, int] = {}
    for word, code in index.items():
        by_value.setdefault(_value(word), code)
    distinct, inverse = np.unique(column.values, return_inverse=True)
    distinct_codes = [by_value.get(value, unknown) for value in distinct.tolist()]
    return np.array(distinct_codes, dtype=np.intp)[inverse]


def shown(column: Column, row: int) -> str:
    """The cell in row ``row`` as text for a message, at most 60 characters."""
    return repr(column.values[row : row + 1].astype(str)[0].item())[:60]


def _parsed(column: Column, table: Table, parse: Callable[[str], float | None], expected: str) -> Floats:
    words = column.values.tolist()
    values_by_word = {word: parse(word) for word in dict.fromkeys(words)}
    values_by_word[""] = np.nan
    invalid = {word for word, value in values_by_word.items() if value is None}
    if invalid:
        row = next(number for number, word in enumerate(words) if word in invalid)
        raise _misfit(column, table, row, expected)
    return np.fromiter(map(values_by_word.__getitem__, words), np.float64, len(words))


def _misfit(column: Column, table: Table, row: int, expected: str) -> InputError:
    return InputError(
        f"{table.source_name}: column {column.name!r} has {shown(column, row)} in {table.where(row)}, "
        f"which is not {expected}; correct it, or leave the cell empty"
    )


def _refuse(column: Column, table: Table, expected: str, kinds: str) -> None:
    kind = column.values.dtype.kind
    if kind not in kinds:
        raise InputError(
            f"{table.source_name}: column {column.name!r} has {READ_AS[kind]}, but {expected} are needed; "
            "convert the column"
        )


def _number(word: str) -> float | None:
    value = _attempt(float, word)
    return value if value is not None and np.isfinite(value) else None


def _boolean(word: str) -> float | None:
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
    """The value of ``word`` in a column that was not read as text; ``word`` itself if it is only text."""
    lower = word.strip().lower()
    if lower in ("true", "false"):
        return lower == "true"
    for parse in (_integer, _number, _moment):
        value: Any = parse(word)
        if value is not None:
            return value
    return word


def _integer(word: str) -> int | None:
    return _attempt(int, word)


def _attempt(parse: Callable[[str], T], word: str) -> T | None:
    if "_" in word:  # a digit separator in Python, but not in data
        return None
    try:
        return parse(word)
    except (ValueError, OverflowError):
        return None


def all_whole(values: Array) -> bool:
    """Whether the floats ``values`` are all whole numbers that float64 holds exactly."""
    return bool(((values == np.trunc(values)) & (np.abs(values) < 2.0**53)).all())
