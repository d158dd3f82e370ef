"""Parts that all figures share: sizes, legends, axis scales and ticks, marks, and axis labels."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from glassgrad.report.svg import Size, draw, pen
from glassgrad.report.theme import variable
from glassgrad.report.words import number, percent, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

MOST = 1e100
"""The largest magnitude that is drawn. Much larger values overflow inside Matplotlib."""
NARROW: Size = (360, 235)
WIDE: Size = (900, 300)
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


@dataclass(frozen=True)
class Mark:
    """A thin dashed line across the figure at ``x`` or at ``y``, with a short label."""

    label: str
    x: float | None = None
    y: float | None = None
    role: str = "muted"


def picture(
    build: Callable[[Axes], None], title: str, wide: bool, sizes: tuple[Size, Size] = (NARROW, WIDE)
) -> str:
    """Draw a figure with one set of axes: for a phone, and with ``wide`` also for a wide column."""
    return pictures(lambda figure: build(figure.add_subplot()), title, wide, sizes)


def pictures(
    build: Callable[[Figure], None], title: str, wide: bool, sizes: tuple[Size, Size] = (NARROW, WIDE)
) -> str:
    """Like ``picture``, but ``build`` creates the axes of the figure itself."""
    if not wide:
        return draw(build, sizes[0], title)
    narrow, broad = (draw(build, size, title) for size in sizes)
    return f'<div class="narrow">{narrow}</div><div class="broad">{broad}</div>'


def legend(entries: Sequence[tuple[str, str, Any]]) -> str:
    """A legend as HTML above the picture, so that it wraps on a phone. ``entries`` are (label, role, dash)."""
    items = []
    for label, role, dash in entries:
        pattern = (
            "" if isinstance(dash, str) else f' stroke-dasharray="{" ".join(str(2 * n) for n in dash[1])}"'
        )
        shape = (
            f'<circle cx="11" cy="5" r="4" style="fill:{variable(role)}"/>'
            if dash == "dot"
            else f'<path d="M2 5H20" stroke-width="3" style="stroke:{variable(role)}"{pattern}/>'
        )
        swatch = f'<svg class="swatch" viewBox="0 0 22 10" aria-hidden="true">{shape}</svg>'
        items.append(f"<li>{swatch}{html.escape(short(label, 40))}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>' if items else ""


def floats(values: npt.ArrayLike, positive: bool = False) -> Floats:
    """``values`` with NaN in place of what cannot be drawn: magnitudes of ``MOST`` or more, infinities, NaN.

    ``positive`` also excludes values of at most 1 / ``MOST``, as a log axis needs.
    """
    array = np.array(values, np.float64)
    array[~(np.abs(array) < MOST)] = np.nan
    if positive:
        array[~(array > 1 / MOST)] = np.nan
    return array


def scale(
    axes: Axes,
    which: Literal["x", "y"],
    log: bool,
    in_percent: bool = False,
    whole: bool = False,
    most: int = 5,
) -> None:
    """Set the scale of one axis and about ``most`` ticks. An axis without positive data stays linear."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_data_interval()
    if log and 0 < low <= high:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        few_powers = low < high < 150 * low
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few_powers else (1.0,), numticks=most + 1))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(nbins=most, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    format_value = percent if in_percent else number
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_value(float(value))))


def thin_ticks(axis: Axis, names: Sequence[str], most: int) -> None:
    """Set ticks at evenly spaced cells, at most ``most`` of them."""
    step = -(-len(names) // most)
    axis.set_ticks(list(range(0, len(names), step)), labels=list(names[::step]))


def draw_marks(axes: Axes, marks: Sequence[Mark]) -> Callable[[], None]:
    """Draw the lines of ``marks`` behind the data. Returns a function that writes their labels.

    Call that function after the limits of the axes are set, because the position of a label depends on them.
    """
    is_log = {"x": axes.get_xscale() == "log", "y": axes.get_yscale() == "log"}
    shown = [
        mark
        for mark in marks
        if not any(
            value is not None and np.isnan(floats(value, positive=is_log[axis]))
            for axis, value in (("x", mark.x), ("y", mark.y))
        )
    ]
    for mark in shown:
        style: dict[str, Any] = {"color": pen(mark.role), "linewidth": 1.2, "dashes": (4, 3), "zorder": 1.5}
        if mark.y is not None:
            axes.axhline(mark.y, **style)
        elif mark.x is not None:
            axes.axvline(mark.x, **style)

    def write() -> None:
        for mark in shown:
            style: dict[str, Any] = {"fontsize": 10.5, "color": pen(mark.role), "annotation_clip": True}
            style["textcoords"] = "offset points"
            if mark.y is not None:  # at the right edge, on the side of the line that has room
                height = axes.transLimits.transform((0, axes.transScale.transform((1, mark.y))[1]))[1]
                align: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "ha": "right"}
                align["va"], offset = ("top", -4) if height > 0.85 else ("bottom", 3)
                axes.annotate(mark.label, (1, mark.y), (0, offset), **align, **style)
            elif mark.x is not None:  # above the axes
                across = axes.transLimits.transform((axes.transScale.transform((mark.x, 1))[0], 0))[0]
                side = "left" if across < 0.12 else "right" if across > 0.88 else "center"
                align = {"xycoords": axes.get_xaxis_transform(), "ha": side}
                axes.annotate(mark.label, (mark.x, 1), (0, 3), **align, **style)

    return write


def name(axes: Axes, x_label: str, y_label: str) -> None:
    """Label the axes. The label of the y axis is horizontal, above the axis."""
    axes.set_xlabel(x_label)
    if y_label:
        axes.set_title(" ", y=1.0, pad=8)  # reserves space for the label
        label = axes.annotate(
            y_label,
            (0, 1),
            (1, 11),
            xycoords=("figure fraction", "axes fraction"),
            textcoords="offset points",
            color=pen("muted"),
            annotation_clip=False,
        )
        label.set_in_layout(False)
