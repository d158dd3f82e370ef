"""Tables from files: what is read, with which types, and what is said of files that are no tables.

This is one file because all tests share the files that every reader has to read alike.
"""

from __future__ import annotations

import bz2
import datetime as dt
import decimal
import gzip
import os
import sys
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from glassgrad.common.errors import InputError
from glassgrad.data.arrow_columns import MISSING_WORDS
from glassgrad.data.delimited import records
from glassgrad.data.table import Column, Table
from glassgrad.data.table_files import is_table_file, read_table


def read(folder: Path, content: bytes | str, name: str = "t.csv") -> Table:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path)


def refusal(folder: Path, content: bytes | str, name: str = "t.csv") -> str:
    """The message for ``content``, without the path that it begins with."""
    with pytest.raises(InputError) as caught:
        read(folder, content, name)
    message = str(caught.value)
    start = f"{folder / name}: "
    assert message.startswith(start)
    assert len(message.splitlines()) == 1
    return message.removeprefix(start)


def parquet(folder: Path, columns: dict[str, object], **options: object) -> Table:
    path = folder / "t.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path, **options)
    return read_table(path)


def only(table: Table) -> Column:
    assert len(table.columns) == 1
    return table.columns[0]


# Tables.


def small() -> Table:
    ages = Column("Age", np.array([30.0, np.nan, 50.0]), np.array([False, True, False]))
    jobs = Column("job", np.array(["a", "b", ""], dtype=object), np.array([False, False, True]))
    return Table.of("people.csv", (ages, jobs), 3, first_line=2)


def test_a_table_selects_rows_and_remembers_their_lines() -> None:
    table = small()
    assert (len(table), table.shape, table.ndim, table.names) == (3, (3, 2), 2, ("Age", "job"))
    for rows in (np.array([2, 0]), [2, 0], np.array([True, False, True])):
        chosen = table[rows]
        assert sorted(chosen.numbers.tolist()) == [0, 2]
        assert chosen.where(int(np.argmax(chosen.numbers))) == "line 4"
        assert chosen.column("job").missing.sum() == 1
    assert table[1:][1:].where(0) == "line 4"
    assert len(table[[]]) == 0
    assert Table("p", table.columns, None, table.numbers)[2:].where(0) == "row 2 (rows count from 0)"


def test_a_table_names_the_nearest_column() -> None:
    table = small()
    assert table.without("job").names == ("Age",)
    with pytest.raises(InputError, match=r"people.csv: has no column 'age'; did you mean 'Age'\? .*'job'\)"):
        table.column("age")
    with pytest.raises(InputError, match="has no column 'xyz' "):
        table.without("xyz")


# What text is read as.


def test_names_of_table_files() -> None:
    for name in (
        "a.csv",
        "A.CSV",
        "a.tsv",
        "a.csv.gz",
        "a.b.TSV.GZ",
        "a.csv.zst",
        "a.parquet",
        "x/a.csv.bz2",
    ):
        assert is_table_file(name), name
    for name in ("a", "csv", ".csv", "a.gz", "a.npz", "a.parquet.gz", "a.csv.zip", "a.csv.npz", ""):
        assert not is_table_file(Path(name)), name


def test_types_of_text_columns(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        "i,f,b,s,d,t,z,h,none\n"
        "1,1.5,true,x,2020-01-02,2020-01-02 03:04:05.25,2020-01-02T00:00:00+02:00,12:30,\n"
        '-7,2,False,"a ""b"", c",1969-12-31,2020-01-02,2020-01-02T00:00:00Z,00:00:01,\n',
    )
    kinds = {column.name: str(column.values.dtype) for column in table.columns}
    assert kinds == {
        **{"i": "int64", "f": "float64", "b": "bool", "s": "object", "h": "float64", "none": "float64"},
        **dict.fromkeys(("d", "t", "z"), "datetime64[us]"),
    }
    assert table.column("i").values.tolist() == [1, -7]
    assert table.column("s").values.tolist() == ["x", 'a "b", c']
    assert table.column("t").values[0] == np.datetime64("2020-01-02T03:04:05.250000")
    assert table.column("z").values[0] == np.datetime64("2020-01-01T22:00:00")
    assert table.column("h").values.tolist() == [45000.0, 1.0]
    assert table.column("none").missing.all()
    assert not any(column.missing.any() for column in table.columns[:-1])
    assert (table.first_line, table.where(1)) == (2, "line 3")


