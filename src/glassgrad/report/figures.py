"""The figures of the report. Each function returns markup for ``page.Figure``: a legend and an SVG picture.

A figure is drawn for a phone; with ``wide=True`` it is drawn a second time for a wide column, and the page shows the
one that fits. Nothing is computed here: numbers come as they are shown. Labels may hold anything. ``title`` is read
out by screen readers, in place of the picture. Every function raises InputError where Matplotlib is not installed.
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
    """A line: ``y`` [points], over ``x`` (default: 1, 2, ...), with a band from ``low`` to ``high``.

    NaN leaves a gap. ``role`` is a role of ``theme.COLORS`` (default: the next one). ``dots`` marks the points.
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
    """Lines over an axis of their own. ``share`` is its part of the height.

    ``in_order``: the lines have an order (layers), which their colours show. ``in_percent`` takes shares (1 is all).
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
    """Panels one above the other, over one horizontal axis. A line without a label is not in the legend."""

    def build(figure: Figure) -> None:
        shares = [panel.share for panel in stack]
        rows = figure.subplots(len(stack), 1, sharex=True, squeeze=False, height_ratios=shares)[:, 0]
        for axes, panel in zip(rows, stack, strict=True):
            _draw_panel(axes, panel, log_x, whole_x)
            name(axes, x_label if axes is rows[-1] else "", panel.y_label)

    lines = [line for panel in stack for line in panel.lines]
    looks = [look for panel in stack for look in _looks(panel)]
    entries = [(line.label, *look) for line, look in zip(lines, looks, strict=True) if line.label]
    taller = sum(panel.share for panel in stack)
    sizes = (NARROW[0], NARROW[1] * taller), (WIDE[0], WIDE[1] * taller)
    return legend(entries if len(lines) > 1 else []) + pictures(build, title, wide, sizes)


def _looks(panel: Panel) -> list[tuple[str, Any]]:
    """The role and the dash of every line."""
    count = len(panel.lines)
    roles = ordered(count) if panel.in_order else [SERIES[i % len(SERIES)] for i in range(count)]
    return [
        (line.role or roles[i], DASHES[1] if line.dashed else _dash(i, panel.in_order))
        for i, line in enumerate(panel.lines)
    ]


def _draw_panel(axes: Axes, panel: Panel, log_x: bool, whole_x: bool) -> None:
    log_y = panel.log_y
    for line, (role, dash) in zip(panel.lines, _looks(panel), strict=True):
        y = floats(line.y, positive=log_y)
        x = np.arange(1.0, len(y) + 1) if line.x is None else floats(line.x, positive=log_x)
        alone = line.dots or np.isfinite(y).sum() == 1
        look: dict[str, Any] = {"marker": "o" if alone else "", "markersize": 4.5, "markeredgewidth": 0}
        axes.plot(x, y, color=pen(role), linewidth=2.0, linestyle=dash, **look)
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
    """``counts`` [bins] by label, as filled outlines between ``edges`` [bins + 1]."""
    at = np.asarray(edges, np.float64)
    looks = _solid(counts)

    def build(axes: Axes) -> None:
        for (_, role, _), values in zip(looks, counts.values(), strict=True):
            heights = np.asarray(values, np.float64)
            axes.stairs(heights, at, fill=True, color=pen(role), alpha=0.22, linewidth=0)
            axes.stairs(heights, at, color=pen(role), linewidth=1.6)
        scale(axes, "x", log_x)
        scale(axes, "y", log_y)
        axes.margins(x=0)
        write_marks = draw_marks(axes, marks)
        if not log_y:
            axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        write_marks()
        name(axes, x_label, y_label)

    return _legend_of_several(looks) + picture(build, title, wide)


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
    """Horizontal bars with their numbers: one group per label, one bar in it per entry of ``values`` [labels].

    The first label is on top. ``roles`` gives every bar of a single series its own colour (``in_order``: that of
    the ramp). On a log axis every bar begins at the left edge.
    """
    series = {name: floats(item, positive=log_x) for name, item in values.items()}
    log_x = log_x and any(np.isfinite(item).any() for item in series.values())
    say = show or (percent if in_percent else number)
    looks = _solid(series)
    own = list(roles) if roles is not None else (ordered(len(labels)) if in_order else None)
    thick = 0.62 if len(series) == 1 else 0.78 / len(series)
    height = max(len(labels) * (26 if len(series) == 1 else 15 * len(series) + 12), 40)
    height += (38 if x_label else 16) + 6

    def build(axes: Axes) -> None:
        start = _start(list(series.values()), x_range[0]) if log_x else 0.0
        for i, ((_, role, _), numbers) in enumerate(zip(looks, series.values(), strict=True)):
            places = _beside(len(labels), i, len(series), thick)
            colors = [pen(item) for item in own] if own and len(series) == 1 else pen(role)
            axes.barh(places, np.nan_to_num(numbers) - start, thick * 0.92, left=start, color=colors)
            for place, value in zip(places, numbers, strict=True):
                side = -1 if value < 0 else 1
                axes.annotate(
                    say(float(value)) if np.isfinite(value) else "–",
                    (value if np.isfinite(value) else start, place),
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
    return _legend_of_several(looks) + picture(build, title, wide, sizes)


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
    """Where most values lie: per label and entry of ``spans`` a thin bar, a thick bar in it, and a dot.

    An entry has shape [labels, 5]: ends of the thin bar, of the thick bar, and the dot, all in rising order (such
    as the 5th, 25th, 50th, 75th and 95th percentile).
    """
    series = {name: floats(item, positive=log_x) for name, item in spans.items()}
    looks = _solid(series)
    apart = 0.62 / max(len(series), 1)
    height = len(labels) * (14 * len(series) + 16) + (38 if x_label else 16) + 6

    def build(axes: Axes) -> None:
        for i, ((_, role, _), values) in enumerate(zip(looks, series.values(), strict=True)):
            places = _beside(len(labels), i, len(series), apart)
            color = pen(role)
            axes.hlines(places, values[:, 0], values[:, 4], color=color, linewidth=2, alpha=0.55)
            axes.hlines(places, values[:, 1], values[:, 3], color=color, linewidth=7)
            axes.plot(
                values[:, 2],
                places,
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
    return _legend_of_several(looks) + picture(build, title, wide, sizes)


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
    """Points; ``diagonal`` names the line x = y. Of more than ``most`` points, evenly spaced ones are shown."""
    xs, ys = floats(x, positive=log_x), floats(y, positive=log_y)
    shown = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), most)).astype(np.int64))
    xs, ys = xs[shown], ys[shown]

    def build(axes: Axes) -> None:
        many = len(xs) > 150
        axes.plot(
            xs,
            ys,
            linestyle="",
            marker="o",
            markersize=3.6 if many else 5,
            color=pen("series_1"),
            alpha=0.4 if many else 0.7,
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


def _solid(labels: Iterable[str]) -> list[tuple[str, str, str]]:
    """The looks of several series, each in a colour of its own."""
    return [(label, SERIES[i % len(SERIES)], "-") for i, label in enumerate(labels)]


def _legend_of_several(looks: Sequence[tuple[str, str, Any]]) -> str:
    return legend(looks if len(looks) > 1 else [])


def _beside(rows: int, number: int, count: int, apart: float) -> Floats:
    """Where the series ``number`` of ``count`` lies in each row, so that all are centred on the row."""
    places: Floats = np.arange(rows, dtype=np.float64) + (number - (count - 1) / 2) * apart
    return places


def _name_rows(axes: Axes, labels: Sequence[object], margin: float) -> None:
    """Write the labels to the left, the first on top; ``margin`` is left above it and below the last."""
    axes.set_yticks(range(len(labels)), [short(label, _LABEL_LENGTH) for label in labels])
    axes.tick_params(axis="y", labelcolor=pen("ink"))
    axes.set_ylim(len(labels) - 1 + margin, -margin)


def _dash(position: int, in_order: bool) -> Any:
    """Beyond the number of colours, the dashes tell lines apart."""
    return "-" if in_order else DASHES[position // len(SERIES) % len(DASHES)]


def _start(series: Sequence[Floats], given: float | None) -> float:
    """Where the bars of a log axis begin: a power of ten below the shortest."""
    if given is not None:
        return given
    lowest = min((float(np.nanmin(v)) for v in series if np.isfinite(v).any()), default=1.0)
    return float(10.0 ** np.floor(np.log10(lowest) - 0.3))
