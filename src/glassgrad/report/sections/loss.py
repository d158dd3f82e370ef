"""Is the loss right? Figures: the loss beside a constant guess, unseen rows, single classes, and calibration."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.diagnosis.loss.measurement import LossMeasurement
from glassgrad.report import run_pictures
from glassgrad.report.figures import Line, bars, line_figure
from glassgrad.report.page import Block, Details, Facts, Figure, Table, Text
from glassgrad.report.words import number, percent
from glassgrad.training.run import Run

MOST_CLASSES = 16
MOST_INPUTS = 12
FEWEST_ROWS = 5
MOVED = 0.2
"""Differences between the means of training and test rows below this many standard deviations are not shown."""


def draw(measured: LossMeasurement, run: Run) -> list[Block]:
    """The blocks of the section. ``run`` is the run in which ``measured`` was measured."""
    blocks: list[Block] = [*_idea(measured), *run_pictures.against_a_guess(run, measured.constant)]
    blocks += _by_class(measured)
    with suppress(InputError):  # even finite weights may produce NaN or Inf for some row
        blocks += run_pictures.against_the_truth(run, run_pictures.unseen_rows(run))
    blocks += [*_calibration(measured), *_parts(measured), *_table(measured)]
    return blocks


def _idea(m: LossMeasurement) -> list[Block]:
    """The meaning of the loss, with the measured numbers."""
    text = (
        f"The best constant guess, the same answer for every row, has a loss of {number(m.constant)}. An untrained "
        f"network should start near {number(m.expected_start)}, the loss of outputs that carry no information; this "
        f"one started at {number(m.start)}."
    )
    facts: list[tuple[str, str] | tuple[str, str, str]] = [
        ("constant guess", number(m.constant), "loss"),
        ("before training", number(m.start), "loss"),
        ("after training", number(m.validation.get("loss")), "loss on unseen rows"),
    ]
    if m.batch is not None and math.isfinite(m.batch.loss):
        result = "memorized, as expected" if m.batch.left < 0.05 else "could not be memorized"
        facts.append(("a single batch", number(m.batch.loss), f"{m.batch.rows} rows: {result}"))
    return [Text(text), Facts(facts)]


def _by_class(m: LossMeasurement) -> list[Block]:
    if len(m.classes) < 2:
        return []
    order = np.argsort(-m.counts, kind="stable")
    shown = (
        order
        if len(order) <= MOST_CLASSES
        else np.r_[order[: MOST_CLASSES // 2], order[-MOST_CLASSES // 2 :]]
    )
    labels = [m.classes[i] for i in shown]
    selection = (
        "" if len(shown) == len(order) else f" The most and least frequent of {len(order):,} are shown."
    )
    return [
        Figure(
            bars(labels, {"rows": m.counts[shown]}, title="Training rows of each class"),
            f"The number of training rows of each class.{selection} Networks tend to ignore classes with few rows.",
            "Are the classes balanced?",
        ),
        Figure(
            bars(
                labels,
                {"recall": m.recalls[shown]},
                title="Recall by class",
                in_percent=True,
                x_range=(0, 1.16),
            ),
            "The share of each class that the network recognizes (recall), on unseen rows.",
            "Is every class recognized?",
        ),
    ]


def _calibration(m: LossMeasurement) -> list[Block]:
    c = m.calibration
    if c is None:
        return []
    enough_rows = c.counts >= FEWEST_ROWS
    picture = line_figure(
        [
            Line("rows", c.right[enough_rows], c.confidence[enough_rows], dots=True),
            Line("perfect calibration", [0, 1], [0, 1], role="muted", dashed=True),
        ],
        title="Accuracy by confidence",
        x_label="confidence",
        y_label="accuracy",
    )
    significance = (
        "within chance" if c.error <= c.chance else f"by chance it would be below {percent(c.chance)}"
    )
    caption = (
        f"Each dot stands for {FEWEST_ROWS} or more rows with about the same predicted probability. Below the dashed "
        "line the network is overconfident. On average confidence and accuracy differ by "
        f"{percent(c.error)} ({significance})."
    )
    return [Figure(picture, caption, "Are the probabilities right?")]


def _parts(m: LossMeasurement) -> list[Block]:
    if m.parts is None:
        return []
    text = (
        "A simple classifier tries to tell test rows from training rows by their inputs. Its AUC is "
        f"{percent(m.parts.auc)}; 50% means that it cannot tell them apart. Test targets were not used."
    )
    largest = np.argsort(-np.abs(m.parts.differences), kind="stable")[:MOST_INPUTS]
    rows = [[int(i), float(m.parts.differences[i])] for i in largest if abs(m.parts.differences[i]) > MOVED]
    blocks: list[Block] = [Text(text, heading="Are test rows like training rows?")]
    if rows:
        header = ["input", "difference of the means (standard deviations)"]
        blocks.append(Details("The inputs that differ most", [Table(header, rows)]))
    return blocks


def _table(m: LossMeasurement) -> list[Block]:
    rows: list[list[object]] = [
        ["loss", m.loss],
        ["last activation", m.output],
        [
            "error relative to the guess, training rows",
            percent(m.left[0]) if math.isfinite(m.left[0]) else "–",
        ],
        ["error relative to the guess, unseen rows", percent(m.left[1]) if math.isfinite(m.left[1]) else "–"],
        ["error relative to the guess, least squares on random features", percent(m.simple.left)],
        ["epoch with the lowest validation loss", m.best + 1],
    ]
    return [Details("All measurements", [Table(["measurement", "value"], rows)])]
