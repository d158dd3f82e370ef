"""Random bytes, damaged files and random tables: the reader refuses in one line, or reads what was written."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glassgrad.common.errors import InputError
from glassgrad.data.arrow_columns import MISSING_WORDS
from glassgrad.data.delimited import DELIMITERS, read_delimited, records
from glassgrad.data.table import Table
from glassgrad.data.table_files import read_table

TEXT = (
    b"age,job,paid,since\r\n"
    b'30,"a ""b"", c",1.5,2020-01-01\r\n'
    b'?,"x\ny",nan,2020-01-02\r\n'
    b"50,caf\xc3\xa9,,2020-01-03\r\n"
)


def arrow_table() -> pa.Table:
    return pa.table(
        {
            "age": [1, 2, None, 4] * 10,
            "job": ["x", "y,z", None, 'q"u\n'] * 10,
            "paid": [1.5, None, 2.0, 3.0] * 10,
            "kind": pa.array(["k", "l"] * 20).dictionary_encode(),
            "since": [dt.date(2020, 1, 1)] * 40,
            "flag": [True, False, None, True] * 10,
        }
    )


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, **options)
    return sink.getvalue()


GOOD = {
    "t.csv": TEXT,
    "t.tsv": TEXT.replace(b",", b"\t"),
    "t.csv.gz": gzip.compress(TEXT, mtime=0),
    "t.parquet": parquet_bytes(arrow_table()),
    "plain.parquet": parquet_bytes(arrow_table(), compression="none", use_dictionary=False),
    "sums.parquet": parquet_bytes(arrow_table(), compression="zstd", write_page_checksum=True),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def check_refusal(message: str, place: str) -> None:
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{place}: ")
    assert "cannot be read as a table" not in message  # pyarrow refused, and we know no reason


def read_or_refuse(folder: Path, content: bytes, name: str) -> Table | None:
    path = folder / name
    path.write_bytes(content)
    try:
        table = read_table(path)
    except InputError as error:
        check_refusal(str(error), str(path))
        return None
    rows, columns = table.shape
    assert rows > 0
    assert columns == len(set(table.names)) > 0
    for column in table.columns:
        assert len(column.values) == len(column.missing) == rows
    return table


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """The name of a good file, and its bytes with some changed, dropped, put in or repeated."""
    name = draw(st.sampled_from(sorted(GOOD)))
    content = bytearray(GOOD[name])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        stop = at + draw(st.sampled_from([0, 1, 4, 30]))
        piece = draw(
            st.sampled_from([b"", b'"', b",", b"\n", b"\r", b"\0", b"\xff" * 4, b"inf", b"-", b"9" * 40])
        )
        content[at:stop] = draw(st.sampled_from([piece, bytes(content[at:stop]) * 2])) or draw(
            st.binary(max_size=4)
        )
    return name, bytes(content)


@settings(max_examples=300)
@given(damaged())
def test_damaged_files_are_read_or_refused_in_one_line(folder: Path, case: tuple[str, bytes]) -> None:
    name, content = case
    read_or_refuse(folder, content, name)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_whole_files_are_read_and_cut_ones_refused(folder: Path, name: str) -> None:
    content = GOOD[name]
    assert read_or_refuse(folder, content, name) is not None
    if name != "t.csv" and name != "t.tsv":  # text that ends early is still text
        for end in range(1, len(content), max(1, len(content) // 40)):
            assert read_or_refuse(folder, content[:end], name) is None


@given(st.binary(max_size=200), st.sampled_from(sorted(GOOD)))
def test_random_bytes_are_read_or_refused_in_one_line(folder: Path, content: bytes, name: str) -> None:
    read_or_refuse(folder, content, name)


@settings(max_examples=300)
@given(st.text(st.sampled_from('ab1.,;\t|"\n\r é'), max_size=60))
@example('a,b\n1,"x\n2,3\n')
@example('a,b\n1,"')
@example('"a\n",b\r\r\n"1""",2\n')
def test_rows_are_those_of_the_line_counter(text: str) -> None:
    """pyarrow and ``records`` agree on what a row is, so the lines in messages are right."""
    try:
        table = read_delimited(text.encode(), "t.csv")
    except InputError as error:
        check_refusal(str(error), "t.csv")
        return
    agreeing = []
    for delimiter in DELIMITERS:
        header, *rows = records(text.encode(), delimiter)
        if len(rows) == len(table) and {row.cells for row in (header, *rows)} == {len(table.columns)}:
            agreeing.append([row.line for row in rows])
    assert agreeing
    if table.first_line is not None:
        assert list(range(table.first_line, table.first_line + len(table))) in agreeing


