"""Conversion of Arrow columns, from files and DataFrames, to columns of a table. Only this module loads pyarrow."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data.checks import Array, some
from glassgrad.data.table import Bools, Column, Table

# These apply to every column of every source. "None" is not one of them, because it is often the name of a class.
MISSING_WORDS = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NaT", "NULL", "null")
"""Texts that mean "no value", with or without spaces around them or quotes."""

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def load_arrow(part: str = "pyarrow") -> Any:
    """Import the module ``part`` of pyarrow. Raises InputError if pyarrow is not installed."""
    try:
        return importlib.import_module(part)
    except ImportError:
        raise InputError("reading tables needs pyarrow: pip install 'glassgrad[tables]'") from None


def check_names(source_name: str, names: Sequence[str]) -> None:
    """Raise InputError for a column without a name, and for two columns with the same name."""
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise InputError(
                f"{source_name}: column {number} (of {len(names)}) has no name; name it, or leave it out"
            )
        if name in first:
            raise InputError(
                f"{source_name}: columns {first[name]} and {number} are both called {some([name])}; rename one"
            )
        first[name] = number


def to_table(
    source_name: str, columns: Sequence[tuple[str, Any]], rows: int, first_line: int | None
) -> Table:
    """The table of ``columns``, pairs of a name and a pyarrow ChunkedArray of ``rows`` values.

    Raises InputError for no rows, no columns, names that are empty or repeated, a column whose values are not single
    numbers, texts or times, and Inf (named with its column and its row or line).
    """
    if not columns:
        raise InputError(f"{source_name}: has no columns; give at least one")
    check_names(source_name, [name for name, _ in columns])
    if rows == 0:
        raise InputError(f"{source_name}: has column names but no rows; give at least one")
    table = Table.of(
        source_name, tuple(to_column(source_name, *column) for column in columns), rows, first_line
    )
    for column in table.columns:
        if column.values.dtype.kind == "f" and not np.isfinite(column.values).all():
            infinite = np.flatnonzero(np.isinf(column.values))
            if len(infinite):
                raise InputError(
                    f"{source_name}: column {some([column.name])} has Inf in {table.where(int(infinite[0]))}; "
                    "remove the row, or leave the cell empty"
                )
    return table


def to_column(source_name: str, name: str, data: Any) -> Column:
    """The pyarrow ChunkedArray ``data`` [rows] as the column ``name``. Inf is not checked.

    Decimals, and integers too large for int64, become float64. Times of day and durations become seconds in float64.
    Dates and times become microseconds in UTC; smaller fractions are dropped. Raises InputError for other types.
    """
    pa = load_arrow()
    try:
        values, missing = _convert(pa, data)
    except TypeError:
        raise unfit(source_name, name, data.type) from None
    except OverflowError:
        raise InputError(
            f"{source_name}: column {some([name])} has dates outside the range of datetime64[us]; "
            "remove those rows"
        ) from None
    except (ValueError, pa.ArrowException):
        raise InputError(
            f"{source_name}: column {some([name])} holds bytes that are not text in UTF-8; leave it out"
        ) from None
    return Column(name, values, missing)


def unfit(source_name: str, name: str, kind: Any) -> InputError:
    """The error for the column ``name``, whose Arrow type ``kind`` a table cannot hold."""
    text = " ".join(str(kind).split())
    return InputError(
        f"{source_name}: column {some([name])} holds values of type {text[:60]}, not one number, text or time per "
        "row; convert it or leave it out"
    )


def _convert(pa: Any, data: Any) -> tuple[Array, Bools]:
    """The values and the missing mask of ``data``. Raises TypeError for an unsupported type."""
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
        exceeds_int64 = kind == pa.uint64() and len(values) and values.max() > np.iinfo(np.int64).max
        if exceeds_int64:
            values = np.where(missing, np.nan, values)
        values = values.astype(np.float64 if exceeds_int64 else np.int64, copy=False)
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
    """The texts of dictionary-encoded ``data``, and the missing mask. Rows with equal texts share one str object."""
    values, missing = [], []
    for chunk in data.unify_dictionaries().chunks:
        words = chunk.dictionary.to_pylist()
        is_missing = np.array([word is None or word.strip() in MISSING_WORDS for word in words] + [True])
        texts = np.array([*words, ""], dtype=object)
        texts[is_missing] = ""
        indices = chunk.indices.cast(pa.int64()).fill_null(len(words)).to_numpy()
        values.append(texts[indices])
        missing.append(is_missing[indices])
    if not values:
        return np.zeros(0, dtype=object), np.zeros(0, dtype=bool)
    return np.concatenate(values), np.concatenate(missing)


def _instants(pa: Any, data: Any) -> Array:
    """Dates and times as datetime64[us]. Raises OverflowError for one that does not fit."""
    is_timestamp = pa.types.is_timestamp(data.type)
    has_nanoseconds = is_timestamp and data.type.unit == "ns"
    zone = data.type.tz if is_timestamp else None  # for display only; NumPy gets the instant in UTC
    try:
        return np.asarray(
            data.cast(pa.timestamp("us", zone), safe=not has_nanoseconds).to_numpy(), "datetime64[us]"
        )
    except pa.ArrowInvalid:
        raise OverflowError from None
