"""An explanation as text for a terminal: the chain rule as products, what checks them, the layers and the step."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from glassgrad.explain.explanation import Explanation, Layer, Line
from glassgrad.explain.step import StepView
from glassgrad.explain.wording import (
    kink_of,
    meaning_of,
    route,
    said_of,
    shown_layers,
    step_note,
    tight,
    zero_of,
)

WIDTH = 90
FEW = 4
"""Values of layers up to this size are listed."""

PLAIN = str.maketrans({"→": "->", "×": "x", "√": "sqrt ", "ε": "epsilon", "²": "^2", "–": "-"})
BOLD, END = "\033[1m", "\033[0m"


def print_explanation(found: Explanation, model: str) -> None:
    """Print ``found`` as the terminal can show it."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    text = text_of(found, model, color=terminal and "NO_COLOR" not in os.environ)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.translate(PLAIN)
    print(text)


def text_of(found: Explanation, model: str, *, color: bool = False) -> str:
    """The whole explanation, in lines of at most ``WIDTH`` characters (a name may be longer)."""
    parts = [
        (f"dL/d {tight(found.name)}", _asked(found, model)),
        ("Chain rule: what the derivative is made of", _chain(found)),
        ("Checks: the same number in other ways", _checks(found)),
        ("Neurons: what each layer makes of the row", _layers(found)),
    ]
    if found.step is not None:
        parts.append((f"Step: what one step of {found.step.optimizer} would do", _step(found.step)))
    return "\n\n".join(
        "\n".join([f"{BOLD}{title}{END}" if color else title, *(line.rstrip() for line in lines)])
        for title, lines in parts
    )


# --- what was asked ------------------------------------------------------------------------------------------


def _asked(found: Explanation, model: str) -> Iterator[str]:
    yield from _entry("model", model)
    yield from _entry("row", f"{found.row} of {found.source}")
    yield from _entry("target", f"{_label(found.target)}")
    said = _label(found.prediction)
    if found.probabilities:
        best = sorted(found.probabilities, key=lambda item: -item[1])[:3]
        said += f"   ({', '.join(f'{_label(label)}: {_percent(p)}' for label, p in best)})"
    yield from _entry("prediction", said)
    yield from _entry("loss L", f"{digits(found.loss)}   ({found.loss_name})")
    shown = digits(found.value)
    if found.what == "input" and found.given is not None and found.given != found.value:
        given = _label(found.given) if isinstance(found.given, str) else digits(found.given)
        shown = f"{given}, which the network sees as {shown}"
    yield from _entry(found.what, f"{tight(found.name)} = {shown}")
    yield from _entry("derivative", f"dL/d {tight(found.name)} = {digits(found.derivative)}")
    if found.unit is not None and found.per_unit is not None:
        product = f"{digits(found.derivative)} × {digits(found.unit.value)} = {digits(found.per_unit)}"
        yield from _entry("", f"per unit of {tight(found.name)} as it was given: {product}")
    yield from _entry("", meaning_of(found))


# --- the chain rule ------------------------------------------------------------------------------------------


def _chain(found: Explanation) -> Iterator[str]:
    if found.paths is None:
        yield from _filled(f"No paths were searched: {found.omitted}.", "  ")
        return
    if found.paths == 0:
        yield from _filled(zero_of(found), "  ")
        return
    count = _count(found.paths, "path")
    leads = "leads" if found.paths == 1 else "lead"
    shown = len(found.lines)
    some = "It is" if found.paths == 1 else "These are" if shown == found.paths else f"The strongest {shown}"
    yield from _filled(
        f"{count} {leads} from the loss to this {found.what}. Each is a product of the derivatives on its way; their "
        f"sum is dL/d {tight(found.name)}. {some}:",
        "  ",
    )
    for number, line in enumerate(found.lines, start=1):
        yield ""
        yield from _route(number, line, found)
        yield from (_column(line) if number == 1 else _formula(line))
    yield ""
    yield from _sum(found)


def _route(number: int, line: Line, found: Explanation) -> Iterator[str]:
    share = found.share(line.product)
    head = f"  {number}.  "
    text = f"{' → '.join(route(line))}   ({_percent(share)})"
    glued = text.replace(" → ", "\u00a0→ ").replace("   (", "\u00a0\u00a0\u00a0(")  # no arrow begins a line
    yield from (line.replace("\u00a0", " ") for line in _filled(glued, head, " " * len(head)))


def _column(line: Line) -> Iterator[str]:
    """A product with a line for each factor."""
    values = [digits(factor.value) for factor in line.factors]
    product = digits(line.product)
    width = max(map(len, [*values, product]))
    names = [tight(factor.symbol) for factor in line.factors]
    wide = min(max(map(len, names)), 40)
    for number, (factor, name, value) in enumerate(zip(line.factors, names, values, strict=True)):
        sign = "×" if number else " "
        yield f"      {sign} {value:>{width}}   {name:<{wide}}   {said_of(factor)}"
    yield f"      = {product:>{width}}"


