"""Output of the commands: text for people, and JSON for programs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def print_notice(message: str) -> str:
    """Write ``message`` to standard error as exactly one line; returns the line without the prefix "error: "."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    with contextlib.suppress(OSError):  # standard error is closed; the exit code still shows a failure
        print(f"glassgrad: {line}", file=sys.stderr, flush=True)
    return line.removeprefix("error: ")


def print_json(document: Mapping[str, Any]) -> None:
    """Write ``document`` to standard output as one line of JSON, with NaN and Inf as null."""
    from glassgrad.common.plain import plain  # imports NumPy, which help and errors do not need

    print(json.dumps(plain(document), allow_nan=False), flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """``rows`` under ``header`` as text, in aligned columns: text to the left, numbers to the right."""
    cells = [[show(item) for item in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    is_numeric = [
        all(isinstance(item, int | float | None) for item in column) for column in zip(*rows, strict=True)
    ]
    lines = [
        "  ".join(
            text.rjust(width) if numeric else text.ljust(width)
            for text, width, numeric in zip(line, widths, is_numeric, strict=True)
        ).rstrip()
        for line in (list(header), *cells)
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def show(value: Any) -> str:
    """One value as the text of a cell: numbers with four digits, lists as 8 x 8, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.4g}"
    if isinstance(value, list):
        return " x ".join(map(str, value))
    return str(value)


def metrics_table(metrics: Mapping[str, Mapping[str, Any]], rows: Mapping[str, int]) -> str:
    """The metrics as a table: one line per part of the data, one column per metric.

    With several targets, a second table has the metrics of each target. ``rows`` is the number of rows per part.
    """
    from glassgrad.training.metrics import metrics_rows

    tables = metrics_rows(metrics, rows)
    return "\n\n".join(table(header, lines) for header, lines in tables)


def spelled(config: Mapping[str, Any]) -> str:
    """The configuration of a named part as it is written on the command line: ``huber(delta=0.5)``."""
    options = ", ".join(f"{key}={value!r}" for key, value in config.items() if key != "name")
    return f"{config['name']}({options})" if options else str(config["name"])
