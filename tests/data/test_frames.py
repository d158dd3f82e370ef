"""Tables from DataFrames: pandas, polars and Arrow, and what is said of frames that are no tables."""

from __future__ import annotations

import datetime as dt
import decimal
import sys
from typing import Any

import narwhals
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from glassgrad.common.errors import InputError
from glassgrad.data.frames import as_table
from glassgrad.data.table import Column, Table

COLUMNS = {"n": [1, 2, 3], "x": [0.5, None, 2.0], "s": ["a", None, "?"], "b": [True, False, True]}


def table_of(frame: Any) -> Table:
    table = as_table(frame)
    assert table is not None
    assert table.source_name == "the DataFrame"
    return table


def only(frame: Any) -> Column:
    (column,) = table_of(frame).columns
    return column


def refusal(frame: Any) -> str:
    with pytest.raises(InputError) as caught:
        as_table(frame, "the frame")
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith("the frame: ")
    return message.removeprefix("the frame: ")


@pytest.mark.parametrize(
    "make",
    [
        pd.DataFrame,
        lambda columns: pd.DataFrame(columns, index=["p", "q", "r"]).convert_dtypes(),
        lambda columns: pd.DataFrame(columns).convert_dtypes(dtype_backend="pyarrow"),
        pl.DataFrame,
        pl.LazyFrame,
        pa.table,
        lambda columns: narwhals.from_native(pl.DataFrame(columns)),
    ],
)
def test_every_library_gives_the_same_table(make: Any) -> None:
    table = table_of(make(COLUMNS))
    assert table.names == ("n", "x", "s", "b")
    assert [str(column.values.dtype) for column in table.columns] == ["int64", "float64", "object", "bool"]
    n, x, s, b = table.columns
    assert n.values.tolist() == [1, 2, 3]
    assert x.values[[0, 2]].tolist() == [0.5, 2.0]
    assert np.isnan(x.values[1])
    assert s.values.tolist() == ["a", "", ""]
    assert b.values.tolist() == [True, False, True]
    missing = [column.missing.tolist() for column in table.columns]
    none = [False] * 3
    assert missing == [none, [False, True, False], [False, True, True], none]
    assert table.where(2) == "row 2 (rows count from 0)"


@pytest.mark.parametrize(
    "other", [None, "adult.csv", 3, [1, 2], {"a": [1]}, np.zeros((2, 2)), pd.Series([1]), pl.Series([1])]
)
def test_other_objects_are_not_frames(other: Any) -> None:
    assert as_table(other) is None


def test_a_table_is_returned_unchanged() -> None:
    table = table_of(pl.DataFrame(COLUMNS))
    assert as_table(table) is table


def test_pandas_columns() -> None:
    def column(values: Any) -> tuple[str, list[Any], list[bool]]:
        found = only(pd.DataFrame({"c": values}, index=["p", "q"]))
        values = [None if value != value else value for value in found.values.tolist()]
        return str(found.values.dtype), values, found.missing.tolist()

    second = [False, True]
    noon = pd.to_datetime(["2020-06-01 12:00", None])
    assert column(pd.Categorical(["k", None])) == ("object", ["k", ""], second)
    assert column(pd.Categorical([7, None])) == ("int64", [7, 0], second)
    assert column(pd.array([1, None], dtype="Int8")) == ("int64", [1, 0], second)
    assert column(pd.array([True, None], dtype="boolean")) == ("bool", [True, False], second)
    assert column(pd.Series([True, None], dtype=object, index=["p", "q"]))[0] == "bool"
    assert column(noon) == ("datetime64[us]", [dt.datetime(2020, 6, 1, 12), None], second)
    zoned = noon.tz_localize("Europe/Berlin")
    assert column(zoned) == ("datetime64[us]", [dt.datetime(2020, 6, 1, 10), None], second)
    assert column([dt.date(2020, 1, 2), None])[1] == [dt.datetime(2020, 1, 2), None]
    assert column(pd.to_timedelta(["1h", None])) == ("float64", [3600.0, None], second)
    assert column([decimal.Decimal("1.5"), None]) == ("float64", [1.5, None], second)
    assert column(pd.arrays.SparseArray([0.0, 1.0])) == ("float64", [0.0, 1.0], [False, False])
    assert column(pd.array([2**64 - 1, 0], dtype="UInt64"))[1] == [2.0**64, 0.0]
    assert column([None, None]) == ("float64", [None, None], [True, True])


