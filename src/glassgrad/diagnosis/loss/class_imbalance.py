"""Rare classes that are hardly learned."""

from __future__ import annotations

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.judging import LARGE_GAIN
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LossMeasurement

RARE = 1 / 3
"""A class is rare that has less than this share of the rows of the most frequent one."""

RECALL = 0.6
"""Rare classes are neglected if they are recognized less than this many times as often as the frequent ones."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Rare classes that are recognized far less often than frequent ones."""
    if len(m.counts) < 2 or m.reason is not None:
        return []
    rare = m.counts < RARE * m.counts.max()
    known = np.isfinite(m.recalls)
    if not (rare & known).any() or not (~rare & known).any():
        return []
    few, many = float(np.mean(m.recalls[rare & known])), float(np.mean(m.recalls[~rare & known]))
    if few >= RECALL * many:
        return []
    least = int(np.argmin(m.counts))
    evidence = {
        "largest_class": int(m.counts.max()),
        "smallest_class": int(m.counts.min()),
        "recall_of_rare_classes": few,
        "recall_of_frequent_classes": many,
    }
    text = (
        f"Rare classes, such as {m.classes[least]!r} with {m.counts[least] / m.counts.sum():.1%} of the rows, are "
        f"recognized in {few:.0%} of cases, and frequent ones in {many:.0%}."
    )
    source = "recall of rare classes as a share of that of frequent ones"
    strength = RECALL * many / max(few, 0.05)
    return [Suspicion("targets", evidence, RECALL, source, strength, text)]


def prescribe(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> list[Intervention]:
    """Weights of the classes."""
    return [Intervention({"class_weight": "balanced"}, "Weigh the classes so that all count the same.")]


KIND = Kind(
    name="class_imbalance",
    question="loss",
    meaning="one class is so frequent that the network hardly learns the others",
    judge=judge,
    prescribe=prescribe,
    measure="balanced_accuracy",
    gain=LARGE_GAIN,
)
