"""DataFrames of any library that narwhals knows, as tables; narwhals is loaded only here."""

from __future__ import annotations

from typing import Any

from glassgrad.common.errors import InputError
from glassgrad.data.arrow_columns import load_arrow, to_table
from glassgrad.data.checks import some
from glassgrad.data.table import Table

_MARKS = ("columns", "__narwhals_dataframe__", "__narwhals_lazyframe__")


def as_table(frame: Any, place: str = "the DataFrame") -> Table | None:
    """The DataFrame ``frame`` (pandas, polars, Arrow, or another that narwhals takes) as a table, or None.

    A lazy frame is collected; an index is ignored; names that are not text become text. None means that
    ``frame`` is something else; a Table is returned as it is. ``glassgrad.data.table.Column`` says which
    types there are. Raises InputError, one line that begins with ``place``, where narwhals or pyarrow is not
    installed, for no rows, no columns, columns without a name or with the same one, columns whose values are
    not of one kind, and Inf.
    """
    if isinstance(frame, Table):
        return frame
    # Asked of the class: of a lazy frame, the attribute itself may start a computation.
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
        known = nw.from_native(frame, pass_through=True)
        if isinstance(known, nw.LazyFrame):
            known = known.collect()
        if not isinstance(known, nw.DataFrame):
            return None
        series = list(known.iter_columns())
    except DuplicateError as error:
        names = " ".join(str(error).partition("got:")[2].replace("\n- ", " ").split())
        raise InputError(f"{place}: has columns with the same name ({names[:200]}); rename them") from None
    except NarwhalsError as error:
        raise InputError(f"{place}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    columns = [(str(one.name), _arrow(place, one, nw)) for one in series]
    return to_table(place, columns, len(known), None)


def _arrow(place: str, series: Any, nw: Any) -> Any:
    """The narwhals ``series`` as a pyarrow ChunkedArray; raises InputError where Arrow has no such column."""
    pa = load_arrow()
    try:
        if series.dtype in (nw.Int128, nw.UInt128):
            series = series.cast(nw.Float64)
        native = series.to_native()
        if series.implementation.is_pandas() and hasattr(native, "sparse"):
            series = nw.from_native(native.sparse.to_dense(), series_only=True)
        if series.dtype == nw.Object and series.implementation.is_polars():
            raise TypeError  # polars would hand over the addresses of the objects
        found = series.to_arrow()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise InputError(
            f"{place}: column {some([series.name])} holds things of different kinds, or of a kind that is not "
            f"one number, text or time a row ({_kinds(series)}); convert it or leave it out"
        ) from None
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def _kinds(series: Any) -> str:
    """The types of the values of ``series`` for a message."""
    try:
        names = {type(value).__name__ for value in series.to_list()}
    except Exception:  # only a message is being made: what the library calls the column will do
        return str(series.dtype)
    return ", ".join(sorted(names)[:5])
