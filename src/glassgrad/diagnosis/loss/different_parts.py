"""Training and test rows with different distributions."""

from __future__ import annotations

import time

import numpy as np

from glassgrad.diagnosis.core.evidence import Suspicion, Trial
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LossMeasurement
from glassgrad.diagnosis.measures.two_parts import parts_trial

ALIKE = 0.6
"""The parts differ if the AUC exceeds this, and 0.5 by four standard errors."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Test rows that a simple classifier distinguishes from training rows."""
    parts = m.parts
    if parts is None or not parts.auc > max(ALIKE, 0.5 + 4 * parts.chance):
        return []
    evidence = {"auc": parts.auc, "largest_difference": float(np.abs(parts.differences).max())}
    text = (
        f"Test rows have a different distribution than training rows: a simple classifier distinguishes them in "
        f"{parts.auc:.0%} of pairs."
    )
    source = "D. Lopez-Paz and M. Oquab, Revisiting classifier two-sample tests, ICLR 2017"
    strength = (parts.auc - 0.5) / (ALIKE - 0.5)
    return [Suspicion("test rows", evidence, ALIKE, source, strength, text)]


def prove(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> Trial | None:
    """The classifier on several draws of rows, compared with shuffled labels of the parts."""
    start = time.perf_counter()
    test = subject.task.parts.test
    if test is None:
        return None
    return parts_trial(subject.train_rows[0], test[0], time.perf_counter() - start)


KIND = Kind(
    name="different_parts",
    question="loss",
    meaning="training and test rows have different distributions",
    judge=judge,
    prove=prove,
    effect="proof",
    harmless=True,
)
