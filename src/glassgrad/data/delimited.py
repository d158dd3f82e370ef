"""Text tables: values between commas, semicolons, tabs or bars, one row a line, names in the first line.

Quotes are those of RFC 4180: a cell that begins with ``"`` ends with the next single ``"`` and may hold
delimiters and newlines; ``""`` inside it is one quote.
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

# What files begin with that are not text in UTF-8, and what to do instead.
_FOREIGN = (
    (b"PK\x03\x04", "is a zip archive or an Excel workbook; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook; save the sheet as CSV"),
    (b"PAR1", "is a Parquet file; name it .parquet"),
    (b"\x1f\x8b", "is compressed with gzip; add .gz to its name"),
    (b"%PDF-", "is a PDF document; give the table behind it"),
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
    """One row of a text table: the line on which it begins, how many cells, and its bytes as they stand.

    ``open_line`` is the line on which a cell opens with a quote that is never closed, or None.
    """

    line: int
    cells: int
    text: bytes
    open_line: int | None = None


def read_delimited(content: bytes, place: str, delimiters: tuple[str, ...] = DELIMITERS) -> Table:
    """The table in ``content``, UTF-8 with or without a byte-order mark; blank lines do not count.

    The delimiter is the one of ``delimiters`` that gives the first rows as many cells as the header, and the
    most. Where it is not the comma, numbers may have decimal commas. A column is int64, bool, dates, times or
    float64 where all its values are (the first of these that fits), else text. Raises InputError, one line
    that begins with ``place``, for everything that cannot be read as such a table.
    """
    _check_text(content, place)
    content = content.removeprefix(codecs.BOM_UTF8)
    start, end = _extent(content)
    if start == end:
        raise InputError(f"{place}: holds nothing but blank lines; give column names and rows")
    sample = content[start:end] if end - start <= _SAMPLE_BYTES else _cut(content, start)
    delimiter = _delimiter(sample, delimiters)
    arrow = _parse(content, delimiter, _decimal_mark(sample, delimiter), place)
    _check_names(place, arrow.column_names)
    header = _newlines(content, 0, start) + 1
    a_line_each = _newlines(content, start, end) == arrow.num_rows
    _check_quotes(content, delimiter, place, a_line_each)
    columns = list(zip(arrow.column_names, arrow.columns, strict=True))
    return to_table(place, columns, arrow.num_rows, header + 1 if a_line_each else None)


def records(content: bytes, delimiter: str) -> Iterator[Record]:
    """The rows of ``content``, header first, without blank lines, in one pass."""
    mark = delimiter.encode()
    plain = re.compile(rb'([^"\r\n]*+)(?:\r\n|\n|\r|\Z)')
    cell = re.compile(rb"%b(%b|\r\n|\n|\r|\Z)" % (_cell(mark), re.escape(mark)))
    line, position = 1, 0
    while position < len(content):
        found = plain.match(content, position)
        if found is not None:
            if found[1]:
                yield Record(line, found[1].count(mark) + 1, found[1])
            line, position = line + 1, found.end()
            continue
        start, cells, after = position, 0, mark
        while after == mark:
            found, cells = cell.match(content, position), cells + 1
            if found is None:
                yield Record(line, cells, content[start:], line + _newlines(content, start, position))
                return
            after, position = found[1], found.end()
        yield Record(line, cells, content[start : position - len(after)])
        line += _newlines(content, start, position)


def _cell(mark: bytes) -> bytes:
    """The pattern of a cell: what follows a closing quote belongs to it; a quote that stays open is no cell."""
    return rb'(?:"(?:[^"]++|"")*+"|(?!"))[^\r\n%b]*+' % mark


def _check_text(content: bytes, place: str) -> None:
    """Raise InputError unless ``content`` is text in UTF-8."""
    head = content[:4096]
    if head.lstrip().lower().startswith(_WEB_PAGE):
        raise InputError(f"{place}: is a web page; download the table behind it")
    foreign = next((message for opening, message in _FOREIGN if content.startswith(opening)), None)
    junk = len(head) - len(head.translate(None, _CONTROL))
    if b"\0" in content or junk > len(head) // 100:
        raise InputError(f"{place}: {foreign or 'holds bytes that no text has; give a text file in UTF-8'}")
    if content.isascii():
        return
    start = 0
    while start < len(content):  # whole lines at a time: decoded all at once, the text may be huge
        end = content.find(b"\n", start + _BLOCK) + 1 or len(content)
        try:
            content[start:end].decode()
        except UnicodeDecodeError as error:
            position = start + error.start
            latin = (
                f"line {_newlines(content, 0, position) + 1} is not UTF-8 (byte 0x{content[position]:02X}); if "
                "the file is in Latin-1 (Windows-1252), convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
            )
            raise InputError(f"{place}: {foreign or latin}") from None
        start = end


def _extent(content: bytes) -> tuple[int, int]:
    """Where ``content`` starts and ends without the line ends around it."""
    start, end = 0, len(content)
    while end and content[end - 1] in b"\r\n":
        end -= 1
    while start < end and content[start] in b"\r\n":
        start += 1
    return start, end


def _newlines(content: bytes, start: int, end: int) -> int:
    """How many line ends (LF, CR LF or CR) lie in ``content[start:end]``."""
    newlines = _count(content, b"\n", start, end)
    if content.find(b"\r", start, end) < 0:
        return newlines
    return newlines + _count(content, b"\r", start, end) - content.count(b"\r\n", start, end)


def _count(content: bytes, byte: bytes, start: int, end: int) -> int:
    """``content.count(byte, start, end)``, many times faster where the byte is frequent."""
    if end - start < _BLOCK:
        return content.count(byte, start, end)
    values = np.frombuffer(content, dtype=np.uint8)
    cuts = range(start, end, _BLOCK)
    return sum(int(np.count_nonzero(values[cut : min(cut + _BLOCK, end)] == byte[0])) for cut in cuts)


def _cut(content: bytes, start: int) -> bytes:
    """The first megabyte of ``content`` from ``start``, without its last, broken line if it has others."""
    sample = content[start : start + _SAMPLE_BYTES]
    return sample[: max(sample.rfind(b"\n"), sample.rfind(b"\r"))] or sample


def _delimiter(sample: bytes, delimiters: tuple[str, ...]) -> str:
    def fitness(delimiter: str) -> tuple[bool, int]:
        rows = list(islice(records(sample, delimiter), _SAMPLE_ROWS))
        cells = rows[0].cells
        regular = all(row.cells == cells for row in rows if row.open_line is None)
        return cells > 1 and regular, cells

    return max(delimiters, key=fitness)


def _decimal_mark(sample: bytes, delimiter: str) -> str:
    if delimiter == ",":
        return "."
    comma = False
    for row in islice(records(sample, delimiter), _SAMPLE_ROWS):
        for cell in row.text.split(delimiter.encode()):
            number = cell.strip(b' "')
            if _DECIMAL_POINT.fullmatch(number):
                return "."
            comma |= bool(_DECIMAL_COMMA.fullmatch(number) and not _THOUSANDS.fullmatch(number))
    return "," if comma else "."


def _parse(content: bytes, delimiter: str, decimal_mark: str, place: str) -> Any:
    """The pyarrow table in ``content``, each column of the narrowest type that fits all its rows."""
    pa, csv = load_arrow(), load_arrow("pyarrow.csv")
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in content)
    # Text is compared with the words later, so that Parquet and DataFrames are treated alike.
    words = [space + word for word in MISSING_WORDS for space in ("", " ")]
    convert = csv.ConvertOptions(null_values=words, check_utf8=False, decimal_point=decimal_mark)
    block = _BLOCK
    while True:
        try:
            return csv.read_csv(
                pa.BufferReader(content), csv.ReadOptions(block_size=block), parse, convert_options=convert
            )
        except pa.ArrowInvalid as error:
            # Rows longer than a block are refused by pyarrow in words such as "straddling object".
            if block < min(len(content), _LARGEST_BLOCK) and "block" in str(error):
                block = min(block * 32, _LARGEST_BLOCK)
                continue
            raise _reason(content, delimiter, place, error) from None


def _reason(content: bytes, delimiter: str, place: str, error: Exception) -> InputError:
    """What is wrong with rows that pyarrow refused with ``error``."""
    rows = records(content, delimiter)
    header = row = next(rows)
    for row in chain((header,), rows):
        if row.open_line is not None:
            return _never_closed(place, row.open_line)
        if row.cells != header.cells:
            return InputError(
                f"{place}: line {row.line} has {row.cells} cell{'s' * (row.cells != 1)} but the header (line "
                f"{header.line}) has {header.cells}; give every row a cell for every column, and put quotes "
                f"around text with {_WORDS[delimiter]} in it"
            )
    if row is header:
        return InputError(f"{place}: has column names but no rows; give at least one")
    return InputError(f"{place}: cannot be read as a table ({' '.join(str(error).split())[:200]})")


def _check_names(place: str, names: list[str]) -> None:
    """As ``check_names``, with what is likely to be behind it."""
    try:
        check_names(place, names)
    except InputError as error:
        hint = ""
        if not all(name.strip() for name in names):
            hint = " (for the index of a pandas DataFrame: to_csv(..., index=False))"
        elif any(re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", name) for name in names):
            hint = " (or is this a row of values? then add a line of names above it)"
        raise InputError(f"{error}{hint}") from None


def _check_quotes(content: bytes, delimiter: str, place: str, a_line_each: bool) -> None:
    """Raise InputError where a quote that is never closed has swallowed the rest of the file."""
    if b'"' not in content:
        return
    start, end = _extent(content)
    if a_line_each:  # then only the last line can hold such a quote
        start = max(content.rfind(b"\n", start, end), content.rfind(b"\r", start, end)) + 1
    mark = delimiter.encode()
    cells = re.compile(rb"(?:%b[\r\n%b])*+%b" % (_cell(mark), mark, _cell(mark)))
    if cells.fullmatch(content, start) is None:
        *_, last = records(content, delimiter)
        raise _never_closed(place, last.open_line or last.line)


def _never_closed(place: str, line: int) -> InputError:
    return InputError(
        f'{place}: line {line} has a cell that opens with a quote (") and never closes; close it, or double it'
    )
