"""Probabilities that are overconfident or underconfident."""

from __future__ import annotations

import time

import numpy as np

from glassgrad.diagnosis.core.evidence import Suspicion, Trial
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LossMeasurement
from glassgrad.diagnosis.measures.calibration import temperature_trial

MISCALIBRATED = 0.05
"""An expected calibration error above this, and above what chance gives, is reported."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Probabilities with a calibration error above chance."""
    c = m.calibration
    if c is None or not c.error > max(MISCALIBRATED, c.chance) or m.reason is not None:
        return []
    what = "overconfident" if c.temperature > 1 else "underconfident"
    text = f"The probabilities are {what}: on average they differ from the accuracy by {c.error:.1%}."
    evidence = {
        "expected_calibration_error": c.error,
        "by_chance": c.chance,
        "temperature": c.temperature,
    }
    source = "C. Guo et al., On calibration of modern neural networks, ICML 2017"
    strength = c.error / max(MISCALIBRATED, c.chance)
    return [Suspicion("", evidence, MISCALIBRATED, source, strength, text)]


def prove(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> Trial | None:
    """Compare the probabilities with those after temperature scaling."""
    start = time.perf_counter()
    features, targets = subject.validation_rows
    p = subject.run.model.loss.probabilities(subject.run.model.outputs_prepared(features).astype(np.float64))
    return None if p is None else temperature_trial(p, targets, time.perf_counter() - start)


KIND = Kind(
    name="miscalibrated",
    question="loss",
    meaning="the probabilities are overconfident or underconfident",
    judge=judge,
    prove=prove,
    effect="proof",
    harmless=True,
)
