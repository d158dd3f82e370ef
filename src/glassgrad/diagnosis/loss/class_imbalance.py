"""Rare classes that the network hardly learns."""

from __future__ import annotations

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.judging import LARGE_GAIN
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LossMeasurement

RARE = 1 / 3
"""A class is rare if it has less than this share of the rows of the most frequent class."""

RECALL = 0.6
"""Rare classes are neglected if their recall is below this share of the recall of frequent classes."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Rare classes with a much lower recall than frequent ones."""
    if len(m.counts) < 2 or m.reason is not None:
        return []
    rare = m.counts < RARE * m.counts.max()
    finite = np.isfinite(m.recalls)
    if not (rare & finite).any() or not (~rare & finite).any():
        return []
    rare_recall = float(np.mean(m.recalls[rare & finite]))
    frequent_recall = float(np.mean(m.recalls[~rare & finite]))
    if rare_recall >= RECALL * frequent_recall:
        return []
    rarest = int(np.argmin(m.counts))
    evidence = {
        "largest_class": int(m.counts.max()),
        "smallest_class": int(m.counts.min()),
        "recall_of_rare_classes": rare_recall,
        "recall_of_frequent_classes": frequent_recall,
    }
    text = (
        f"Rare classes, such as {m.classes[rarest]!r} with {m.counts[rarest] / m.counts.sum():.1%} of the rows, are "
        f"recognized in {rare_recall:.0%} of cases, and frequent ones in {frequent_recall:.0%}."
    )
    source = "recall of rare classes as a share of that of frequent ones"
    strength = RECALL * frequent_recall / max(rare_recall, 0.05)
    return [Suspicion("targets", evidence, RECALL, source, strength, text)]


def prescribe(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> list[Intervention]:
    """Class weights."""
    return [Intervention({"class_weight": "balanced"}, "Weight the classes so that all count equally.")]


KIND = Kind(
    name="class_imbalance",
    question="loss",
    meaning="some classes are so rare that the network hardly learns them",
    judge=judge,
    prescribe=prescribe,
    measure="balanced_accuracy",
    gain=LARGE_GAIN,
)
