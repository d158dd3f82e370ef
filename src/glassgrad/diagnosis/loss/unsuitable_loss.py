"""A loss that can be trained, but does not measure what matters."""

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
"""Targets have outliers if 1 % of the rows has this share of the variance: 0.08 for a normal distribution."""

SMOOTH = 0.3
"""Label smoothing above this is suspected; a tenth is usual (C. Szegedy et al., 2016)."""

TWO_VALUES = "targets of two values"

CROSS_ENTROPIES = ("categorical_cross_entropy", "binary_cross_entropy", "negative_log_likelihood")


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """A loss that can be trained, but does not measure what matters."""
    loss = subject.run.model.loss
    evidence: dict[str, Any] = {"loss": m.loss, "left_validation": m.left[1], "outlier_share": m.outliers}
    if m.reason is not None or m.left[1] < LEFT / 2:
        return []
    smoothing = 0.0
    if isinstance(loss, BinaryCrossEntropy | CategoricalCrossEntropy):
        smoothing = loss.label_smoothing
    if subject.classification:
        if m.loss not in CROSS_ENTROPIES or smoothing > SMOOTH:
            text = f"Loss {m.loss} does not measure the probability of the right class; a cross-entropy does."
            if smoothing > SMOOTH:
                text = f"Label smoothing of {smoothing:g} trains the network to be unsure of right answers."
            source = "maximum likelihood (C. Bishop, Pattern recognition and machine learning, 2006, 4.3)"
            return [Suspicion("", evidence, None, source, 1.0 + m.left[1], text)]
        return []
    if m.loss not in ("squared_error", "root_mean_squared_error") and loss.expects == "values":
        text = f"Loss {m.loss} does not estimate the mean of the targets; the squared error does."
        source = "the mean is what minimizes the squared error"
        return [Suspicion("", evidence, None, source, 1.0 + m.left[1], text)]
    if loss.expects == "log_rates" and not _counts(subject):
        text = f"Loss {m.loss} is for counts, but the targets are not whole numbers."
        return [Suspicion("", evidence, None, "whole numbers", 1.0 + m.left[1], text)]
    if m.as_labels is not None and m.as_labels.values == 2:
        text = (
            f"The targets have two values, but loss {m.loss} treats them as quantities; a cross-entropy models the "
            "probability of each value."
        )
        source = "maximum likelihood (C. Bishop, Pattern recognition and machine learning, 2006, 4.3)"
        return [Suspicion(TWO_VALUES, evidence, None, source, 1.0 + m.left[1], text)]
    if m.outliers > HEAVY:
        text = (
            f"The targets have outliers: 1% of the rows has {m.outliers:.0%} of the variance, and the squared error "
            "makes these few rows count most."
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
        return [Intervention({"loss": "huber"}, "Use loss huber, which grows only linearly for outliers.")]
    loss = "a cross-entropy" if subject.classification else "the squared error"
    return [Intervention(ending_in(subject, "auto"), f"Use {loss} as loss, with outputs that suit it.")]


KIND = Kind(
    name="unsuitable_loss",
    question="loss",
    meaning="the loss can be trained, but does not measure what matters here",
    judge=judge,
    prescribe=prescribe,
    brings=("underfitting", "plateau"),
)
