"""Is the step right? In pictures: the loss against the rate, the largest stable step, and what each layer moves."""

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
"""Losses beyond so many times the constant guess's are cut off: how much too much is of no interest."""


def draw(measured: LearningRate, run: Run) -> list[Block]:
    """The blocks of the section; ``run`` is the watched run that ``measured`` was taken from."""
    blocks: list[Block] = [_idea(measured, run), *_edges(measured), *_against_rate(measured)]
    blocks += run_pictures.loss_curves(run, measured.constant)
    if run.lenses is not None:
        blocks += lens_pictures.update_ratios(run.lenses)
    blocks += _tables(measured)
    return blocks


def _idea(m: LearningRate, run: Run) -> Text:
    """What a learning rate is for, on the reader's own numbers."""
    per_epoch = plural(m.per_epoch, "step")
    text = (
        f"In every step the network looks at {plural(min(m.batch, m.rows), 'row')}, asks for each weight in which "
        f"direction the loss falls, and moves it a little way there: {per_epoch} in an epoch. "
        f"The learning rate {number(m.rate)} says how little."
    )
    ratios = {layer: ratio for layer, ratio in m.ratios.items() if ratio > 0}
    if ratios:
        layer, ratio = next(iter(ratios.items()))
        if ratio < 1:
            text += (
                f" Here a typical step changes the weights of {layer} by {number(100 * ratio)}% of their size: "
                f"{number(1 / ratio, 2)} such steps, all in one direction, would make them others altogether."
            )
        else:
            text += (
                f" Here a typical step adds {number(ratio)} times their size to the weights of {layer}, so that "
                "nothing of what they had learned is left."
            )
    return Text(text)


def _edges(m: LearningRate) -> list[Block]:
    """The given rate beside those that the experiment and the curvature call too large."""
    rows: list[tuple[str, float]] = [("given", m.rate)]
    if m.range is not None:
        rows.append((f"best for {m.range.steps:,} steps", m.range.best))
    if m.stable is not None:
        rows.append(("largest stable step", m.stable.rate))
    rows += [(f"curvature bound, {when}", found.bound) for when, found in m.curvature.items()]
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
    caption = "Equal distances are equal factors. "
    if m.stable is not None:
        low, high = m.stable.interval
        caption += (
            f"The largest stable step is measured: {plural(len(m.stable.limits), 'start')} were driven to "
            f"divergence, and the edge lies between {number(low)} and {number(high)}. "
        )
    if m.curvature:
        caption += (
            "The curvature bound is what the loss allows where its gradient turns fastest, if it kept that shape; "
            "networks often stand more, since the shape changes as they move."
        )
    return [Figure(svg, caption.strip(), "How far from the edge")]


def _against_rate(m: LearningRate) -> list[Block]:
    """The loss that runs end with, against the rate."""
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
        "Every point is a training of its own, on several seeds (the band). To the left the steps are too small to "
        "get anywhere, to the right they are too large; a rate should lie on the floor between."
    )
    return [Figure(svg, caption, "What other rates would have done")]


def _line(label: str, rates: Floats, losses: Floats, constant: float, dots: bool = False) -> Line:
    """The median over the seeds with a band from the least to the greatest, cut off far above the constant guess."""
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
        facts.append(("largest stable step", m.stable.rate, f"{number(low)} to {number(high)}"))
    if m.suggestion is not None and m.suggested is not None:
        note = f"validation loss {number(m.suggested[1])} in a trial"
        if m.suggestion != m.rate:
            given = m.suggested[0]
            note += (
                f", {number(given)} at the given one"
                if math.isfinite(given)
                else "; the given one breaks off"
            )
        facts.append(("suggested rate", m.suggestion, note))
    blocks.append(Facts(facts))
    inner: list[Block] = []
    if m.sweep is not None:
        whole = [
            [float(rate), float(np.mean(validation)), float(np.mean(training))]
            for rate, validation, training in zip(
                m.sweep.rates, m.sweep.validation, m.sweep.training, strict=True
            )
        ]
        inner.append(Table(["rate", "validation loss", "training loss"], whole, "Whole runs: means"))
    if m.range is not None:
        short = [[float(rate), float(loss)] for rate, loss in zip(m.range.rates, m.range.means, strict=True)]
        inner.append(Table(["rate", "training loss"], short, f"After {m.range.steps:,} steps: medians"))
    if inner:
        blocks.append(Details("All rates that were tried", inner))
    return blocks
