"""What all figures share: size and legend, scales with few ticks in plain numbers, marks and names."""

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

MOST = 1e100  # Matplotlib's own sums overflow some way beyond
NARROW: Size = (360, 235)
WIDE: Size = (900, 300)
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


@dataclass(frozen=True)
class Mark:
    """A thin dashed line across the picture at ``x`` or at ``y``, with a few words beside it."""

    label: str
    x: float | None = None
    y: float | None = None
    role: str = "muted"


def picture(
    build: Callable[[Axes], None], title: str, wide: bool, sizes: tuple[Size, Size] = (NARROW, WIDE)
) -> str:
    """The picture for a phone, and with ``wide`` also that for a wide column."""
    return pictures(lambda figure: build(figure.add_subplot()), title, wide, sizes)


def pictures(
    build: Callable[[Figure], None], title: str, wide: bool, sizes: tuple[Size, Size] = (NARROW, WIDE)
) -> str:
    """The same where ``build`` divides the figure among axes of its own."""
    if not wide:
        return draw(build, sizes[0], title)
    narrow, broad = (draw(build, size, title) for size in sizes)
    return f'<div class="narrow">{narrow}</div><div class="broad">{broad}</div>'


def legend(entries: Sequence[tuple[str, str, Any]]) -> str:
    """A legend as text beside the picture, so that it wraps on a phone."""
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
    """``values`` with NaN where nothing can be drawn; what is beyond all measure cannot."""
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
    """At most ``most`` ticks or so, in plain numbers; no logarithms of nothing."""
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
    say = percent if in_percent else number
    axis.set_major_formatter(FuncFormatter(lambda value, _: say(float(value))))


def thin_ticks(axis: Axis, names: Sequence[str], most: int) -> None:
    """A tick at every cell, or at every few where there are many."""
    step = -(-len(names) // most)
    axis.set_ticks(list(range(0, len(names), step)), labels=list(names[::step]))


def draw_marks(axes: Axes, marks: Sequence[Mark]) -> Callable[[], None]:
    """Draw the lines of ``marks`` behind the data; gives what writes their words, once the axes have their limits."""
    logs = {"x": axes.get_xscale() == "log", "y": axes.get_yscale() == "log"}
    shown = [
        mark
        for mark in marks
        if not any(
            value is not None and np.isnan(floats(value, positive=logs[axis]))
            for axis, value in (("x", mark.x), ("y", mark.y))
        )
    ]
    for mark in shown:
        look: dict[str, Any] = {"color": pen(mark.role), "linewidth": 1.2, "dashes": (4, 3), "zorder": 1.5}
        if mark.y is not None:
            axes.axhline(mark.y, **look)
        elif mark.x is not None:
            axes.axvline(mark.x, **look)

    def write() -> None:
        for mark in shown:
            words: dict[str, Any] = {"fontsize": 10.5, "color": pen(mark.role), "annotation_clip": True}
            if mark.y is not None:
                height = axes.transLimits.transform((0, axes.transScale.transform((1, mark.y))[1]))[1]
                place: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "ha": "right"}
                place["va"], up = ("top", -4) if height > 0.85 else ("bottom", 3)
                axes.annotate(mark.label, (1, mark.y), (0, up), textcoords="offset points", **place, **words)
            elif mark.x is not None:
                along = axes.transLimits.transform((axes.transScale.transform((mark.x, 1))[0], 0))[0]
                side = "left" if along < 0.12 else "right" if along > 0.88 else "center"
                place = {"xycoords": axes.get_xaxis_transform(), "ha": side}
                axes.annotate(mark.label, (mark.x, 1), (0, 3), textcoords="offset points", **place, **words)

    return write


def name(axes: Axes, x_label: str, y_label: str) -> None:
    """Names of the axes; that of the upright one lies above it, where it needs no turned head."""
    axes.set_xlabel(x_label)
    if y_label:
        axes.set_title(" ", y=1.0, pad=8)  # room for it
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