def test_polars_columns() -> None:
    schema = {"c": pl.Categorical, "e": pl.Enum(["a"]), "i": pl.Int128, "t": pl.Time, "d": pl.Decimal(5, 2)}
    row = {"c": ["a"], "e": ["a"], "i": [2**100], "t": [dt.time(1)], "d": [decimal.Decimal("1.25")]}
    table = table_of(pl.DataFrame(row, schema=schema))
    assert [column.values[0] for column in table.columns] == ["a", "a", 2.0**100, 3600.0, 1.25]


def test_names_become_text_and_the_index_is_ignored() -> None:
    frame = pd.DataFrame([[1, 2], [3, 4]], index=pd.Index([7, 7], name="id"))
    assert table_of(frame).names == ("0", "1")
    pairs = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])
    assert table_of(pd.DataFrame([[1, 2]], columns=pairs)).names == ("('a', 'x')", "('a', 'y')")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"n": [1, 2], "m": [1, "a"]}), "column 'm' must hold one number, text or time per row"),
        (pd.DataFrame({"m": [1, "a"]}), "not int, str; convert it or leave it out"),
        (pd.DataFrame({"m": [1j, 2]}), "column 'm' must hold one number, text or time per row"),
        (pd.DataFrame({"m": [2**70, 2]}), "column 'm' must hold"),
        (pd.DataFrame({"m": [object(), None]}), "column 'm' must hold"),
        (pd.DataFrame({"m": pd.Series(["\ud800"], dtype=object)}), "column 'm' must hold"),
        (pd.DataFrame({"m": [{"a": 1}, {}]}), "column 'm' holds values of type struct<a: int64>"),
        (pd.DataFrame({"m": [[1], []]}), "column 'm' holds values of type list<item: int64>"),
        (pd.DataFrame({"m": [b"\xff", b"a"]}), "column 'm' holds bytes that are not text"),
        (pd.DataFrame({"m": pd.period_range("2020", periods=2, freq="D")}), "holds values of type extension"),
        (pd.DataFrame({"m": [1.0, np.inf]}), "column 'm' has Inf in row 1 (rows count from 0)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "has columns with the same name ('a' 2 times)"),
        (pd.DataFrame([[1, 2]], columns=[0, "0"]), "columns 1 and 2 are both called '0'"),
        (pd.DataFrame([[1, 2]], columns=["a", " "]), "column 2 (of 2) has no name"),
        (pd.DataFrame(), "has no columns"),
        (pd.DataFrame(index=[1, 2]), "has no columns"),
        (pd.DataFrame({"a": []}), "has column names but no rows"),
        (pl.DataFrame(), "has no columns"),
        (pl.DataFrame({"a": [], "b": []}), "has column names but no rows"),
        (pl.DataFrame({"l": [[1], [2]]}), "column 'l' holds values of type large_list"),
        (pl.DataFrame({"o": [object()]}), "column 'o' must hold one number, text or time per row"),
        (pl.DataFrame({"x": [float("-inf")]}), "column 'x' has Inf in row 0"),
        (pa.table([[1], [2]], names=["a", "a"]), "has columns with the same name ('a' 2 times)"),
    ],
)
def test_invalid_frames(frame: Any, message: str) -> None:
    assert message in refusal(frame)


def test_without_narwhals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(InputError, match=r"needs narwhals and pyarrow: pip install 'glassgrad\[tables\]'$"):
        as_table(pd.DataFrame({"a": [1]}))
    assert as_table(np.zeros((2, 2))) is None
