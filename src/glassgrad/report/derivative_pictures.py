"""Figures and tables of one derivative: its strongest paths through the network, factor by factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glassgrad.explain.explanation import Explanation, Line
from glassgrad.explain.links import PREACTIVATION
from glassgrad.explain.wording import meaning_of, route, said_of, tight, zero_of
from glassgrad.nn.network import INPUT
from glassgrad.report.drawing import NARROW, WIDE, picture
from glassgrad.report.page import Block, Details, Figure, Table, Text
from glassgrad.report.svg import pen
from glassgrad.report.words import number, percent, plural, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOTTED = 100
"""The largest layer whose units are drawn as separate dots; a larger layer is a line."""

NO_BREAK = "\u00a0"

Stop = tuple[str, float, str]
"""The row of the figure (a layer), the horizontal position from 0 to 1, and the name of the unit."""


def worked_derivative(explanation: Explanation) -> list[Block]:
    """A figure of the strongest paths of ``explanation``, the product along each of them, and their sum."""
    if explanation.paths is None:
        return [Text(f"No paths were computed: {explanation.omitted}.", quiet=True)]
    if not explanation.lines:
        return [Text(zero_of(explanation))]
    strongest, *others = explanation.lines
    paths = "only path" if explanation.paths == 1 else plural(int(explanation.paths), "path")
    if explanation.paths > len(explanation.lines):
        paths = f"{len(explanation.lines)} strongest of {paths}"
    blocks: list[Block] = [
        Figure(
            _picture(explanation),
            f"The {paths} from the loss to {tight(explanation.name)}. Every dot is a unit. Thicker lines are "
            "stronger paths. Orange paths contribute positively to the derivative, blue paths negatively. The units "
            "of the strongest path are named at the right.",
            "Paths from the loss",
            wide=True,
        ),
        *_product(strongest, explanation, "The strongest path" if others else "The path"),
    ]
    if others:
        tables = [block for line in others for block in _product(line, explanation)]
        blocks.append(Details(f"The next {plural(len(others), 'path')}, factor by factor", tables))
    return [*blocks, _sum(explanation)]


def _product(line: Line, explanation: Explanation, heading: str = "") -> list[Block]:
    rows = [
        # Non-breaking spaces make the table scroll on a phone; wrapped, its rows would become very tall.
        [
            "×" if i else "",
            number(factor.value, 5),
            tight(factor.symbol),
            said_of(factor).replace(" ", NO_BREAK),
        ]
        for i, factor in enumerate(line.factors)
    ]
    rows.append(
        [
            "=",
            number(line.product, 5),
            "the product",
            _share(explanation, line.product).replace(" ", NO_BREAK),
        ]
    )
    return [
        Text(" → ".join(route(line)), heading, quiet=not heading),
        Table(["", "factor", "symbol", "meaning"], rows),
    ]


def _share(explanation: Explanation, part: float) -> str:
    share = explanation.share(part)
    return "" if share is None else f"{percent(share)} of the derivative"


def _sum(explanation: Explanation) -> Table:
    assert explanation.paths is not None
    assert explanation.path_total is not None
    rest = int(explanation.paths) - len(explanation.lines)
    sums = [(f"{plural(len(explanation.lines), 'path')} above", explanation.shown)]
    if rest:
        sums.append((plural(rest, "other path"), explanation.remainder))
    sums.append((f"dL/d {tight(explanation.name)}", explanation.path_total))
    return Table(
        ["", "sum", "share"],
        [
            [name, number(value, 5), percent(round(explanation.share(value) or 0.0, 9))]
            for name, value in sums
        ],
        f"The sum over all paths. {meaning_of(explanation)}",
    )


# --- the picture ---------------------------------------------------------------------------------------------


def _picture(explanation: Explanation) -> str:
    """Draw the paths as lines from the loss at the top through one row of dots per layer."""
    sizes = {layer.name: max(int(layer.values.size), 1) for layer in explanation.layers}
    paths = [_stops(line, explanation, sizes) for line in explanation.lines]
    order = [name for name in reversed(sizes) if any(name == row for path in paths for row, _, _ in path)]
    end = [] if explanation.what == "input" else [explanation.name]
    rows = {name: i for i, name in enumerate(["loss", *order, *end])}
    strongest = max(abs(line.product) for line in explanation.lines)

    def build(axes: Axes) -> None:
        for name in order:
            count = sizes[name]
            y = [rows[name]] * count
            if count <= DOTTED:
                x = [(unit + 0.5) / count for unit in range(count)]
                axes.plot(x, y, linestyle="", marker="o", markersize=3, color=pen("muted"), alpha=0.45)
            else:
                axes.plot([0, 1], y[:2], color=pen("muted"), linewidth=3, alpha=0.3)
        for line, path in reversed(list(zip(explanation.lines, paths, strict=True))):
            color = pen("positive" if line.product > 0 else "negative")
            strength = abs(line.product) / strongest
            x = [position for _, position, _ in path]
            y = [rows[row] for row, _, _ in path]
            axes.plot(x, y, color=color, linewidth=0.8 + 3.2 * strength, alpha=0.45 + 0.5 * strength)
            axes.plot(x, y, linestyle="", marker="o", markersize=5.5, color=color, markeredgewidth=0)
        for row, _, name in paths[0]:
            if name:
                text_options: dict[str, Any] = {
                    "textcoords": "offset points",
                    "ha": "right",
                    "va": "center",
                    "fontsize": 10.5,
                }
                axes.annotate(short(name, 30), (1.02, rows[row]), (0, 9), **text_options)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(len(rows) - 0.6, -0.6)
        axes.set_xticks([])
        names = ["loss", *order, *(["the weight"] if end else [])]
        axes.set_yticks(range(len(rows)), [short(name, 14) for name in names])
        axes.spines["bottom"].set_visible(False)

    height = len(rows) * 46 + 24
    title = f"The strongest paths from the loss to {tight(explanation.name)}"
    return picture(build, title, True, ((NARROW[0], height), (WIDE[0], height)))


def _stops(line: Line, explanation: Explanation, sizes: dict[str, int]) -> list[Stop]:
    """The points of a path, starting at the loss. Layers that pass their values on unchanged are left out."""
    unchanged = {
        name for factor in line.factors if factor.kind == "same" for name in factor.symbol.split(", ")
    }
    stops: list[Stop] = [("loss", 0.5, "")]
    sources = {tight(factor.source) for factor in line.factors}
    for unit_layer, unit in line.units:
        name = unit_layer.removesuffix(f".{PREACTIVATION}")
        if name in unchanged and name != INPUT:
            continue
        stop = (name, (unit + 0.5) / sizes[name], "")
        if stop != stops[-1]:
            stops.append(stop)
    named_stops = [
        (
            row,
            position,
            next(
                (item for item in sources if item.startswith(f"{row}[")),
                explanation.name if row == INPUT else "",
            ),
        )
        for row, position, _ in stops
    ]
    if explanation.what == "input":
        return named_stops
    return [*named_stops, (explanation.name, 0.5, tight(explanation.name))]
