"""The look of the pictures of five-questions.md; five_questions.py computes their contents."""

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
    """Set the Matplotlib options that all pictures share."""
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
    """The color of ``role`` on the pages of Glassgrad, for a light background."""
    return COLORS[role][0]


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """A figure of ``width`` by ``height`` inches, and its axes [rows][columns]."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns, squeeze=False)


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Label both axes, and hide the border at the top and on the right."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)


def image(axes: Axes, values: Any, heading: str, bound: float | None) -> None:
    """An image in grey, or with a ``bound`` one of signed numbers: orange above 0, blue below."""
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
    """Lines over 1, 2, ..., each labelled at its end, with dashed lines at y = ``level`` and x = ``mark``."""
    figure, grid = new_figure(1, 1, 6.6, 3.4)
    axes = grid[0][0]
    roles = ["series_1", "series_3", "series_2"] if len(lines) == 3 else ["series_1", "series_2"]
    axes.set_yscale("log" if log else "linear")
    if level is not None:
        axes.axhline(level, color=color("muted"), linestyle=(0, (3, 3)), linewidth=1, zorder=1)
    if mark is not None:
        axes.axvline(mark, color=color("muted"), linestyle=(0, (3, 3)), linewidth=1, zorder=1)
    for values, role in zip(lines.values(), roles, strict=True):
        x_values = np.arange(1, len(values) + 1)
        marker = "o" if len(values) < 12 else ""
        axes.plot(
            x_values, values, color=color(role), linewidth=2, marker=marker, markersize=4, clip_on=False
        )
    axes.get_ylim()  # fix the scale by the lines drawn so far
    next_free = 0.0
    for (label, values), role in sorted(
        zip(lines.items(), roles, strict=True), key=lambda item: item[0][1][-1]
    ):
        end = axes.transAxes.inverted().transform(axes.transData.transform((1.0, values[-1])))[1]
        height = max(end, next_free)
        next_free = height + 0.075  # labels must not overlap
        axes.text(1.01, height, label, transform=axes.transAxes, va="center", color=color(role))
    axes.set_xlim(right=len(next(iter(lines.values()))))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color=color("grid"))
    name_axes(axes, x, y)
    return figure


def paths(explanation: Explanation) -> Figure:
    """The units on the paths, layer by layer.

    The width of a line is proportional to the sum of all paths through it; orange above 0, blue below.
    """
    figure, grid = new_figure(1, 1, 6.6, 4.2)
    axes = grid[0][0]
    unit_paths = [
        [unit for unit in line.units if "preactivation" not in unit[0]] for line in explanation.lines
    ]
    layers = [place for place, _ in reversed(unit_paths[0])]
    heights = {
        place: {unit: i for i, unit in enumerate(sorted({units[-1 - at][1] for units in unit_paths}))}
        for at, place in enumerate(layers)
    }

    def vertical(at: int, unit: int) -> float:
        count = len(heights[layers[at]])
        return (count - 1) / 2 - heights[layers[at]][unit]

    edge_sums: dict[tuple[int, float, float], float] = {}
    for line, units in zip(explanation.lines, unit_paths, strict=True):
        ys = [0.0, *(vertical(at, unit) for at, (_, unit) in enumerate(reversed(units))), 0.0]
        for edge in zip(range(len(ys)), ys, ys[1:], strict=False):
            edge_sums[edge] = edge_sums.get(edge, 0.0) + line.product
    largest = max(map(abs, edge_sums.values()))
    for (at, start, end), total in edge_sums.items():
        sign = color("positive" if total > 0 else "negative")
        axes.plot([at, at + 1], [start, end], color=sign, linewidth=0.4 + 7 * abs(total) / largest)
    for at, place in enumerate(layers):
        for unit in heights[place]:
            axes.text(
                at + 1, vertical(at, unit), str(unit), ha="center", va="center", fontsize=9,
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
