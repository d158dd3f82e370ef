"""One derivative as pictures and tables: its strongest paths through the network, factor by factor."""

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
"""Layers of up to so many units have a dot for each."""

NO_BREAK = "\u00a0"

Stop = tuple[str, float, str]
"""A row of the picture, a place on it from 0 to 1, and the name of the unit there."""


def worked_derivative(found: Explanation) -> list[Block]:
    """The strongest paths of ``found`` as a picture, the strongest as a product, and their sum."""
    if found.paths is None:
        return [Text(f"No paths were searched: {found.omitted}.", quiet=True)]
    if not found.lines:
        return [Text(zero_of(found))]
    strongest, *others = found.lines
    ways = "only path" if found.paths == 1 else plural(int(found.paths), "path")
    if found.paths > len(found.lines):
        ways = f"{len(found.lines)} strongest of {ways}"
    blocks: list[Block] = [
        Figure(
            _picture(found),
            f"The {ways} from the loss to "
            f"{tight(found.name)}. Every dot is a unit. "
            "The stronger a path, the thicker its line; orange ones add to the derivative, blue ones take away. The "
            "units of the strongest one are named at the right.",
            "The ways from the loss",
            wide=True,
        ),
        *_product(strongest, found, "The strongest path" if others else "The path"),
    ]
    if others:
        tables = [block for line in others for block in _product(line, found)]
        blocks.append(Details(f"The next {plural(len(others), 'path')}, factor by factor", tables))
    return [*blocks, _sum(found)]


def _product(line: Line, found: Explanation, heading: str = "") -> list[Block]:
    rows = [
        # Without spaces to break at the table is scrolled on a phone, where it would become very high.
        [
            "×" if i else "",
            number(factor.value, 5),
            tight(factor.symbol),
            said_of(factor).replace(" ", NO_BREAK),
        ]
        for i, factor in enumerate(line.factors)
    ]
    rows.append(
        ["=", number(line.product, 5), "the product", _share(found, line.product).replace(" ", NO_BREAK)]
    )
    return [
        Text(" → ".join(route(line)), heading, quiet=not heading),
        Table(["", "factor", "is", "that is"], rows),
    ]


def _share(found: Explanation, part: float) -> str:
    share = found.share(part)
    return "" if share is None else f"{percent(share)} of the derivative"


def _sum(found: Explanation) -> Table:
    assert found.paths is not None
    assert found.path_total is not None
    rest = int(found.paths) - len(found.lines)
    rows = [[f"{plural(len(found.lines), 'path')} above", found.shown]]
    if rest:
        rows.append([plural(rest, "other path"), found.remainder])
    rows.append([f"dL/d {tight(found.name)}", found.path_total])
    return Table(
        ["", "adds up to", "share"],
        [[name, number(value, 5), percent(round(found.share(value) or 0.0, 9))] for name, value in rows],  # type: ignore[arg-type]
        f"The sum over all paths. {meaning_of(found)}",
    )


# --- the picture ---------------------------------------------------------------------------------------------


def _picture(found: Explanation) -> str:
    """The paths as lines from the loss at the top down through a row of dots for every layer."""
    sizes = {layer.name: max(int(layer.values.size), 1) for layer in found.layers}
    ways = [_stops(line, found, sizes) for line in found.lines]
    order = [name for name in reversed(sizes) if any(name == row for way in ways for row, _, _ in way)]
    end = [] if found.what == "input" else [found.name]
    rows = {name: i for i, name in enumerate(["loss", *order, *end])}
    strongest = max(abs(line.product) for line in found.lines)

    def build(axes: Axes) -> None:
        for name in order:
            count = sizes[name]
            y = [rows[name]] * count
            if count <= DOTTED:
                x = [(unit + 0.5) / count for unit in range(count)]
                axes.plot(x, y, linestyle="", marker="o", markersize=3, color=pen("muted"), alpha=0.45)
            else:
                axes.plot([0, 1], y[:2], color=pen("muted"), linewidth=3, alpha=0.3)
        for line, way in reversed(list(zip(found.lines, ways, strict=True))):
            color = pen("positive" if line.product > 0 else "negative")
            weight = abs(line.product) / strongest
            x = [spot for _, spot, _ in way]
            y = [rows[row] for row, _, _ in way]
            axes.plot(x, y, color=color, linewidth=0.8 + 3.2 * weight, alpha=0.45 + 0.5 * weight)
            axes.plot(x, y, linestyle="", marker="o", markersize=5.5, color=color, markeredgewidth=0)
        for row, _, name in ways[0]:
            if name:
                at: dict[str, Any] = {
                    "textcoords": "offset points",
                    "ha": "right",
                    "va": "center",
                    "fontsize": 10.5,
                }
                axes.annotate(short(name, 30), (1.02, rows[row]), (0, 9), **at)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(len(rows) - 0.6, -0.6)
        axes.set_xticks([])
        names = ["loss", *order, *(["the weight"] if end else [])]
        axes.set_yticks(range(len(rows)), [short(name, 14) for name in names])
        axes.spines["bottom"].set_visible(False)

    height = len(rows) * 46 + 24
    title = f"The strongest paths from the loss to {tight(found.name)}"
    return picture(build, title, True, ((NARROW[0], height), (WIDE[0], height)))


def _stops(line: Line, found: Explanation, sizes: dict[str, int]) -> list[Stop]:
    """The points of a path, from the loss down; layers that only hand values on are left out."""
    idle = {name for factor in line.factors if factor.kind == "same" for name in factor.symbol.split(", ")}
    stops: list[Stop] = [("loss", 0.5, "")]
    sources = {tight(factor.source) for factor in line.factors}
    for place, unit in line.units:
        name = place.removesuffix(f".{PREACTIVATION}")
        if name in idle and name != INPUT:
            continue
        stop = (name, (unit + 0.5) / sizes[name], "")
        if stop != stops[-1]:
            stops.append(stop)
    named = [
        (
            row,
            spot,
            next(
                (item for item in sources if item.startswith(f"{row}[")), found.name if row == INPUT else ""
            ),
        )
        for row, spot, _ in stops
    ]
    return [*named, (found.name, 0.5, tight(found.name))] if found.what != "input" else named
