"""How the pictures of five-questions.md look; five_questions.py says what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glassgrad.explain.explanation import Explanation
from glassgrad.report.theme import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def set_up() -> None:
    """What all pictures have in common."""
    import matplotlib as mpl

    mpl.rcParams.update(
        {
            "svg.hashsalt": "five questions",
            "svg.fonttype": "path",
            "font.size": 10,
            "axes.edgecolor": color("muted"),
        }
    )


def color(role: str) -> str:
    """The color that the pages of Glassgrad have for ``role``, on a light background."""
    return COLORS[role][0]


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """A figure of so many inches, and its axes [rows][columns]."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns, squeeze=False)


def name_axes(axes: Axes, x: str, y: str) -> None:
    """What lies along the two axes."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)


def image(axes: Axes, values: Any, heading: str, bound: float | None) -> None:
    """Pixels in grey, or signed numbers: orange above 0, blue below."""
    if bound is None:
        axes.imshow(values, cmap="gray_r")
    else:
        from matplotlib.colors import LinearSegmentedColormap

        ends = [color("negative"), "white", color("positive")]
        axes.imshow(values, cmap=LinearSegmentedColormap.from_list("signed", ends), vmin=-bound, vmax=bound)
    axes.set_title(heading, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def curves(
    lines: Mapping[str, Sequence[float]],
    x: str,
    y: str,
    *,
    level: float | None = None,
    mark: int | None = None,
    log: bool = True,
) -> Figure:
    """Lines over 1, 2, ..., each named at its end; ``level`` and ``mark`` are where dashed lines go."""
    figure, grid = new_figure(1, 1, 6.6, 3.4)
    axes = grid[0][0]
    roles = ["series_1", "series_3", "series_2"] if len(lines) == 3 else ["series_1", "series_2"]
    axes.set_yscale("log" if log else "linear")
    if level is not None:
        axes.axhline(level, color=color("muted"), linestyle=(0, (3, 3)), linewidth=1, zorder=1)
    if mark is not None:
        axes.axvline(mark, color=color("muted"), linestyle=(0, (3, 3)), linewidth=1, zorder=1)
    for values, role in zip(lines.values(), roles, strict=True):
        places = np.arange(1, len(values) + 1)
        dots = "o" if len(values) < 12 else ""
        axes.plot(places, values, color=color(role), linewidth=2, marker=dots, markersize=4, clip_on=False)
    axes.get_ylim()  # what is drawn so far sets the scale
    free = 0.0
    for (label, values), role in sorted(
        zip(lines.items(), roles, strict=True), key=lambda item: item[0][1][-1]
    ):
        end = axes.transAxes.inverted().transform(axes.transData.transform((1.0, values[-1])))[1]
        place, free = max(end, free), max(end, free) + 0.075  # no name over another
        axes.text(1.01, place, label, transform=axes.transAxes, va="center", color=color(role))
    axes.set_xlim(right=len(next(iter(lines.values()))))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color=color("grid"))
    name_axes(axes, x, y)
    return figure


def paths(found: Explanation) -> Figure:
    """The units that the paths go through, layer by layer.

    A line is as thick as the sum of all paths through it is large; orange above 0, blue below.
    """
    figure, grid = new_figure(1, 1, 6.6, 4.2)
    axes = grid[0][0]
    ways = [[unit for unit in line.units if "preactivation" not in unit[0]] for line in found.lines]
    layers = [place for place, _ in reversed(ways[0])]
    heights = {
        place: {unit: i for i, unit in enumerate(sorted({way[-1 - at][1] for way in ways}))}
        for at, place in enumerate(layers)
    }

    def spot(at: int, unit: int) -> float:
        count = len(heights[layers[at]])
        return (count - 1) / 2 - heights[layers[at]][unit]

    through: dict[tuple[int, float, float], float] = {}
    for line, way in zip(found.lines, ways, strict=True):
        ys = [0.0, *(spot(at, unit) for at, (_, unit) in enumerate(reversed(way))), 0.0]
        for edge in zip(range(len(ys)), ys, ys[1:], strict=False):
            through[edge] = through.get(edge, 0.0) + line.product
    most = max(map(abs, through.values()))
    for (at, start, end), total in through.items():
        sign = color("positive" if total > 0 else "negative")
        axes.plot([at, at + 1], [start, end], color=sign, linewidth=0.4 + 7 * abs(total) / most)
    for at, place in enumerate(layers):
        for unit in heights[place]:
            axes.text(
                at + 1, spot(at, unit), str(unit), ha="center", va="center", fontsize=9,
                bbox={"boxstyle": "circle,pad=0.3", "facecolor": "white", "edgecolor": color("muted")},
            )  # fmt: skip
    for at, text in ((0, "weight"), (len(layers) + 1, "loss")):
        axes.text(
            at, 0, text, ha="center", va="center", bbox={"facecolor": "white", "edgecolor": color("muted")}
        )
    axes.set_xticks(range(len(layers) + 2), ["", *layers, ""])
    axes.set_yticks([])
    axes.set_xlim(-0.4, len(layers) + 1.4)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