@pytest.mark.parametrize("word", MISSING_WORDS)
def test_missing_values(tmp_path: Path, word: str) -> None:
    rows = f'1,0.5,true,x,2020-01-01\n{word},{word},"{word}",{word},{word}\n {word}, {word},true, {word},\n'
    table = read(tmp_path, "i,f,b,s,d\n" + rows)
    kinds = [str(column.values.dtype) for column in table.columns]
    assert kinds == ["int64", "float64", "bool", "object", "datetime64[us]"]
    assert [column.missing.tolist() for column in table.columns] == [
        [False, True, True],
        [False, True, True],
        [False, True, False],
        [False, True, True],
        [False, True, True],
    ]
    i, f, b, s, d = (column.values for column in table.columns)
    assert (i.tolist(), b.tolist(), s.tolist()) == ([1, 0, 0], [True, False, True], ["x", "", ""])
    assert np.isnan(f[1:]).all()
    assert np.isnat(d[1:]).all()


def test_none_is_a_value(tmp_path: Path) -> None:
    column = read(tmp_path, "a,b\nNone,1\nmild,2\n").column("a")
    assert column.values.tolist() == ["None", "mild"]
    assert not column.missing.any()


def test_a_column_with_late_text_is_text(tmp_path: Path) -> None:
    rows = [f"{row},{row},{row}" for row in range(100_000)]
    table = read(tmp_path, "a,b,c\n" + "\n".join([*rows, "1,2.5,oops"]) + "\n")
    assert [str(column.values.dtype) for column in table.columns] == ["int64", "float64", "object"]
    assert table.column("c").values[[0, 99_999, 100_000]].tolist() == ["0", "99999", "oops"]
    assert table.where(100_000) == "line 100002"


def test_integers_beyond_64_bits_become_floats(tmp_path: Path) -> None:
    assert only(read(tmp_path, "a\n18446744073709551615\n1\n")).values.tolist() == [2.0**64, 1.0]
    assert only(read(tmp_path, "a\n9223372036854775807\n")).values.tolist() == [2**63 - 1]


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2,y\n",
        "a,b\r\n1,x\r\n2,y\r\n",
        "a,b\r1,x\r2,y",
        "\ufeffa,b\n1,x\n2,y",
        "a;b\n1;x\n2;y\n",
        "a\tb\n1\tx\n2\ty\n",
        "a|b\n1|x\n2|y\n",
        '"a","b"\n"1","x"\n"2","y"\n',
        "\n\na,b\n1,x\n\n\n2,y\n\n\n",
    ],
)
def test_dialects(tmp_path: Path, content: str) -> None:
    table = read(tmp_path, content)
    assert table.names == ("a", "b")
    assert table.column("a").values.tolist() == [1, 2]
    assert table.column("b").values.tolist() == ["x", "y"]
    # With blank lines among the rows, nobody knows the line of a row without counting.
    assert table.where(1) == ("row 1 (rows count from 0)" if "\n\n2" in content else "line 3")


def test_blank_lines_above_the_header_count_as_lines(tmp_path: Path) -> None:
    assert read(tmp_path, "\r\n\r\na,b\r\n1,2\r\n\r\n").where(0) == "line 4"


def test_semicolons_with_decimal_commas(tmp_path: Path) -> None:
    table = read(tmp_path, "a;b;c\n1,5;x, y;1\n-0,25;z;2,5e1\n")
    assert table.column("a").values.tolist() == [1.5, -0.25]
    assert table.column("b").values.tolist() == ["x, y", "z"]
    assert table.column("c").values.tolist() == [1.0, 25.0]
    assert read(tmp_path, "a;b\n1.5;1,5\n").column("a").values.tolist() == [1.5]
    # Thousands are not decimals: left as text rather than divided by a thousand.
    assert read(tmp_path, "a;b\n1,500;1\n").column("a").values.tolist() == ["1,500"]


def test_names_that_other_files_begin_with_are_names(tmp_path: Path) -> None:
    assert read(tmp_path, "PAR1,%PDF-\n1,2\n").names == ("PAR1", "%PDF-")


def test_a_comma_table_with_semicolons_in_text(tmp_path: Path) -> None:
    table = read(tmp_path, 'a;x,b\n"1;2;3",4\n"x;y",5\n')
    assert table.names == ("a;x", "b")


