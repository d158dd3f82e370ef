"""A network that does not fit its training rows."""

from __future__ import annotations

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.judging import LARGE_GAIN
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.other_networks import widened
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LEARNED, LEFT, LossMeasurement

NARROW = 16
"""Layers of fewer units than this are suspected if the network does not fit its training rows."""

FALLING = 0.06
"""If the last third of a run gained more than this share of the gap, the run is too short to judge the capacity."""

BEHIND = 1.1
"""A network is behind if it leaves this many times the mistakes or variance of least squares on random features."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Training rows that are not fitted, by a narrow network or one that a simple learner beats."""
    left, held_left = m.left
    if m.reason is not None or not left > LEFT:
        return []
    narrow = m.narrowest is None or m.narrowest < NARROW
    behind = held_left > BEHIND * m.simple.left and m.simple.left < LEARNED and left > 0.7 * held_left
    unfitted = m.batch is not None and m.batch.left > LEFT
    if not (narrow or behind) or not m.falling < FALLING:
        return []  # The network is large enough, or the run too short.
    strength = float(np.clip(held_left / max(m.simple.left, 0.01) / BEHIND, 1.0, 10.0)) * (
        2.0 if unfitted else 1.0
    )
    evidence = {
        "left_training": left,
        "left_validation": held_left,
        "left_by_a_simple_learner": m.simple.left,
        "narrowest_layer": m.narrowest,
        "one_batch_left": None if m.batch is None else m.batch.left,
    }
    what = "mistakes remain" if subject.classification else "variance remains"
    text = f"The network does not fit its training rows: {left:.0%} of the baseline's {what}"
    if narrow:
        reason = (
            "the network has no hidden layer"
            if m.narrowest is None
            else f"its narrowest layer has {m.narrowest} units"
        )
        text += f", and {reason}"
    source = "least squares on random features, on the same rows (W. Schmidt et al., 1992)"
    return [Suspicion("", evidence, BEHIND, source, strength, text + ".")]


def prescribe(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> list[Intervention]:
    """Larger networks."""
    return [Intervention(options, text) for options, text in widened(subject)]


KIND = Kind(
    name="underfitting",
    question="loss",
    meaning="the network is too small, or held back, to fit even its training rows",
    judge=judge,
    prescribe=prescribe,
    group="stuck",
    gain=LARGE_GAIN,
)
