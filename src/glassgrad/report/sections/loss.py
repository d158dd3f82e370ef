"""Is the loss right? In pictures: against a guess, on rows not trained on, class by class, sure and right."""

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
"""Means of training and test rows nearer than this, in standard deviations, are not shown."""


def draw(measured: LossMeasurement, run: Run) -> list[Block]:
    """The blocks of the section; ``run`` is the run that ``measured`` was taken from."""
    blocks: list[Block] = [*_idea(measured), *run_pictures.against_a_guess(run, measured.constant)]
    blocks += _by_class(measured)
    with suppress(InputError):  # the last good weights may still give no number for some row
        blocks += run_pictures.against_the_truth(run, run_pictures.unseen_rows(run))
    blocks += [*_calibration(measured), *_parts(measured), *_table(measured)]
    return blocks


def _idea(m: LossMeasurement) -> list[Block]:
    """What the loss means, on the reader's own numbers."""
    text = (
        f"A guess that gives every row the same answer has a loss of {number(m.constant)}. Outputs that are "
        f"all alike "
        f"have {number(m.expected_start)}, and so should the network before it learned anything: it had "
        f"{number(m.start)}."
    )
    facts: list[tuple[str, str] | tuple[str, str, str]] = [
        ("constant guess", number(m.constant), "loss"),
        ("first weights", number(m.start), "loss"),
        ("trained", number(m.validation.get("loss")), "loss on rows not trained on"),
    ]
    if m.batch is not None and math.isfinite(m.batch.loss):
        said = (
            "can be learned by heart, as it should"
            if m.batch.left < 0.05
            else "cannot even be learned by heart"
        )
        facts.append(("one batch alone", number(m.batch.loss), f"{m.batch.rows} rows: {said}"))
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
    some = "" if len(shown) == len(order) else f" The most and the least frequent of {len(order):,}."
    return [
        Figure(
            bars(labels, {"rows": m.counts[shown]}, title="Training rows of each class"),
            f"How many training rows each class has.{some} A class with few rows is easily ignored.",
            "Are the classes balanced?",
        ),
        Figure(
            bars(
                labels,
                {"recognized": m.recalls[shown]},
                title="Recognized by class",
                in_percent=True,
                x_range=(0, 1.16),
            ),
            "The share of the rows of a class, among those not trained on, that the network recognizes.",
            "Is every class recognized?",
        ),
    ]


def _calibration(m: LossMeasurement) -> list[Block]:
    c = m.calibration
    if c is None:
        return []
    full = c.counts >= FEWEST_ROWS
    picture = line_figure(
        [
            Line("rows", c.right[full], c.confidence[full], dots=True),
            Line("as sure as right", [0, 1], [0, 1], role="muted", dashed=True),
        ],
        title="How often the network is right, by how sure it is",
        x_label="how sure it is",
        y_label="how often it is right",
    )
    verdict = (
        "no more than chance" if c.error <= c.chance else f"by chance it would be below {percent(c.chance)}"
    )
    caption = (
        f"Each dot stands for {FEWEST_ROWS} or more rows of which the network is about as sure. Below the dashed "
        f"line it is surer than it is right. On average it is off by {percent(c.error)} ({verdict})."
    )
    return [Figure(picture, caption, "Are the probabilities right?")]


def _parts(m: LossMeasurement) -> list[Block]:
    if m.parts is None:
        return []
    text = (
        f"A simple classifier that sees only the inputs tells a test row from a training row in "
        f"{percent(m.parts.auc)} of "
        "cases; 50% is what chance gives when both are drawn alike. Test targets were not looked at."
    )
    moved = np.argsort(-np.abs(m.parts.differences), kind="stable")[:MOST_INPUTS]
    rows = [[int(i), float(m.parts.differences[i])] for i in moved if abs(m.parts.differences[i]) > MOVED]
    blocks: list[Block] = [Text(text, heading="Are test rows like training rows?")]
    if rows:
        blocks.append(
            Details("Inputs that moved most", [Table(["input", "mean moved by (standard deviations)"], rows)])
        )
    return blocks


def _table(m: LossMeasurement) -> list[Block]:
    rows: list[list[object]] = [
        ["loss", m.loss],
        ["last activation", m.output],
        [
            "left of a guess's mistakes, training rows",
            percent(m.left[0]) if math.isfinite(m.left[0]) else "–",
        ],
        ["left of a guess's mistakes, other rows", percent(m.left[1]) if math.isfinite(m.left[1]) else "–"],
        ["left by least squares on random features", percent(m.simple.left)],
        ["lowest validation loss in epoch", m.best + 1],
    ]
    return [Details("What was measured", [Table(["of the loss", "value"], rows)])]