def test_tab_separated_tables_keep_their_commas(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b\n1,2\n", "t.tsv").names == ("a,b",)
    assert read(tmp_path, "a,b\tc\n1,2\t3\n", "t.tsv").names == ("a,b", "c")


def test_quoted_newlines(tmp_path: Path) -> None:
    table = read(tmp_path, 'a,b\n1,"x\ny"\n2,"z\r\n\r\n"\n3,w\n')
    assert table.column("b").values.tolist() == ["x\ny", "z\r\n\r\n", "w"]
    assert table.where(2) == "row 2 (rows count from 0)"


def test_rows_longer_than_a_block(tmp_path: Path) -> None:
    text = "x" * 3_000_000
    assert read(tmp_path, f'a,b\n1,{text}\n2,"{text}\n{text}"\n').column("b").values[0] == text
    assert read(tmp_path, f"a,b\n{text},1\n").shape == (1, 2)


@pytest.mark.parametrize("codec", ["gzip", "bz2", "zstd", "lz4"])
def test_compressed_text(tmp_path: Path, codec: str) -> None:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(b"a,b\n1,2\n" + b"3,4\n" * 1000)
    content = sink.getvalue().to_pybytes()
    name = "t.csv." + {"gzip": "gz", "zstd": "zst"}.get(codec, codec)
    assert read(tmp_path, content, name).shape == (1001, 2)
    for cut in (content[:-1], content[: len(content) // 2], content[:3], b"a,b\n1,2\n"):
        assert f"is damaged, cut short or not compressed with {codec}" in refusal(tmp_path, cut, name)


def test_gzip_in_several_members(tmp_path: Path) -> None:
    content = gzip.compress(b"a,b\n1,2\n", mtime=0) + gzip.compress(b"3,4\n")
    assert read(tmp_path, content, "t.csv.gz").shape == (2, 2)


@pytest.mark.parametrize("name", ["adult_income.csv.gz", "california_housing.csv.gz"])
def test_real_tables(shared_data: Path, name: str) -> None:
    table = read_table(shared_data / name)
    if name.startswith("adult"):
        assert table.shape == (32561, 14)
        assert set(table.column("income >50K").values.tolist()) == {0, 1}
        assert table.column("workclass").missing.sum() == 1836
    else:
        assert table.shape == (20640, 10)
        assert table.column("total_bedrooms").missing.sum() == 207
        assert len(set(table.column("ocean_proximity").values.tolist())) == 5


# What is said of text that is no table.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\r\n\n", "only blank lines"),
        ("\ufeff", "only blank lines"),
        ("a,b\n", "has column names but no rows"),
        ("a,b", "has column names but no rows"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cell but the header (line 1) has 2"),
        ("\na,b\n\n1,2\n3,4,5\n", "line 5 has 3 cells but the header (line 2) has 2"),
        ('a,b\n1,"x\ny\n"\n1,2,3\n', "line 5 has 3 cells but the header (line 1) has 2"),
        ("a;b\n1,5;2\n3;4;5\n", "quotes around text with semicolons"),
        ("a,b,a\n1,2,3\n", "columns 1 and 3 are both called 'a'; rename one"),
        ("7,5,7\n1,2,3\n", "both called '7'; rename one (if this is a row of values"),
        (",b\n1,2\n", "column 1 (of 2) has no name; name it, or leave it out (for the index of a pandas"),
        ("a, \n1,2\n", "column 2 (of 2) has no name"),
        ("a,b\n1,2\n3,inf\n", "column 'b' has Inf in line 3"),
        ("a,b\n1,2\n3,-Infinity\n", "column 'b' has Inf in line 3"),
        ("a,b\n1,2\n3,1e999\n", "column 'b' has Inf in line 3"),
        ('a,b\n"1\n",2\n3,inf\n', "column 'b' has Inf in row 1 (rows count from 0)"),
        ('a,b\n1,2\n3,"x\n4,5\n', "line 3 has a cell with an opening quote"),
        ('a,b\n1,2\n3,"x', "line 3 has a cell with an opening quote"),
        ('a,b\n"1\n2",3\n4,5\n6,"7\n8,9\n', "line 5 has a cell with an opening quote"),
        ('a,"b\n1,2\n3,4\n', "line 1 has a cell with an opening quote"),
        (
            "a,b\n1,caf\u00e9\n".encode("latin-1"),
            "line 2 is not UTF-8 (byte 0xE9); if the file is in Latin-1",
        ),
        ("a,b\n1,2\n".encode("utf-16"), "is in UTF-16; convert it: iconv"),
        ("a,b\n1,2\n".encode("utf-16-le"), "is a binary file"),
        (b"a,b\n1,\0\n", "is a binary file"),
        (bytes(range(256)) * 20, "is a binary file"),
        (bytes(range(1, 32)) * 20, "is a binary file"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "is compressed with gzip; add .gz"),
        (b"PK\x03\x04rest", "is a zip archive or an Excel workbook"),
        (b"PAR1\0rest", "is a Parquet file; name it .parquet"),
        (b"\n<!DOCTYPE html><title>404</title>", "is a web page"),
    ],
)
def test_invalid_text_tables(tmp_path: Path, content: bytes | str, message: str) -> None:
    assert message in refusal(tmp_path, content)


def test_a_ragged_row_far_down_is_named_by_its_line(tmp_path: Path) -> None:
    content = 'a,b\n1,"x\ny"\n' + "1,2\n" * 300_000 + "1,2,3\n"
    assert "line 300004 has 3 cells" in refusal(tmp_path, content)


def test_bytes_that_are_not_utf8_far_down_are_named_by_their_line(tmp_path: Path) -> None:
    content = "a,b\n" + "1,\u00e4\n" * 400_000
    assert "line 400002 is not UTF-8 (byte 0xFF)" in refusal(tmp_path, content.encode() + b"\xff,2\n")


def test_an_empty_compressed_file(tmp_path: Path) -> None:
    assert "contains an empty file" in refusal(tmp_path, gzip.compress(b"", mtime=0), "t.csv.gz")
    assert "is empty" in refusal(tmp_path, b"", "t.csv.gz")
    assert "not compressed with gzip" in refusal(tmp_path, bz2.compress(b"a,b\n1,2\n"), "t.csv.gz")


def test_long_names_are_shortened(tmp_path: Path) -> None:
    name = "n" * 10_000
    assert len(refusal(tmp_path, f"{name},{name}\n1,2\n")) < 200


def test_the_rows_of_a_text_table_one_by_one() -> None:
    content = b'\na,"b""c"\r\n\r"1,\n",2\r3,4"5"\n\n,\n"x"y,"'
    found = [(row.line, row.cells, row.text, row.open_line) for row in records(content, ",")]
    assert found == [
        (2, 2, b'a,"b""c"', None),
        (4, 2, b'"1,\n",2', None),
        (6, 2, b'3,4"5"', None),
        (8, 2, b",", None),
        (9, 2, b'"x"y,"', 9),
    ]


# Parquet.


def test_types_of_parquet_columns(tmp_path: Path) -> None:
    when = dt.datetime(2020, 1, 2, 3, 4, 5)
    zoned = pa.array([when, None], pa.timestamp("ns", "Europe/Berlin"))
    table = parquet(
        tmp_path,
        {
            "int8": pa.array([1, None], pa.int8()),
            "uint64": pa.array([1, 2**63 - 1], pa.uint64()),
            "huge": pa.array([2**64 - 1, None], pa.uint64()),
            "half": pa.array(np.array([0.5, 2.0], np.float16)),
            "float": pa.array([0.5, None], pa.float32()),
            "nan": pa.array([0.5, float("nan")]),
            "decimal": pa.array([decimal.Decimal("1.25"), None]),
            "bool": pa.array([True, None]),
            "date": pa.array([dt.date(2020, 1, 2), None]),
            "zoned": zoned,
            "time": pa.array([dt.time(0, 1), None]),
            "duration": pa.array([dt.timedelta(milliseconds=1500), None]),
            "text": pa.array(["NA", " x "], pa.large_string()),
            "bytes": pa.array([b"ab", b"cd"]),
            "category": pa.array(["k", None]).dictionary_encode(),
            "numbers": pa.array([7, None]).dictionary_encode(),
            "uuid": pa.array([uuid.UUID(int=1).bytes, None], pa.uuid()),
            "null": pa.nulls(2),
            "empty": pa.array([None, None], pa.int64()),
        },
    )
    expected: dict[str, tuple[str, list[object]]] = {
        "int8": ("int64", [1, 0]),
        "uint64": ("int64", [1, 2**63 - 1]),
        "huge": ("float64", [2.0**64, None]),
        "half": ("float64", [0.5, 2.0]),
        "float": ("float64", [0.5, None]),
        "nan": ("float64", [0.5, None]),
        "decimal": ("float64", [1.25, None]),
        "bool": ("bool", [True, False]),
        "date": ("datetime64[us]", [dt.datetime(2020, 1, 2), None]),
        "zoned": ("datetime64[us]", [when, None]),
        "time": ("float64", [60.0, None]),
        "duration": ("float64", [1.5, None]),
        "text": ("object", ["", " x "]),
        "bytes": ("object", ["ab", "cd"]),
        "category": ("object", ["k", ""]),
        "numbers": ("int64", [7, 0]),
        "uuid": ("object", [str(uuid.UUID(int=1)), ""]),
        "null": ("float64", [None, None]),
        "empty": ("float64", [None, None]),
    }
    assert table.names == tuple(expected)
    for column in table.columns:
        values = [None if value != value else value for value in column.values.tolist()]
        assert (str(column.values.dtype), values) == expected[column.name], column.name
    missing = {column.name: column.missing.tolist() for column in table.columns}
    assert missing.pop("null") == missing.pop("empty") == [True, True]
    assert missing.pop("text") == [True, False]
    for name in ("uint64", "half", "bytes"):
        assert missing.pop(name) == [False, False]
    assert set(map(tuple, missing.values())) == {(False, True)}
    assert table.where(1) == "row 1 (rows count from 0)"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [[1], [2]]}, "column 'a' holds values of type list<element: int64>, not one number"),
        ({"b": [1], "a": [{"x": 1}]}, "column 'a' holds values of type struct<x: int64>"),
        ({"a": [1.0, float("-inf")]}, "column 'a' has Inf in row 1 (rows count from 0)"),
        ({"a": [b"\xff\xfe"]}, "column 'a' holds bytes that are not text in UTF-8"),
        ({"a": pa.array([2**31 - 1], pa.date32())}, "column 'a' has dates outside the range"),
        ({"": [1]}, "column 1 (of 1) has no name"),
        ({}, "has no columns"),
        ({"a": pa.array([], pa.int64())}, "has column names but no rows"),
    ],
)
def test_invalid_parquet_tables(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parquet(tmp_path, columns)
    assert f"t.parquet: {message}" in str(caught.value)


def test_parquet_with_equal_names(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    with pytest.raises(InputError, match="columns 1 and 2 are both called 'a'"):
        read_table(path)


def test_the_unnamed_index_of_pandas_is_left_out(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2]}, index=["x", "y"])
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").names == ("a",)


