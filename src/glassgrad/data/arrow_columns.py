"""Arrow columns, from files and DataFrames alike, as the columns of a table; pyarrow is loaded only here."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data.checks import Array, some
from glassgrad.data.table import Bools, Column, Table

# In any column of any source. "None" is not among them: it is the name of a class too often.
MISSING_WORDS = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NaT", "NULL", "null")
"""Text that means "no value", with or without spaces around it, quoted or not."""

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def load_arrow(part: str = "pyarrow") -> Any:
    """The module ``part`` of pyarrow, imported when it is first needed; raises InputError without pyarrow."""
    try:
        return importlib.import_module(part)
    except ImportError:
        raise InputError("reading tables needs pyarrow: pip install 'glassgrad[tables]'") from None


def check_names(place: str, names: Sequence[str]) -> None:
    """Raise InputError for a column without a name, and for two columns with the same."""
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise InputError(
                f"{place}: column {number} (of {len(names)}) has no name; name it, or leave it out"
            )
        if name in first:
            raise InputError(
                f"{place}: columns {first[name]} and {number} are both called {some([name])}; rename one"
            )
        first[name] = number


def to_table(place: str, columns: Sequence[tuple[str, Any]], rows: int, first_line: int | None) -> Table:
    """The table of ``columns``, pairs of a name and a pyarrow ChunkedArray of ``rows`` values.

    Raises InputError for no rows, no columns, names that are empty or not different, a column of a kind that
    is not one number, text or time a row, and Inf, named with its column and row or line.
    """
    if not columns:
        raise InputError(f"{place}: has no columns; give at least one")
    check_names(place, [name for name, _ in columns])
    if rows == 0:
        raise InputError(f"{place}: has column names but no rows; give at least one")
    table = Table.of(place, tuple(to_column(place, *column) for column in columns), rows, first_line)
    for column in table.columns:
        if column.values.dtype.kind == "f" and not np.isfinite(column.values).all():
            infinite = np.flatnonzero(np.isinf(column.values))
            if len(infinite):
                raise InputError(
                    f"{place}: column {some([column.name])} has Inf in {table.where(int(infinite[0]))}; "
                    "remove the row, or leave the cell empty"
                )
    return table


def to_column(place: str, name: str, data: Any) -> Column:
    """The pyarrow ChunkedArray ``data`` [rows] as the column ``name``; nothing in it is checked for Inf.

    Decimals, and integers beyond int64, become float64; times of day and durations become seconds in float64;
    dates and times become microseconds in UTC (finer parts are dropped). Raises InputError for other kinds.
    """
    pa = load_arrow()
    try:
        values, missing = _convert(pa, data)
    except TypeError:
        raise unfit(place, name, data.type) from None
    except OverflowError:
        raise InputError(
            f"{place}: column {some([name])} holds dates beyond the years that microseconds can count; "
            "remove those rows"
        ) from None
    except (ValueError, pa.ArrowException):
        raise InputError(
            f"{place}: column {some([name])} holds bytes that are not text in UTF-8; leave it out"
        ) from None
    return Column(name, values, missing)


def unfit(place: str, name: str, kind: Any) -> InputError:
    """The refusal of the column ``name`` because a table has no place for its Arrow type ``kind``."""
    text = " ".join(str(kind).split())
    return InputError(
        f"{place}: column {some([name])} holds values of type {text[:60]}, not one number, text or time a row; "
        "convert it or leave it out"
    )


def _convert(pa: Any, data: Any) -> tuple[Array, Bools]:
    """The values and the missing mask of ``data``; raises TypeError for a kind of column not taken."""
    is_, kind = pa.types, data.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            text = [None if item is None else str(item) for item in data.to_pylist()]
            return _convert(pa, pa.chunked_array([pa.array(text, pa.large_string())]))
        if kind.extension_name != "arrow.json":
            raise TypeError
        return _convert(pa, data.cast(kind.storage_type))
    if is_.is_run_end_encoded(kind):
        chunks = [load_arrow("pyarrow.compute").run_end_decode(chunk) for chunk in data.chunks]
        return _convert(pa, pa.chunked_array(chunks, kind.value_type))
    textual = (is_.is_string, is_.is_large_string, is_.is_string_view)
    if is_.is_dictionary(kind):
        if any(test(kind.value_type) for test in textual):
            values, missing = _text(pa, data)
        else:
            return _convert(pa, data.cast(kind.value_type))
    elif any(test(kind) for test in (*textual, is_.is_binary, is_.is_large_binary, is_.is_fixed_size_binary)):
        values, missing = _text(pa, data.cast(pa.large_string()).dictionary_encode())
    elif is_.is_null(kind):
        values, missing = np.full(len(data), np.nan), np.ones(len(data), dtype=bool)
    elif is_.is_boolean(kind):
        values, missing = data.fill_null(False).to_numpy(), _nulls(data)
    elif is_.is_integer(kind):
        values, missing = data.fill_null(0).to_numpy(), _nulls(data)
        large = kind == pa.uint64() and len(values) and values.max() > np.iinfo(np.int64).max
        if large:
            values = np.where(missing, np.nan, values)
        values = values.astype(np.float64 if large else np.int64, copy=False)
    elif is_.is_floating(kind) or is_.is_decimal(kind):
        values = data.cast(pa.float64()).to_numpy()
        missing = np.isnan(values)
    elif is_.is_date(kind) or is_.is_timestamp(kind):
        values = _instants(pa, data)
        missing = np.isnat(values)
    elif is_.is_time(kind) or is_.is_duration(kind):
        count = data.cast(pa.int32()) if kind.bit_width == 32 else data.cast(pa.int64())
        missing = _nulls(data)
        values = np.where(missing, np.nan, count.fill_null(0).to_numpy() / _PER_SECOND[kind.unit])
    else:
        raise TypeError
    if missing.all():
        return np.full(len(data), np.nan), missing
    return values, missing


def _nulls(data: Any) -> Bools:
    if data.null_count == 0:
        return np.zeros(len(data), dtype=bool)
    mask: Bools = data.is_null().to_numpy()
    return mask


def _text(pa: Any, data: Any) -> tuple[Array, Bools]:
    """Text from dictionary-encoded ``data``: every different text is one str object, shared by its rows."""
    values, missing = [], []
    for chunk in data.unify_dictionaries().chunks:
        words = chunk.dictionary.to_pylist()
        unset = np.array([word is None or word.strip() in MISSING_WORDS for word in words] + [True])
        texts = np.array([*words, ""], dtype=object)
        texts[unset] = ""
        indices = chunk.indices.cast(pa.int64()).fill_null(len(words)).to_numpy()
        values.append(texts[indices])
        missing.append(unset[indices])
    if not values:
        return np.zeros(0, dtype=object), np.zeros(0, dtype=bool)
    return np.concatenate(values), np.concatenate(missing)


def _instants(pa: Any, data: Any) -> Array:
    """Dates and times as datetime64[us]; raises OverflowError where one does not fit."""
    stamped = pa.types.is_timestamp(data.type)
    finer = stamped and data.type.unit == "ns"
    zone = data.type.tz if stamped else None  # says how to show an instant; NumPy gets the instant in UTC
    try:
        return np.asarray(data.cast(pa.timestamp("us", zone), safe=not finer).to_numpy(), "datetime64[us]")
    except pa.ArrowInvalid:
        raise OverflowError from None
