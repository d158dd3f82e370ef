"""The figures of the report. Each function returns markup for ``page.Figure``: a legend and an SVG picture.

A figure is drawn for a phone. With ``wide=True`` it is drawn again for a wide column, and the page shows the version
that fits. The functions only draw; they compute no statistics. Labels may contain any text. Screen readers read
``title`` in place of the picture. Every function raises InputError if Matplotlib is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.frozen import frozen
from glassgrad.report.drawing import (
    DASHES,
    NARROW,
    WIDE,
    Floats,
    Mark,
    draw_marks,
    floats,
    legend,
    name,
    picture,
    pictures,
    scale,
)
from glassgrad.report.svg import pen
from glassgrad.report.theme import SERIES, ordered
from glassgrad.report.words import number, percent, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL_LENGTH = 22


@frozen
class Line:
    """A line: ``y`` [points] over ``x`` (default: 1, 2, ...), with a band from ``low`` to ``high``.

    NaN leaves a gap. ``role`` is a role of ``theme.COLORS`` (default: the next series colour). ``dots`` marks the
    points.
    """

    label: str
    y: npt.ArrayLike
    x: npt.ArrayLike | None = None
    low: npt.ArrayLike | None = None
    high: npt.ArrayLike | None = None
    role: str | None = None
    dashed: bool = False
    dots: bool = False


@frozen
class Panel:
    """Lines over one y axis. ``share`` is the height relative to the other panels.

    ``in_order``: the lines have an order, such as layers, and their colours follow it. ``in_percent``: the values are
    fractions of 1.
    """

    lines: Sequence[Line]
    y_label: str = ""
    log_y: bool = False
    in_percent: bool = False
    in_order: bool = False
    from_zero: bool = False
    y_range: tuple[float | None, float | None] = (None, None)
    marks: Sequence[Mark] = ()
    share: float = 1.0


def line_figure(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    log_x: bool = False,
    log_y: bool = False,
    in_percent: bool = False,
    in_order: bool = False,
    from_zero: bool = False,
    whole_x: bool = False,
    marks: Sequence[Mark] = (),
    y_range: tuple[float | None, float | None] = (None, None),
    wide: bool = False,
) -> str:
    """One panel of lines (see ``Panel``). ``whole_x`` labels whole numbers only (epochs)."""
    panel = Panel(lines, y_label, log_y, in_percent, in_order, from_zero, y_range, marks)
    return panels([panel], title=title, x_label=x_label, log_x=log_x, whole_x=whole_x, wide=wide)


def panels(
    stack: Sequence[Panel],
    *,
    title: str,
    x_label: str = "",
    log_x: bool = False,
    whole_x: bool = False,
    wide: bool = False,
) -> str:
    """Stacked panels with a common x axis. Lines without a label are not in the legend."""

    def build(figure: Figure) -> None:
        shares = [panel.share for panel in stack]
        rows = figure.subplots(len(stack), 1, sharex=True, squeeze=False, height_ratios=shares)[:, 0]
        for axes, panel in zip(rows, stack, strict=True):
            _draw_panel(axes, panel, log_x, whole_x)
            name(axes, x_label if axes is rows[-1] else "", panel.y_label)

    lines = [line for panel in stack for line in panel.lines]
    styles = [style for panel in stack for style in _line_styles(panel)]
    entries = [(line.label, *style) for line, style in zip(lines, styles, strict=True) if line.label]
    height = sum(panel.share for panel in stack)
    sizes = (NARROW[0], NARROW[1] * height), (WIDE[0], WIDE[1] * height)
    return legend(entries if len(lines) > 1 else []) + pictures(build, title, wide, sizes)


def _line_styles(panel: Panel) -> list[tuple[str, Any]]:
    """The colour role and the dash pattern of every line."""
    count = len(panel.lines)
    roles = ordered(count) if panel.in_order else [SERIES[i % len(SERIES)] for i in range(count)]
    return [
        (line.role or roles[i], DASHES[1] if line.dashed else _dash(i, panel.in_order))
        for i, line in enumerate(panel.lines)
    ]


def _draw_panel(axes: Axes, panel: Panel, log_x: bool, whole_x: bool) -> None:
    log_y = panel.log_y
    for line, (role, dash) in zip(panel.lines, _line_styles(panel), strict=True):
        y = floats(line.y, positive=log_y)
        x = np.arange(1.0, len(y) + 1) if line.x is None else floats(line.x, positive=log_x)
        has_markers = line.dots or np.isfinite(y).sum() == 1
        markers: dict[str, Any] = {
            "marker": "o" if has_markers else "",
            "markersize": 4.5,
            "markeredgewidth": 0,
        }
        axes.plot(x, y, color=pen(role), linewidth=2.0, linestyle=dash, **markers)
        if line.low is not None and line.high is not None:
            low, high = floats(line.low, positive=log_y), floats(line.high, positive=log_y)
            axes.fill_between(x, low, high, color=pen(role), alpha=0.18, linewidth=0)
    scale(axes, "x", log_x, whole=whole_x)
    scale(axes, "y", log_y, in_percent=panel.in_percent, most=5 if panel.share > 0.6 else 2)
    axes.margins(x=0.02, y=0.08)
    write_marks = draw_marks(axes, panel.marks)
    bottom, top = panel.y_range
    if bottom is None and panel.from_zero and not log_y:
        bottom = 0.0
    if bottom is not None or top is not None:
        axes.set_ylim(bottom, top)
    axes.grid(axis="y")
    write_marks()


def histogram(
    edges: npt.ArrayLike,
    counts: Mapping[str, npt.ArrayLike],
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    log_x: bool = False,
    log_y: bool = False,
    marks: Sequence[Mark] = (),
    wide: bool = False,
) -> str:
    """Filled outlines of ``counts`` [bins], one for each label, between ``edges`` [bins + 1]."""
    bin_edges = np.asarray(edges, np.float64)
    entries = _solid_entries(counts)

    def build(axes: Axes) -> None:
        for (_, role, _), values in zip(entries, counts.values(), strict=True):
            heights = np.asarray(values, np.float64)
            axes.stairs(heights, bin_edges, fill=True, color=pen(role), alpha=0.22, linewidth=0)
            axes.stairs(heights, bin_edges, color=pen(role), linewidth=1.6)
        scale(axes, "x", log_x)
        scale(axes, "y", log_y)
        axes.margins(x=0)
        write_marks = draw_marks(axes, marks)
        if not log_y:
            axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        write_marks()
        name(axes, x_label, y_label)

    return _legend_of_several(entries) + picture(build, title, wide)


def bars(
    labels: Sequence[object],
    values: Mapping[str, npt.ArrayLike],
    *,
    title: str,
    x_label: str = "",
    in_percent: bool = False,
    in_order: bool = False,
    log_x: bool = False,
    show: Callable[[float], str] | None = None,
    roles: Sequence[str] | None = None,
    marks: Sequence[Mark] = (),
    x_range: tuple[float | None, float | None] = (None, None),
    wide: bool = False,
) -> str:
    """Horizontal bars with numbers: one group for each label, one bar in it for each entry of ``values`` [labels].

    The first label is at the top. ``roles`` gives each bar of a single series its own colour; ``in_order`` takes the
    colours from the ramp. On a log axis all bars start at the left edge. ``show`` formats a number.
    """
    series = {name: floats(item, positive=log_x) for name, item in values.items()}
    log_x = log_x and any(np.isfinite(item).any() for item in series.values())
    format_value = show or (percent if in_percent else number)
    entries = _solid_entries(series)
    bar_roles = list(roles) if roles is not None else (ordered(len(labels)) if in_order else None)
    thickness = 0.62 if len(series) == 1 else 0.78 / len(series)
    height = max(len(labels) * (26 if len(series) == 1 else 15 * len(series) + 12), 40)
    height += (38 if x_label else 16) + 6

    def build(axes: Axes) -> None:
        start = _start(list(series.values()), x_range[0]) if log_x else 0.0
        for i, ((_, role, _), numbers) in enumerate(zip(entries, series.values(), strict=True)):
            centers = _row_positions(len(labels), i, len(series), thickness)
            colors = [pen(item) for item in bar_roles] if bar_roles and len(series) == 1 else pen(role)
            axes.barh(centers, np.nan_to_num(numbers) - start, thickness * 0.92, left=start, color=colors)
            for center, value in zip(centers, numbers, strict=True):
                side = -1 if value < 0 else 1
                axes.annotate(
                    format_value(float(value)) if np.isfinite(value) else "–",
                    (value if np.isfinite(value) else start, center),
                    (5 * side, 0),
                    textcoords="offset points",
                    ha="right" if side < 0 else "left",
                    va="center_baseline",
                    fontsize=10.5,
                )
        scale(axes, "x", log_x, in_percent=in_percent)
        _name_rows(axes, labels, margin=0.55)
        axes.margins(x=0.16)
        write_marks = draw_marks(axes, marks)
        axes.set_xlim(*(start if log_x and x_range[0] is None else x_range[0], x_range[1]))
        if not log_x and min((np.nanmin(v, initial=0.0) for v in series.values()), default=0.0) < 0:
            axes.axvline(0, color=pen("muted"), linewidth=1)
        axes.spines["bottom"].set_visible(False)
        axes.grid(axis="x")
        write_marks()
        name(axes, x_label, "")

    sizes = ((NARROW[0], height), (WIDE[0], height))
    return _legend_of_several(entries) + picture(build, title, wide, sizes)


def ranges(
    labels: Sequence[object],
    spans: Mapping[str, npt.ArrayLike],
    *,
    title: str,
    x_label: str = "",
    log_x: bool = False,
    marks: Sequence[Mark] = (),
    wide: bool = False,
) -> str:
    """Ranges of values: for each label and entry of ``spans``, a thin bar, a thick bar inside it, and a dot.

    An entry has shape [labels, 5], such as the 5th, 25th, 50th, 75th and 95th percentile. The outer two values are
    the ends of the thin bar, the next two the ends of the thick bar, and the middle one is the dot.
    """
    series = {name: floats(item, positive=log_x) for name, item in spans.items()}
    entries = _solid_entries(series)
    spacing = 0.62 / max(len(series), 1)
    height = len(labels) * (14 * len(series) + 16) + (38 if x_label else 16) + 6

    def build(axes: Axes) -> None:
        for i, ((_, role, _), values) in enumerate(zip(entries, series.values(), strict=True)):
            centers = _row_positions(len(labels), i, len(series), spacing)
            color = pen(role)
            axes.hlines(centers, values[:, 0], values[:, 4], color=color, linewidth=2, alpha=0.55)
            axes.hlines(centers, values[:, 1], values[:, 3], color=color, linewidth=7)
            axes.plot(
                values[:, 2],
                centers,
                linestyle="",
                marker="o",
                markersize=6.5,
                color=pen("card"),
                markeredgecolor=color,
                markeredgewidth=2,
            )
        scale(axes, "x", log_x)
        _name_rows(axes, labels, margin=0.6)
        axes.grid(axis="x")
        axes.spines["bottom"].set_visible(False)
        draw_marks(axes, marks)()
        name(axes, x_label, "")

    sizes = ((NARROW[0], height), (WIDE[0], height))
    return _legend_of_several(entries) + picture(build, title, wide, sizes)


def scatter(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    diagonal: str = "",
    log_x: bool = False,
    log_y: bool = False,
    marks: Sequence[Mark] = (),
    most: int = 600,
    wide: bool = False,
) -> str:
    """Points. ``diagonal`` is the label of the line x = y. At most ``most`` evenly spaced points are drawn."""
    xs, ys = floats(x, positive=log_x), floats(y, positive=log_y)
    shown = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), most)).astype(np.int64))
    xs, ys = xs[shown], ys[shown]

    def build(axes: Axes) -> None:
        is_dense = len(xs) > 150
        axes.plot(
            xs,
            ys,
            linestyle="",
            marker="o",
            markersize=3.6 if is_dense else 5,
            color=pen("series_1"),
            alpha=0.4 if is_dense else 0.7,
            markeredgewidth=0,
        )
        scale(axes, "x", log_x)
        scale(axes, "y", log_y)
        if diagonal:
            axes.axline((0.0, 0.0), slope=1, color=pen("muted"), linewidth=1.2, dashes=(4, 3), zorder=0)
        axes.grid()
        draw_marks(axes, marks)()
        name(axes, x_label, y_label)

    entries = [("one row", "series_1", "dot"), (diagonal, "muted", DASHES[1])] if diagonal else []
    return legend(entries) + picture(build, title, wide, ((NARROW[0], 320), (WIDE[0], 380)))


def _solid_entries(labels: Iterable[str]) -> list[tuple[str, str, str]]:
    """Legend entries (label, role, dash) of series with solid lines in different colours."""
    return [(label, SERIES[i % len(SERIES)], "-") for i, label in enumerate(labels)]


def _legend_of_several(entries: Sequence[tuple[str, str, Any]]) -> str:
    """A legend, or nothing for a single series."""
    return legend(entries if len(entries) > 1 else [])


def _row_positions(rows: int, index: int, count: int, spacing: float) -> Floats:
    """The vertical positions [rows] of series ``index`` of ``count``; the series are centred on each row."""
    positions: Floats = np.arange(rows, dtype=np.float64) + (index - (count - 1) / 2) * spacing
    return positions


def _name_rows(axes: Axes, labels: Sequence[object], margin: float) -> None:
    """Write the labels at the left, the first at the top, with ``margin`` above the first and below the last row."""
    axes.set_yticks(range(len(labels)), [short(label, _LABEL_LENGTH) for label in labels])
    axes.tick_params(axis="y", labelcolor=pen("ink"))
    axes.set_ylim(len(labels) - 1 + margin, -margin)


def _dash(index: int, in_order: bool) -> Any:
    """The dash pattern of line ``index``. Lines that share a colour have different patterns."""
    return "-" if in_order else DASHES[index // len(SERIES) % len(DASHES)]


def _start(series: Sequence[Floats], fixed_start: float | None) -> float:
    """The left end of the bars on a log axis: ``fixed_start``, or a power of ten below the shortest bar."""
    if fixed_start is not None:
        return fixed_start
    lowest = min((float(np.nanmin(v)) for v in series if np.isfinite(v).any()), default=1.0)
    return float(10.0 ** np.floor(np.log10(lowest) - 0.3))
