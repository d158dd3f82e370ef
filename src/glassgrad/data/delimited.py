"""Text tables: one row per line, values separated by commas, semicolons, tabs or bars, names in the first line.

Quotes follow RFC 4180: a cell that begins with ``"`` ends at the next single ``"`` and may contain delimiters and
newlines; ``""`` inside it stands for one quote.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data.arrow_columns import MISSING_WORDS, check_names, load_arrow, to_table
from glassgrad.data.table import Table

DELIMITERS = (",", ";", "\t", "|")
_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_SAMPLE_BYTES = 1 << 20
_SAMPLE_ROWS = 200
_BLOCK = 1 << 20
_LARGEST_BLOCK = 2**31 - 1

# The first bytes of files that are not text in UTF-8, and the message for each.
_FOREIGN = (
    (b"PK\x03\x04", "is a zip archive or an Excel workbook; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook; save the sheet as CSV"),
    (b"PAR1", "is a Parquet file; name it .parquet"),
    (b"\x1f\x8b", "is compressed with gzip; add .gz to its name"),
    (b"%PDF-", "is a PDF document; give its data as a .csv file"),
    (codecs.BOM_UTF16_LE, "is in UTF-16; convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    (codecs.BOM_UTF16_BE, "is in UTF-16; convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"),
)
_WEB_PAGE = (b"<!doctype html", b"<html")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_DECIMAL_COMMA = re.compile(rb"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(rb"[+-]?\d{1,3},\d{3}")
_DECIMAL_POINT = re.compile(rb"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class Record:
    """One row of a text table: the line on which it begins, the number of its cells, and its bytes.

    ``open_line`` is the line of a cell whose opening quote is never closed, or None.
    """

    line: int
    cells: int
    text: bytes
    open_line: int | None = None


def read_delimited(content: bytes, source_name: str, delimiters: tuple[str, ...] = DELIMITERS) -> Table:
    """The table in ``content``, UTF-8 with or without a byte-order mark. Blank lines are skipped.

    The delimiter is the one of ``delimiters`` that gives the header the most cells and the first rows the same
    number. With a delimiter other than the comma, numbers may have decimal commas. The type of a column is the first
    of int64, bool, dates, times and float64 that fits all its values, else text. Raises InputError for content that
    cannot be read; the message is one line that begins with ``source_name``.
    """
    _check_text(content, source_name)
    content = content.removeprefix(codecs.BOM_UTF8)
    start, end = _extent(content)
    if start == end:
        raise InputError(f"{source_name}: has only blank lines; give column names and rows")
    sample = content[start:end] if end - start <= _SAMPLE_BYTES else _cut(content, start)
    delimiter = _delimiter(sample, delimiters)
    arrow = _parse(content, delimiter, _decimal_mark(sample, delimiter), source_name)
    _check_names(source_name, arrow.column_names)
    header = _newlines(content, 0, start) + 1
    one_line_per_row = _newlines(content, start, end) == arrow.num_rows
    _check_quotes(content, delimiter, source_name, one_line_per_row)
    columns = list(zip(arrow.column_names, arrow.columns, strict=True))
    return to_table(source_name, columns, arrow.num_rows, header + 1 if one_line_per_row else None)


def records(content: bytes, delimiter: str) -> Iterator[Record]:
    """The rows of ``content`` in one pass: the header first, without blank lines."""
    mark = delimiter.encode()
    line_without_quotes = re.compile(rb'([^"\r\n]*+)(?:\r\n|\n|\r|\Z)')
    cell = re.compile(rb"%b(%b|\r\n|\n|\r|\Z)" % (_cell(mark), re.escape(mark)))
    line, position = 1, 0
    while position < len(content):
        match = line_without_quotes.match(content, position)
        if match is not None:
            if match[1]:
                yield Record(line, match[1].count(mark) + 1, match[1])
            line, position = line + 1, match.end()
            continue
        start, cells, after = position, 0, mark
        while after == mark:
            match, cells = cell.match(content, position), cells + 1
            if match is None:
                yield Record(line, cells, content[start:], line + _newlines(content, start, position))
                return
            after, position = match[1], match.end()
        yield Record(line, cells, content[start : position - len(after)])
        line += _newlines(content, start, position)


def _cell(mark: bytes) -> bytes:
    """The pattern of a cell. Text after a closing quote belongs to the cell; an unclosed quote does not match."""
    return rb'(?:"(?:[^"]++|"")*+"|(?!"))[^\r\n%b]*+' % mark


def _check_text(content: bytes, source_name: str) -> None:
    """Raise InputError unless ``content`` is text in UTF-8."""
    head = content[:4096]
    if head.lstrip().lower().startswith(_WEB_PAGE):
        raise InputError(f"{source_name}: is a web page (HTML); download the table itself")
    foreign = next((message for opening, message in _FOREIGN if content.startswith(opening)), None)
    control_characters = len(head) - len(head.translate(None, _CONTROL))
    if b"\0" in content or control_characters > len(head) // 100:
        raise InputError(f"{source_name}: {foreign or 'is a binary file; give a text file in UTF-8'}")
    if content.isascii():
        return
    start = 0
    while start < len(content):  # in blocks of whole lines, to bound the memory for the decoded text
        end = content.find(b"\n", start + _BLOCK) + 1 or len(content)
        try:
            content[start:end].decode()
        except UnicodeDecodeError as error:
            position = start + error.start
            latin = (
                f"line {_newlines(content, 0, position) + 1} is not UTF-8 (byte 0x{content[position]:02X}); if "
                "the file is in Latin-1 (Windows-1252), convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
            )
            raise InputError(f"{source_name}: {foreign or latin}") from None
        start = end


def _extent(content: bytes) -> tuple[int, int]:
    """The start and the end of ``content`` without leading and trailing line ends."""
    start, end = 0, len(content)
    while end and content[end - 1] in b"\r\n":
        end -= 1
    while start < end and content[start] in b"\r\n":
        start += 1
    return start, end


def _newlines(content: bytes, start: int, end: int) -> int:
    """The number of line ends (LF, CR LF or CR) in ``content[start:end]``."""
    newlines = _count(content, b"\n", start, end)
    if content.find(b"\r", start, end) < 0:
        return newlines
    return newlines + _count(content, b"\r", start, end) - content.count(b"\r\n", start, end)


def _count(content: bytes, byte: bytes, start: int, end: int) -> int:
    """``content.count(byte, start, end)``, but many times faster for a frequent byte."""
    if end - start < _BLOCK:
        return content.count(byte, start, end)
    values = np.frombuffer(content, dtype=np.uint8)
    cuts = range(start, end, _BLOCK)
    return sum(int(np.count_nonzero(values[cut : min(cut + _BLOCK, end)] == byte[0])) for cut in cuts)


def _cut(content: bytes, start: int) -> bytes:
    """The first megabyte of ``content`` from ``start``, without its last, incomplete line if it has others."""
    sample = content[start : start + _SAMPLE_BYTES]
    return sample[: max(sample.rfind(b"\n"), sample.rfind(b"\r"))] or sample


def _delimiter(sample: bytes, delimiters: tuple[str, ...]) -> str:
    """The most likely one of ``delimiters``, judged by the first rows."""

    def fitness(delimiter: str) -> tuple[bool, int]:
        rows = list(islice(records(sample, delimiter), _SAMPLE_ROWS))
        cells = rows[0].cells
        regular = all(row.cells == cells for row in rows if row.open_line is None)
        return cells > 1 and regular, cells

    return max(delimiters, key=fitness)


def _decimal_mark(sample: bytes, delimiter: str) -> str:
    """ "," if the numbers in the first rows have decimal commas, else "."."""
    if delimiter == ",":
        return "."
    has_decimal_comma = False
    for row in islice(records(sample, delimiter), _SAMPLE_ROWS):
        for cell in row.text.split(delimiter.encode()):
            number = cell.strip(b' "')
            if _DECIMAL_POINT.fullmatch(number):
                return "."
            has_decimal_comma |= bool(_DECIMAL_COMMA.fullmatch(number) and not _THOUSANDS.fullmatch(number))
    return "," if has_decimal_comma else "."


def _parse(content: bytes, delimiter: str, decimal_mark: str, source_name: str) -> Any:
    """The pyarrow table in ``content``. Each column has the narrowest type that fits all its rows."""
    pa, csv = load_arrow(), load_arrow("pyarrow.csv")
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in content)
    # In text columns, missing words are found later, in the same way as for Parquet files and DataFrames.
    words = [space + word for word in MISSING_WORDS for space in ("", " ")]
    convert = csv.ConvertOptions(null_values=words, check_utf8=False, decimal_point=decimal_mark)
    block = _BLOCK
    while True:
        try:
            return csv.read_csv(
                pa.BufferReader(content), csv.ReadOptions(block_size=block), parse, convert_options=convert
            )
        except pa.ArrowInvalid as error:
            # pyarrow refuses rows longer than a block, with messages such as "straddling object ... block size".
            if block < min(len(content), _LARGEST_BLOCK) and "block" in str(error):
                block = min(block * 32, _LARGEST_BLOCK)
                continue
            raise _reason(content, delimiter, source_name, error) from None


def _reason(content: bytes, delimiter: str, source_name: str, error: Exception) -> InputError:
    """The error for ``content``, which pyarrow refused with ``error``."""
    rows = records(content, delimiter)
    header = row = next(rows)
    for row in chain((header,), rows):
        if row.open_line is not None:
            return _never_closed(source_name, row.open_line)
        if row.cells != header.cells:
            return InputError(
                f"{source_name}: line {row.line} has {row.cells} cell{'s' * (row.cells != 1)} but the header (line "
                f"{header.line}) has {header.cells}; give every row a cell for every column, and put quotes "
                f"around text with {_WORDS[delimiter]} in it"
            )
    if row is header:
        return InputError(f"{source_name}: has column names but no rows; give at least one")
    return InputError(f"{source_name}: cannot be read as a table ({' '.join(str(error).split())[:200]})")


def _check_names(source_name: str, names: list[str]) -> None:
    """``check_names``, with a hint about the likely cause in the message."""
    try:
        check_names(source_name, names)
    except InputError as error:
        hint = ""
        if not all(name.strip() for name in names):
            hint = " (for the index of a pandas DataFrame: to_csv(..., index=False))"
        elif any(re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", name) for name in names):
            hint = " (if this is a row of values, add a line of column names above it)"
        raise InputError(f"{error}{hint}") from None


def _check_quotes(content: bytes, delimiter: str, source_name: str, one_line_per_row: bool) -> None:
    """Raise InputError if an unclosed quote has turned the rest of the file into one cell."""
    if b'"' not in content:
        return
    start, end = _extent(content)
    if one_line_per_row:  # only the last line can have an unclosed quote
        start = max(content.rfind(b"\n", start, end), content.rfind(b"\r", start, end)) + 1
    mark = delimiter.encode()
    cells = re.compile(rb"(?:%b[\r\n%b])*+%b" % (_cell(mark), mark, _cell(mark)))
    if cells.fullmatch(content, start) is None:
        *_, last = records(content, delimiter)
        raise _never_closed(source_name, last.open_line or last.line)


def _never_closed(source_name: str, line: int) -> InputError:
    return InputError(
        f'{source_name}: line {line} has a cell with an opening quote (") that is never closed; close or double it'
    )
