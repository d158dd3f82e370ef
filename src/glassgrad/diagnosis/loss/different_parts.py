"""Training and test rows that are drawn differently."""

from __future__ import annotations

import time

import numpy as np

from glassgrad.diagnosis.core.evidence import Suspicion, Trial
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LossMeasurement
from glassgrad.diagnosis.measures.two_parts import parts_trial

ALIKE = 0.6
"""Parts differ where a test row is told from a training row this often, and by four standard errors."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Test rows that a simple classifier tells from training rows."""
    parts = m.parts
    if parts is None or not parts.auc > max(ALIKE, 0.5 + 4 * parts.chance):
        return []
    evidence = {"auc": parts.auc, "largest_difference": float(np.abs(parts.differences).max())}
    text = (
        f"Test rows are drawn otherwise than training rows: a simple classifier tells them apart in "
        f"{parts.auc:.0%}."
    )
    source = "D. Lopez-Paz and M. Oquab, Revisiting classifier two-sample tests, ICLR 2017"
    strength = (parts.auc - 0.5) / (ALIKE - 0.5)
    return [Suspicion("test rows", evidence, ALIKE, source, strength, text)]


def prove(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> Trial | None:
    """The classifier on several draws, beside rows whose parts were dealt out anew."""
    start = time.perf_counter()
    test = subject.task.parts.test
    if test is None:
        return None
    return parts_trial(subject.train_rows[0], test[0], time.perf_counter() - start)


KIND = Kind(
    name="different_parts",
    question="loss",
    meaning="training and test rows are drawn differently",
    judge=judge,
    prove=prove,
    effect="proof",
    harmless=True,
)