def test_damaged_parquet(tmp_path: Path) -> None:
    path = tmp_path / "good.parquet"
    pyarrow.parquet.write_table(pa.table({"a": list(range(1000))}), path, write_page_checksum=True)
    content = path.read_bytes()
    assert read(tmp_path, content, "t.parquet").shape == (1000, 1)
    flipped = bytearray(content)
    flipped[len(content) // 4] ^= 1
    for broken in (content[:-1], content[:20], content[: len(content) // 2], bytes(flipped)):
        assert "is damaged or cut short" in refusal(tmp_path, broken, "t.parquet")
    assert "is not a Parquet file" in refusal(tmp_path, b"a,b\n1,2\n", "t.parquet")
    assert "is empty" in refusal(tmp_path, b"", "t.parquet")


# Files that cannot be read.


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="no such file or folder"):
        read_table("a\0b.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is a folder, but a file is needed"):
        read_table(tmp_path / "folder.csv")
    with pytest.raises(InputError, match=r"does not have the suffix of a table; give a \.csv"):
        read_table(tmp_path / "t.xlsx")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "no permission to read it" in refusal(tmp_path, "a,b\n1,2\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="is not a regular file"):
        read_table(tmp_path / "pipe.csv")


@pytest.mark.parametrize("change", ["longer", "replaced", "touched", "gone"])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    original = Path.read_bytes

    def read_and_change(path: Path) -> bytes:
        content = original(path)
        if change == "longer":
            path.write_bytes(content + b"3,4\n")
        elif change == "replaced":
            (tmp_path / "other").write_bytes(content)
            os.utime(tmp_path / "other", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
            (tmp_path / "other").replace(path)
        elif change == "touched":
            os.utime(path, ns=(0, 0))
        else:
            path.unlink()
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_change)
    message = refusal(tmp_path, "a,b\n1,2\n")
    assert ("no such file" if change == "gone" else "changed while it was being read") in message


def test_a_table_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc failed")

    monkeypatch.setattr(pyarrow.csv, "read_csv", refuse)
    assert "does not fit into memory" in refusal(tmp_path, "a,b\n1,2\n")


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        InputError, match=r"^reading tables needs pyarrow: pip install 'glassgrad\[tables\]'$"
    ):
        read_table(tmp_path / "t.csv")