def _formula(line: Line) -> Iterator[str]:
    """A product on two lines: symbols, and numbers below them; on more where they do not fit."""
    kept = [factor for factor in line.factors if factor.kind != "same"]
    cells = [(tight(factor.symbol), digits(factor.value)) for factor in kept]
    columns = [(symbol, value, max(len(symbol), len(value))) for symbol, value in cells]
    rows: list[list[tuple[str, str, int]]] = [[]]
    for cell in columns:
        used = sum(width + 3 for _, _, width in rows[-1])
        if rows[-1] and used + cell[2] > WIDTH - 10:
            rows.append([])
        rows[-1].append(cell)
    for number, row in enumerate(rows):
        sign = "×" if number else " "
        yield f"      {sign} {' × '.join(f'{symbol:>{width}}' for symbol, _, width in row)}"
        sign = "×" if number else "="
        yield f"      {sign} {' × '.join(f'{value:>{width}}' for _, value, width in row)}"
    yield f"      = {digits(line.product)}"


def _sum(found: Explanation) -> Iterator[str]:
    assert found.paths is not None
    assert found.path_total is not None
    shown, rest = len(found.lines), found.paths - len(found.lines)
    rows = [(f"sum of the {_count(shown, 'path')} shown", found.shown)]
    if rest > 0:
        rows.append((f"{_count(rest, 'other path')} {'is' if rest == 1 else 'add up to'}", found.remainder))
        rows.append((f"sum of all {_count(found.paths, 'path')}", found.path_total))
    numbers = [digits(value) for _, value in rows]
    wide, width = max(len(text) for text, _ in rows), max(map(len, numbers))
    for (text, value), said in zip(rows, numbers, strict=True):
        yield f"  {text:<{wide}}   {said:>{width}}   {_percent(found.share(value)):>8}"


# --- checks --------------------------------------------------------------------------------------------------


def _checks(found: Explanation) -> Iterator[str]:
    rows: list[tuple[str, float, float | None]] = [("reverse sweep", found.derivative, None)]
    if found.path_total is not None:
        rows.append(("sum over all paths", found.path_total, found.paths_error))
    rows += [
        ("forward sweep", found.forward, found.forward_error),
        ("central difference", found.central, found.central_error),
    ]
    numbers = [f"{value:.12g}" for _, value, _ in rows]
    width = max(map(len, numbers))
    for (name, _, error), said in zip(rows, numbers, strict=True):
        off = "how training computes it" if error is None else f"relative error {error:.1e}"
        yield f"  {name:<18}   {said:<{width}}   {off}"
    if found.kink:
        yield from _filled(kink_of(), "  ")


# --- the layers ----------------------------------------------------------------------------------------------


def _layers(found: Explanation) -> Iterator[str]:
    header = ["layer", "shape", "mean", "min", "max", "zeros", "values"]
    rows = [row_of(layer) for layer in shown_layers(found)]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    room = WIDTH - sum(widths[:-1]) - 2 * len(widths)
    for row in (header, *rows):
        cells = [
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row[:-1], widths, strict=False))
        ]
        last = row[-1] if len(row[-1]) <= room else row[-1][: max(room - 1, 0)].rstrip() + "…"
        yield f"  {'  '.join([*cells, last])}"


def row_of(layer: Layer) -> list[str]:
    """One layer in a table: its name, shape, and what its values are like."""
    values = np.asarray(layer.values, np.float64).reshape(-1)
    listed = "  ".join(f"{value:.4g}" for value in values) if values.size <= FEW else ""
    spread = [f"{number:.4g}" for number in (values.mean(), values.min(), values.max())]
    return [
        layer.name,
        " x ".join(map(str, layer.shape)),
        *spread,
        _percent(float((values == 0).mean())),
        listed,
    ]


# --- the step ------------------------------------------------------------------------------------------------


def _step(step: StepView) -> Iterator[str]:
    terms = step.terms
    numbers = [digits(term.value, 9) for term in terms]
    wide = max(len(term.name) for term in terms)
    width = max(map(len, numbers))
    for term, said in zip(terms, numbers, strict=True):
        yield f"  {term.name:<{wide}} = {said:<{width}}   {term.formula}"
    yield from _filled(step_note(step), "  ")


# --- words ---------------------------------------------------------------------------------------------------


def digits(value: float, count: int = 6) -> str:
    """A number with ``count`` significant digits."""
    return f"{float(value):.{count}g}"


def _entry(name: str, text: str) -> Iterator[str]:
    yield from _filled(text, f"  {name:<11} ", " " * 14)


def _filled(text: str, indent: str, rest: str | None = None) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _label(value: Any) -> str:
    return digits(value) if isinstance(value, float) else str(value)


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    value = 100 * round(share, 9)
    if 99.95 <= value < 100:
        return ">99.9%"
    if 0 < abs(value) < 0.05:
        return "<0.1%" if value > 0 else ">-0.1%"
    return f"{value:.1f}%" if abs(value) < 1000 else f"{value:.3g}%"


def _count(number: float, noun: str) -> str:
    said = f"{int(number):,}" if number < 1e15 else f"about {number:.2g}"
    return f"{said} {noun}{'' if number == 1 else 's'}"
