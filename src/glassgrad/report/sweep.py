"""The figure of a sweep: validation loss against learning rate."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glassgrad.report.svg import load_figure
from glassgrad.training.sweep import Point, best

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# M. Okabe and K. Ito, Color universal design, 2008: distinguishable with every kind of colour vision.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("-", "--", ":", "-.")
RATE = "learning_rate"
TALLEST = 30
"""The largest loss in the picture, as a multiple of the median of the means."""


def draw_sweep(ranked: Sequence[Point], title: str = "") -> Figure:
    """One line for each combination of the other options: the mean over the seeds, in a band from minimum to maximum.

    ``ranked`` are the points of a sweep, best first. Runs that diverged are crosses at the upper edge. A ring marks
    the best point. Raises InputError if Matplotlib is not installed.
    """
    figure = load_figure()(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.add_subplot()
    lines: dict[str, list[Point]] = {}
    for point in ranked:
        lines.setdefault(_label(point.options, ranked), []).append(point)
    axes.set_xscale("log")
    if all(value > 0 for point in ranked for value in point.values("loss")):
        axes.set_yscale("log")
    for number, (label, members) in enumerate(lines.items()):
        style = {
            "color": COLORS[number % len(COLORS)],
            "linestyle": DASHES[number // len(COLORS) % len(DASHES)],
        }
        _draw_line(axes, sorted(members, key=lambda point: float(point.options[RATE])), label, style)
    _draw_best(axes, ranked)
    _limit_height(axes, ranked)
    _draw_divergence(axes, lines)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation loss")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=10)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=9)
    return figure


def pictures(figure: Figure, stem: str) -> dict[str, bytes]:
    """``figure`` as an SVG file and a PNG file (1,125 x 690 pixels), by name. Equal figures give equal bytes."""
    from matplotlib import rc_context

    files = {}
    with rc_context({"svg.hashsalt": stem, "svg.fonttype": "none"}):
        for form, metadata in (("svg", {"Date": None}), ("png", {})):
            content = io.BytesIO()
            figure.savefig(content, format=form, dpi=150, metadata=metadata)
            files[f"{stem}.{form}"] = content.getvalue()
    return files


def _label(options: Mapping[str, Any], ranked: Sequence[Point]) -> str:
    """The options in which the lines differ, or the init if they differ in none."""
    names = [
        name for name in options if name != RATE and len({repr(point.options[name]) for point in ranked}) > 1
    ]
    names = names or [name for name in ("init",) if name in options]
    return ", ".join(
        f"{'' if name == 'init' else name.replace('_', ' ') + ' '}{options[name]}" for name in names
    )


def _draw_line(axes: Axes, members: Sequence[Point], label: str, style: Mapping[str, Any]) -> None:
    shown = [point for point in members if point.values("loss")]
    rates = [float(point.options[RATE]) for point in shown]
    values = [point.values("loss") for point in shown]
    means = [point.mean("loss") or 0.0 for point in shown]
    axes.plot(rates, means, marker="o", markersize=3.5, linewidth=1.5, label=label, **style)
    if any(len(item) > 1 for item in values):
        axes.fill_between(
            rates, [min(item) for item in values], [max(item) for item in values], alpha=0.15, **style
        )


def _draw_divergence(axes: Axes, lines: Mapping[str, Sequence[Point]]) -> None:
    in_legend = False
    for number, members in enumerate(lines.values()):
        rates = [float(point.options[RATE]) for point in members if point.diverged]
        if rates:
            axes.plot(
                rates,
                [1 - 0.035 * number]
                * len(rates),  # a fraction of the height of the axes: one row of crosses for each combination
                marker="x",
                linestyle="none",
                color=COLORS[number % len(COLORS)],
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                label=None if in_legend else "a run met NaN or Inf",
            )
            in_legend = True


def _draw_best(axes: Axes, ranked: Sequence[Point]) -> None:
    point = best(ranked)
    if point is None:
        return
    rate, mean = float(point.options[RATE]), point.mean("loss") or 0.0
    axes.plot([rate], [mean], marker="o", markersize=10, fillstyle="none", color="black", linestyle="none")
    axes.annotate(
        f"best: {rate:.3g}", (rate, mean), (0, -18), textcoords="offset points", ha="center", fontsize=9
    )
    axes.margins(y=0.15)


def _limit_height(axes: Axes, ranked: Sequence[Point]) -> None:
    """Cut off very large losses, which would flatten all other lines."""
    means = sorted(mean for point in ranked if (mean := point.mean("loss")) is not None)
    if not means:
        return
    median = means[len(means) // 2]
    if 0 < TALLEST * median < means[-1]:
        axes.set_ylim(top=TALLEST * median)
