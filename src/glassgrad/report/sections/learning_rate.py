"""Is the step right? Figures: the loss against the rate, the largest stable rate, and the updates of each layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.diagnosis.learning_rate.measurement import LearningRate
from glassgrad.report import lens_pictures, run_pictures
from glassgrad.report.drawing import Mark
from glassgrad.report.figures import Line, bars, line_figure
from glassgrad.report.page import Block, Details, Facts, Figure, Table, Text
from glassgrad.report.words import number, plural
from glassgrad.training.run import Run

Floats = npt.NDArray[np.float64]

HIGHEST = 1.6
"""Losses are cut off at this multiple of the constant guess's loss, so that divergence does not set the scale."""


def draw(measured: LearningRate, run: Run) -> list[Block]:
    """The blocks of the section. ``run`` is the run with lenses in which ``measured`` was measured."""
    blocks: list[Block] = [_idea(measured, run), *_limits(measured), *_loss_by_rate(measured)]
    blocks += run_pictures.loss_curves(run, measured.constant)
    if run.lenses is not None:
        blocks += lens_pictures.update_ratios(run.lenses)
    blocks += _tables(measured)
    return blocks


def _idea(m: LearningRate, run: Run) -> Text:
    """The role of the learning rate, with the measured numbers."""
    per_epoch = plural(m.per_epoch, "step")
    text = (
        f"Each step computes the gradient on {plural(min(m.batch, m.rows), 'row')} and moves every weight a little "
        f"in the direction in which the loss falls: {per_epoch} per epoch. The learning rate, {number(m.rate)}, sets "
        "how far."
    )
    ratios = {layer: ratio for layer, ratio in m.ratios.items() if ratio > 0}
    if ratios:
        layer, ratio = next(iter(ratios.items()))
        if ratio < 1:
            text += (
                f" Here a typical step changes the weights of {layer} by {number(100 * ratio)}% of their size: "
                f"{number(1 / ratio, 2)} such steps in the same direction would add up to the weights themselves."
            )
        else:
            text += (
                f" Here a typical step changes the weights of {layer} by {number(ratio)} times their size, which "
                "erases what they had learned."
            )
    return Text(text)


def _limits(m: LearningRate) -> list[Block]:
    """The given rate beside the limits from experiments and from the curvature."""
    rows: list[tuple[str, float]] = [("given", m.rate)]
    if m.range is not None:
        rows.append((f"best for {m.range.steps:,} steps", m.range.best))
    if m.stable is not None:
        rows.append(("largest stable rate", m.stable.rate))
    rows += [(f"curvature bound, {when}", curvature.bound) for when, curvature in m.curvature.items()]
    shown = [(label, value) for label, value in rows if math.isfinite(value) and value > 0]
    if len(shown) < 2:
        return []
    labels, values = zip(*shown, strict=True)
    svg = bars(
        labels,
        {"learning rate": list(values)},
        title="The given learning rate and its limits",
        log_x=True,
        show=number,
        roles=["series_1" if label == "given" else "series_2" for label in labels],
    )
    caption = "The axis is logarithmic. "
    if m.stable is not None:
        low, high = m.stable.interval
        caption += (
            f"The largest stable rate was found by bisection with {plural(len(m.stable.limits), 'seed')}: it lies "
            f"between {number(low)}, which still learned, and {number(high)}, which did not. "
        )
    if m.curvature:
        caption += (
            "The curvature bound is the largest rate that is stable if the curvature of the loss stays as it is. "
            "Networks often tolerate more, because the curvature changes during training."
        )
    return [Figure(svg, caption.strip(), "How close is the limit?")]


def _loss_by_rate(m: LearningRate) -> list[Block]:
    """The final loss of runs with other rates."""
    lines = []
    if m.range is not None:
        lines.append(_line(f"training, {m.range.steps:,} steps", m.range.rates, m.range.losses, m.constant))
    if m.sweep is not None:
        name = "validation, whole runs"
        lines.append(_line(name, m.sweep.rates, m.sweep.validation, m.constant, dots=True))
    if not lines:
        return []
    values = np.concatenate([np.asarray(line.y) for line in lines])
    values = values[np.isfinite(values)]
    log = len(values) > 0 and values.min() > 0 and values.max() > 30 * values.min()
    marks = [Mark("best constant guess", y=m.constant)]
    if m.rate > 0:
        marks.append(Mark("given", x=m.rate, role="ink"))
    svg = line_figure(
        lines,
        title="Loss against the learning rate",
        x_label="learning rate",
        y_label="loss",
        log_x=True,
        log_y=log,
        marks=marks,
    )
    caption = (
        "Each point is a separate training run; the band covers several seeds. At the left the steps are too small "
        "to make progress, at the right they are too large. Choose a rate at the bottom of the curve."
    )
    return [Figure(svg, caption, "Other learning rates")]


def _line(label: str, rates: Floats, losses: Floats, constant: float, dots: bool = False) -> Line:
    """The median over the seeds with a band from minimum to maximum, cut off at ``HIGHEST``.

    ``rates`` [rates], ``losses`` [rates, seeds].
    """
    top = HIGHEST * constant if constant > 0 else math.inf
    low, middle, high = (np.minimum(f(losses, axis=1), top) for f in (np.min, np.median, np.max))
    gap = ~np.isfinite(middle)
    low, middle, high = (np.where(gap, np.nan, side) for side in (low, middle, high))
    return Line(label, middle, rates, low, np.where(np.isfinite(high), high, middle), dots=dots)


def _tables(m: LearningRate) -> list[Block]:
    blocks: list[Block] = []
    facts: list[tuple[str, Any, str]] = [("given rate", m.rate, m.optimizer)]
    if m.stable is not None:
        low, high = m.stable.interval
        facts.append(("largest stable rate", m.stable.rate, f"{number(low)} to {number(high)}"))
    if m.suggestion is not None and m.suggested is not None:
        note = f"validation loss {number(m.suggested[1])} in a trial"
        if m.suggestion != m.rate:
            given = m.suggested[0]
            note += (
                f", {number(given)} with the given rate"
                if math.isfinite(given)
                else "; the given rate diverges"
            )
        facts.append(("suggested rate", m.suggestion, note))
    blocks.append(Facts(facts))
    inner: list[Block] = []
    if m.sweep is not None:
        whole_runs = [
            [float(rate), float(np.mean(validation)), float(np.mean(training))]
            for rate, validation, training in zip(
                m.sweep.rates, m.sweep.validation, m.sweep.training, strict=True
            )
        ]
        inner.append(Table(["rate", "validation loss", "training loss"], whole_runs, "Whole runs: means"))
    if m.range is not None:
        short_runs = [
            [float(rate), float(loss)] for rate, loss in zip(m.range.rates, m.range.means, strict=True)
        ]
        inner.append(Table(["rate", "training loss"], short_runs, f"After {m.range.steps:,} steps: medians"))
    if inner:
        blocks.append(Details("All tested rates", inner))
    return blocks