# What was written is read back. Text begins with a letter so that no column of text looks like numbers.

TEXTS = st.text(
    st.one_of(st.sampled_from(' ,;|\t"\n\r?'), st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))),
    max_size=8,
).map("t".__add__)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
STAMPS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": FLOATS,
    "bool": st.booleans(),
    "datetime64[us]": STAMPS,
    "object": TEXTS,
}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, tuple[str, list[Any]]]:
    """Columns by name: their kind and their values, None where missing, at least one of them there."""
    rows = draw(st.integers(1, 6))
    names = draw(st.lists(TEXTS, min_size=1, max_size=4, unique=True))
    columns = {}
    for name in names:
        kind = draw(st.sampled_from(sorted(KINDS)))
        values = draw(st.lists(st.none() | KINDS[kind], min_size=rows, max_size=rows))
        if all(value is None for value in values):
            values[0] = draw(KINDS[kind])
        columns[name] = kind, values
    return columns


def assert_equal(table: Table, columns: dict[str, tuple[str, list[Any]]]) -> None:
    assert table.names == tuple(columns)
    for column, (kind, values) in zip(table.columns, columns.values(), strict=True):
        assert str(column.values.dtype) == kind
        assert column.missing.tolist() == [value is None for value in values]
        for found, value in zip(column.values.tolist(), values, strict=True):
            if value is not None:
                assert found == value
                if kind == "float64":
                    assert math.copysign(1.0, found) == math.copysign(1.0, value)


def written(value: Any, missing: str) -> str:
    if value is None:
        return missing
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "microseconds")
    return repr(value) if isinstance(value, float) else str(value)


def quoted(text: str, delimiter: str, always: bool) -> str:
    if always or any(mark in text for mark in (delimiter, '"', "\n", "\r")):
        return '"' + text.replace('"', '""') + '"'
    return text


@settings(max_examples=200)
@given(
    tables(),
    st.sampled_from(DELIMITERS),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from([word for word in MISSING_WORDS if word]),
    st.booleans(),
)
def test_tables_written_as_text_are_read_back(
    columns: dict[str, tuple[str, list[Any]]],
    delimiter: str,
    line_end: str,
    always: bool,
    missing: str,
    mark: bool,
) -> None:
    rows = zip(*(values for _, values in columns.values()), strict=True)
    cells = [list(columns), *([written(value, missing) for value in row] for row in rows)]
    lines = [delimiter.join(quoted(cell, delimiter, always) for cell in row) + line_end for row in cells]
    content = "".join(lines).encode("utf-8-sig" if mark else "utf-8")
    table = read_delimited(content, "t.csv", (delimiter,))
    assert_equal(table, columns)
    if not any("\n" in line or "\r" in line for line in (line.removesuffix(line_end) for line in lines)):
        assert table.where(len(table) - 1) == f"line {len(lines)}"


@settings(max_examples=100)
@given(tables(), st.sampled_from(["none", "snappy", "zstd"]))
def test_tables_written_as_parquet_are_read_back(
    folder: Path, columns: dict[str, tuple[str, list[Any]]], compression: str
) -> None:
    types = {"int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "object": pa.string()}
    arrays = {
        name: pa.array(values, types.get(kind, pa.timestamp("us")))
        for name, (kind, values) in columns.items()
    }
    path = folder / "written.parquet"
    pyarrow.parquet.write_table(pa.table(arrays), path, compression=compression)
    assert_equal(read_table(path), columns)
