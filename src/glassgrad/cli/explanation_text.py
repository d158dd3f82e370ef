"""An explanation as text for a terminal: the chain rule as products, the checks, the layers and the step."""

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
"""The values of a layer with up to this many values are listed."""

PLAIN = str.maketrans({"→": "->", "×": "x", "√": "sqrt ", "ε": "epsilon", "²": "^2", "–": "-"})
BOLD, END = "\033[1m", "\033[0m"


def print_explanation(explanation: Explanation, model: str) -> None:
    """Print ``explanation``, in color and Unicode if standard output supports them."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    text = text_of(explanation, model, color=terminal and "NO_COLOR" not in os.environ)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.translate(PLAIN)
    print(text)


def text_of(explanation: Explanation, model: str, *, color: bool = False) -> str:
    """The whole explanation, in lines of at most ``WIDTH`` characters; only a long name exceeds that."""
    parts = [
        (f"dL/d {tight(explanation.name)}", _subject(explanation, model)),
        ("Chain rule: the paths that add up to the derivative", _chain(explanation)),
        ("Checks: the derivative computed in other ways", _checks(explanation)),
        ("Neurons: the output of each layer for this row", _layers(explanation)),
    ]
    if explanation.step is not None:
        parts.append(
            (f"Step: the effect of one step of {explanation.step.optimizer}", _step(explanation.step))
        )
    return "\n\n".join(
        "\n".join([f"{BOLD}{title}{END}" if color else title, *(line.rstrip() for line in lines)])
        for title, lines in parts
    )


# --- the derivative ------------------------------------------------------------------------------------------


def _subject(explanation: Explanation, model: str) -> Iterator[str]:
    yield from _entry("model", model)
    yield from _entry("row", f"{explanation.row} of {explanation.source}")
    yield from _entry("target", f"{_label(explanation.target)}")
    prediction = _label(explanation.prediction)
    if explanation.probabilities:
        best = sorted(explanation.probabilities, key=lambda item: -item[1])[:3]
        prediction += f"   ({', '.join(f'{_label(label)}: {_percent(p)}' for label, p in best)})"
    yield from _entry("prediction", prediction)
    yield from _entry("loss L", f"{digits(explanation.loss)}   ({explanation.loss_name})")
    value = digits(explanation.value)
    if (
        explanation.what == "input"
        and explanation.given is not None
        and explanation.given != explanation.value
    ):
        original = (
            _label(explanation.given) if isinstance(explanation.given, str) else digits(explanation.given)
        )
        value = f"{original}, scaled or encoded to {value}"
    yield from _entry(explanation.what, f"{tight(explanation.name)} = {value}")
    yield from _entry("derivative", f"dL/d {tight(explanation.name)} = {digits(explanation.derivative)}")
    if explanation.unit is not None and explanation.per_unit is not None:
        factors = f"{digits(explanation.derivative)} × {digits(explanation.unit.value)}"
        product = f"{factors} = {digits(explanation.per_unit)}"
        yield from _entry("", f"per unit of {tight(explanation.name)} before scaling: {product}")
    yield from _entry("", meaning_of(explanation))


# --- the chain rule ------------------------------------------------------------------------------------------


def _chain(explanation: Explanation) -> Iterator[str]:
    if explanation.paths is None:
        yield from _wrapped(f"No paths were searched: {explanation.omitted}.", "  ")
        return
    if explanation.paths == 0:
        yield from _wrapped(zero_of(explanation), "  ")
        return
    count = _count(explanation.paths, "path")
    leads = "leads" if explanation.paths == 1 else "lead"
    subject = f"The strongest {len(explanation.lines)}"
    if explanation.paths == len(explanation.lines):
        subject = "The path" if explanation.paths == 1 else "All paths"
    yield from _wrapped(
        f"{count} {leads} from the loss to this {explanation.what}. Each path is a product of local derivatives. "
        f"The sum over all paths is dL/d {tight(explanation.name)}. {subject}:",
        "  ",
    )
    for number, line in enumerate(explanation.lines, start=1):
        yield ""
        yield from _route(number, line, explanation)
        yield from (_column(line) if number == 1 else _formula(line))
    yield ""
    yield from _sum(explanation)


def _route(number: int, line: Line, explanation: Explanation) -> Iterator[str]:
    share = explanation.share(line.product)
    head = f"  {number}.  "
    text = f"{' → '.join(route(line))}   ({_percent(share)})"
    # No-break spaces keep an arrow from starting a line.
    unbreakable = text.replace(" → ", "\u00a0→ ").replace("   (", "\u00a0\u00a0\u00a0(")
    yield from (line.replace("\u00a0", " ") for line in _wrapped(unbreakable, head, " " * len(head)))


def _column(line: Line) -> Iterator[str]:
    """A product with one line per factor."""
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
    """A product on two lines, the symbols above the numbers; on more lines if it is wider than ``WIDTH``."""
    factors = [factor for factor in line.factors if factor.kind != "same"]
    cells = [(tight(factor.symbol), digits(factor.value)) for factor in factors]
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


def _sum(explanation: Explanation) -> Iterator[str]:
    assert explanation.paths is not None
    assert explanation.path_total is not None
    shown, rest = len(explanation.lines), explanation.paths - len(explanation.lines)  # numbers of paths
    rows = [(f"sum of the {_count(shown, 'path')} shown", explanation.shown)]
    if rest > 0:
        rows.append(
            (f"{_count(rest, 'other path')} {'is' if rest == 1 else 'add up to'}", explanation.remainder)
        )
        rows.append((f"sum of all {_count(explanation.paths, 'path')}", explanation.path_total))
    numbers = [digits(value) for _, value in rows]
    text_width, width = max(len(text) for text, _ in rows), max(map(len, numbers))
    for (text, value), number in zip(rows, numbers, strict=True):
        yield f"  {text:<{text_width}}   {number:>{width}}   {_percent(explanation.share(value)):>8}"


# --- checks --------------------------------------------------------------------------------------------------


def _checks(explanation: Explanation) -> Iterator[str]:
    rows: list[tuple[str, float, float | None]] = [("reverse sweep", explanation.derivative, None)]
    if explanation.path_total is not None:
        rows.append(("sum over all paths", explanation.path_total, explanation.paths_error))
    rows += [
        ("forward sweep", explanation.forward, explanation.forward_error),
        ("central difference", explanation.central, explanation.central_error),
    ]
    numbers = [f"{value:.12g}" for _, value, _ in rows]
    width = max(map(len, numbers))
    for (name, _, error), number in zip(rows, numbers, strict=True):
        remark = "as in training" if error is None else f"relative error {error:.1e}"
        yield f"  {name:<18}   {number:<{width}}   {remark}"
    if explanation.kink:
        yield from _wrapped(kink_of(), "  ")


# --- the layers ----------------------------------------------------------------------------------------------


def _layers(explanation: Explanation) -> Iterator[str]:
    header = ["layer", "shape", "mean", "min", "max", "zeros", "values"]
    rows = [row_of(layer) for layer in shown_layers(explanation)]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    last_width = WIDTH - sum(widths[:-1]) - 2 * len(widths)
    for row in (header, *rows):
        cells = [
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row[:-1], widths, strict=False))
        ]
        last = row[-1] if len(row[-1]) <= last_width else row[-1][: max(last_width - 1, 0)].rstrip() + "…"
        yield f"  {'  '.join([*cells, last])}"


def row_of(layer: Layer) -> list[str]:
    """The row of one layer in a table: its name, its shape, and statistics of its values."""
    values = np.asarray(layer.values, np.float64).reshape(-1)
    value_list = "  ".join(f"{value:.4g}" for value in values) if values.size <= FEW else ""
    statistics = [f"{number:.4g}" for number in (values.mean(), values.min(), values.max())]
    return [
        layer.name,
        " x ".join(map(str, layer.shape)),
        *statistics,
        _percent(float((values == 0).mean())),
        value_list,
    ]


# --- the step ------------------------------------------------------------------------------------------------


def _step(step: StepView) -> Iterator[str]:
    terms = step.terms
    numbers = [digits(term.value, 9) for term in terms]
    name_width = max(len(term.name) for term in terms)
    width = max(map(len, numbers))
    for term, number in zip(terms, numbers, strict=True):
        yield f"  {term.name:<{name_width}} = {number:<{width}}   {term.formula}"
    yield from _wrapped(step_note(step), "  ")


# --- formatting ----------------------------------------------------------------------------------------------


def digits(value: float, count: int = 6) -> str:
    """A number with ``count`` significant digits."""
    return f"{float(value):.{count}g}"


def _entry(name: str, text: str) -> Iterator[str]:
    yield from _wrapped(text, f"  {name:<11} ", " " * 14)


def _wrapped(text: str, indent: str, rest: str | None = None) -> Iterator[str]:
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
    text = f"{int(number):,}" if number < 1e15 else f"about {number:.2g}"
    return f"{text} {noun}{'' if number == 1 else 's'}"
