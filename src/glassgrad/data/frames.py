"""DataFrames of any library that narwhals supports, as tables. Only this module loads narwhals."""

from __future__ import annotations

from typing import Any

from glassgrad.common.errors import InputError
from glassgrad.data.arrow_columns import load_arrow, to_table
from glassgrad.data.checks import some
from glassgrad.data.table import Table

_MARKS = ("columns", "__narwhals_dataframe__", "__narwhals_lazyframe__")


def as_table(frame: Any, source_name: str = "the DataFrame") -> Table | None:
    """The DataFrame ``frame`` (pandas, polars, Arrow, or another that narwhals supports) as a table.

    Returns None if ``frame`` is not a DataFrame, and a Table unchanged. A lazy frame is collected, an index is
    ignored, and names that are not text become text. The types of columns are listed in
    ``glassgrad.data.table.Column``. Raises InputError if narwhals or pyarrow is not installed, and for no rows, no
    columns, empty or repeated names, columns with values of different kinds, and Inf. The message is one line that
    begins with ``source_name``.
    """
    if isinstance(frame, Table):
        return frame
    # Looked up on the class, because on a lazy frame the attribute may start a computation.
    if not any(hasattr(type(frame), mark) for mark in _MARKS):
        return None
    try:
        import narwhals as nw
        from narwhals.exceptions import DuplicateError, NarwhalsError
    except ImportError:
        raise InputError(
            "reading DataFrames needs narwhals and pyarrow: pip install 'glassgrad[tables]'"
        ) from None
    try:
        wrapped = nw.from_native(frame, pass_through=True)
        if isinstance(wrapped, nw.LazyFrame):
            wrapped = wrapped.collect()
        if not isinstance(wrapped, nw.DataFrame):
            return None
        series_list = list(wrapped.iter_columns())
    except DuplicateError as error:
        names = " ".join(str(error).partition("got:")[2].replace("\n- ", " ").split())
        raise InputError(
            f"{source_name}: has columns with the same name ({names[:200]}); rename them"
        ) from None
    except NarwhalsError as error:
        raise InputError(f"{source_name}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    columns = [(str(series.name), _arrow(source_name, series, nw)) for series in series_list]
    return to_table(source_name, columns, len(wrapped), None)


def _arrow(source_name: str, series: Any, nw: Any) -> Any:
    """The narwhals ``series`` as a pyarrow ChunkedArray. Raises InputError if Arrow cannot represent it."""
    pa = load_arrow()
    try:
        if series.dtype in (nw.Int128, nw.UInt128):
            series = series.cast(nw.Float64)
        native = series.to_native()
        if series.implementation.is_pandas() and hasattr(native, "sparse"):
            series = nw.from_native(native.sparse.to_dense(), series_only=True)
        if series.dtype == nw.Object and series.implementation.is_polars():
            raise TypeError  # polars would convert the memory addresses of the objects
        array = series.to_arrow()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise InputError(
            f"{source_name}: column {some([series.name])} must hold one number, text or time per row, all of one "
            f"kind, not {_kinds(series)}; convert it or leave it out"
        ) from None
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def _kinds(series: Any) -> str:
    """The types of the values in ``series``, for a message."""
    try:
        names = {type(value).__name__ for value in series.to_list()}
    except Exception:  # the message is still useful with the library's own name of the type
        return str(series.dtype)
    return ", ".join(sorted(names)[:5])
