"""A loss that measures something else than what matters."""

from __future__ import annotations

from typing import Any

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.other_networks import ending_in
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LEFT, LossMeasurement
from glassgrad.losses.classification import BinaryCrossEntropy, CategoricalCrossEntropy

HEAVY = 0.5
"""Targets have outliers if a hundredth of the rows carries this share of their variance: 0.08 of a normal
distribution."""

SMOOTH = 0.3
"""Label smoothing is a tenth as a rule (C. Szegedy et al., 2016)."""

TWO_VALUES = "targets of two values"

CROSS_ENTROPIES = ("categorical_cross_entropy", "binary_cross_entropy", "negative_log_likelihood")


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """A loss that can be trained, and measures something else."""
    loss = subject.run.model.loss
    evidence: dict[str, Any] = {"loss": m.loss, "left_validation": m.left[1], "outlier_share": m.outliers}
    if m.reason is not None or m.left[1] < LEFT / 2:
        return []
    smoothing = 0.0
    if isinstance(loss, BinaryCrossEntropy | CategoricalCrossEntropy):
        smoothing = loss.label_smoothing
    if subject.classification:
        if m.loss not in CROSS_ENTROPIES or smoothing > SMOOTH:
            text = f"Loss {m.loss} does not measure how probable the right classes are; a cross-entropy does."
            if smoothing > SMOOTH:
                text = f"Label smoothing of {smoothing:g} asks the network to be unsure of what it knows."
            source = "maximum likelihood (C. Bishop, Pattern recognition and machine learning, 2006, 4.3)"
            return [Suspicion("", evidence, None, source, 1.0 + m.left[1], text)]
        return []
    if m.loss not in ("squared_error", "root_mean_squared_error") and loss.expects == "values":
        text = f"Loss {m.loss} aims at something else than the mean of the targets; the squared error aims at that."
        source = "the mean is what minimizes the squared error"
        return [Suspicion("", evidence, None, source, 1.0 + m.left[1], text)]
    if loss.expects == "log_rates" and not _counts(subject):
        text = f"Loss {m.loss} is for counts, and the targets are other numbers."
        return [Suspicion("", evidence, None, "whole numbers", 1.0 + m.left[1], text)]
    if m.as_labels is not None and m.as_labels.values == 2:
        text = (
            f"The targets are two values, and loss {m.loss} treats them as quantities; a cross-entropy asks how "
            "probable each of them is."
        )
        source = "maximum likelihood (C. Bishop, Pattern recognition and machine learning, 2006, 4.3)"
        return [Suspicion(TWO_VALUES, evidence, None, source, 1.0 + m.left[1], text)]
    if m.outliers > HEAVY:
        text = (
            f"A hundredth of the rows carries {m.outliers:.0%} of the targets' variance: squares make "
            f"these few count most."
        )
        source = "P. Huber, Robust estimation of a location parameter, 1964"
        return [Suspicion("targets", evidence, HEAVY, source, m.outliers / HEAVY, text)]
    return []


def _counts(subject: Subject) -> bool:
    targets = subject.train_rows[1]
    return bool(np.allclose(targets, np.round(targets)))


def prescribe(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> list[Intervention]:
    """A loss that measures what matters."""
    if suspicion.where == TWO_VALUES:
        return [Intervention(ending_in(subject, "auto", "classification"), "Read the two values as classes.")]
    if suspicion.where == "targets":
        return [
            Intervention({"loss": "huber"}, "Use loss huber, in which outliers count by their size only.")
        ]
    named = "a cross-entropy" if subject.classification else "the squared error"
    return [Intervention(ending_in(subject, "auto"), f"Use {named} as loss, on outputs that it takes.")]


KIND = Kind(
    name="unsuitable_loss",
    question="loss",
    meaning="the loss can be trained, but measures something else than what matters here",
    judge=judge,
    prescribe=prescribe,
    brings=("underfitting", "plateau"),
)
