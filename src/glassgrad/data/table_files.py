"""Reading of tables from files: CSV and TSV, plain or compressed, and Parquet."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from glassgrad.common.errors import InputError
from glassgrad.data.arrow_columns import check_names, load_arrow, to_table, unfit
from glassgrad.data.reading import unreadable
from glassgrad.data.table import Table

KINDS = "a .csv, .tsv or .parquet file (text also as .gz, .bz2, .zst or .lz4)"

_TEXT = (".csv", ".tsv")
_COMPRESSION = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
_UNNAMED_INDEX = "__index_level_"  # the name that pandas gives to an unnamed index in a Parquet file


def is_table_file(path: str | Path) -> bool:
    """Whether ``path`` has a suffix that ``read_table`` reads; the file need not exist."""
    return _kind(Path(path)) is not None


def read_table(path: str | Path) -> Table:
    """The table in the file ``path``: .csv, .tsv or .parquet. Text files may be compressed: .gz, .bz2, .zst or .lz4.

    See ``glassgrad.data.delimited.read_delimited`` for the reading of text, ``glassgrad.data.table.Column`` for the
    types of columns, and ``glassgrad.data.arrow_columns.MISSING_WORDS`` for the words that mean "no value". Raises
    InputError if pyarrow is not installed, and if the file cannot be read, changes while it is read, or does not hold
    a table with at least one row and one value per cell.
    """
    path = Path(path)
    kind = _kind(path)
    if kind is None:
        raise InputError(f"{path}: does not have the suffix of a table; give {KINDS}")
    load_arrow()
    suffix, compression = kind
    try:
        content = _read_unchanged(path)
        if suffix == ".parquet":
            return _read_parquet(content, str(path))
        if compression is not None:
            content = _decompress(content, compression, path)
        from glassgrad.data.delimited import DELIMITERS, read_delimited

        return read_delimited(content, str(path), DELIMITERS if suffix == ".csv" else ("\t",))
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory; give fewer rows or columns") from None


def _kind(path: Path) -> tuple[str, str | None] | None:
    """The format suffix of ``path`` and its compression (None if uncompressed); None for other files."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and (suffixes[-1] in _TEXT or suffixes[-1] == ".parquet"):
        return suffixes[-1], None
    if len(suffixes) == 2 and suffixes[0] in _TEXT and suffixes[1] in _COMPRESSION:
        return suffixes[0], _COMPRESSION[suffixes[1]]
    return None


def _read_unchanged(path: Path) -> bytes:
    """The bytes of ``path``. Raises InputError if the file has changed or was replaced during reading."""
    try:
        before = path.stat()
        if stat.S_ISDIR(before.st_mode):
            raise IsADirectoryError
        is_regular = stat.S_ISREG(before.st_mode)
        content = path.read_bytes() if is_regular else b""  # reading a pipe could block forever
        after = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError:  # a NUL character in the name
        raise unreadable(path, FileNotFoundError()) from None
    if not is_regular:
        raise InputError(f"{path}: is not a regular file; write the table to a file first")
    if _identity(before) != _identity(after) or len(content) != after.st_size:
        raise InputError(f"{path}: changed while it was being read; try again when the file is complete")
    if not content:
        raise InputError(f"{path}: is empty; download or write the file again")
    return content


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _decompress(content: bytes, compression: str, path: Path) -> bytes:
    pa = load_arrow()
    try:
        text: bytes = pa.CompressedInputStream(pa.BufferReader(content), compression).read()
    except OSError:
        raise InputError(
            f"{path}: is damaged, cut short or not compressed with {compression}; download or write the file again"
        ) from None
    if not text:
        raise InputError(f"{path}: contains an empty file; download or write the file again")
    return text


def _read_parquet(content: bytes, source_name: str) -> Table:
    pa, parquet = load_arrow(), load_arrow("pyarrow.parquet")
    if not content.startswith(b"PAR1"):
        raise InputError(f"{source_name}: is not a Parquet file; correct its suffix, or write it again")
    try:
        # With pre_buffer, pyarrow would allocate the sizes that a damaged file declares.
        source = pa.BufferReader(content)
        with parquet.ParquetFile(source, pre_buffer=False, page_checksum_verification=True) as file:
            check_names(source_name, file.schema_arrow.names)
            for field in file.schema_arrow:
                if pa.types.is_nested(field.type):
                    raise unfit(source_name, field.name, field.type)
            arrow = file.read()
        arrow.validate(full=True)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, RuntimeError, OverflowError):
        raise InputError(
            f"{source_name}: is damaged or cut short; download or write the file again"
        ) from None
    columns = [
        (name, column)
        for name, column in zip(arrow.column_names, arrow.columns, strict=True)
        if not name.startswith(_UNNAMED_INDEX)
    ]
    return to_table(source_name, columns, arrow.num_rows, None)
