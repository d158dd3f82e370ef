"""Targets that are unrelated to the inputs."""

from __future__ import annotations

import math

from glassgrad.diagnosis.core.association import signal_of_one_input
from glassgrad.diagnosis.core.evidence import Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LEARNED, LossMeasurement

SIGNAL = 3.0
"""A simple learner has learned nothing if its predictions correlate with the truth by less than this many standard
errors."""

SIGNAL_ALONE = 4.0
"""The targets are not shuffled if a single input explains them by this many standard deviations more than the best
input explains shuffled targets. The maximum over many inputs has a longer tail than the score of a learner."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Targets that neither the network, nor a simple learner, nor a single input predicts."""
    # With few rows, chance alone can give a lower share.
    threshold = min(LEARNED, 1 - 2.5 / math.sqrt(max(m.held_rows, 1)))
    learned = m.left[1] < threshold or (math.isfinite(m.best_share) and m.best_share < threshold)
    if learned or m.simple.signal > SIGNAL:
        return []
    count = len(m.classes) if subject.classification else None
    alone = signal_of_one_input(*subject.train_rows, count)
    if alone > SIGNAL_ALONE:
        return []  # With many inputs and few rows, learners may miss this one informative input.
    evidence = {
        "validation_loss": m.validation.get("loss"),
        "constant_loss": m.constant,
        "left_validation": m.left[1],
        "signal_of_a_simple_learner": m.simple.signal,
        "signal_of_one_input": alone,
    }
    text = (
        "On validation rows, the network does no better than the baseline (the best constant prediction), and "
        "neither does a simple learner."
    )
    source = "three standard errors of a correlation"
    return [Suspicion("targets", evidence, SIGNAL, source, SIGNAL / max(m.simple.signal, 1.0), text)]


def prove(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> Trial | None:
    """Train on the original and on shuffled targets."""
    needed = 2 * subject.trials.seconds({"layers": (64, 32), "epochs": 10})
    if not subject.clock.allows(needed, "training on shuffled targets"):
        return None
    return subject.trials.permutation()


def sentence(suspicion: Suspicion, fix: Intervention | None, trial: Trial) -> str:
    """The result of the experiment."""
    return (
        f"{suspicion.sentence} A reference network does just as well on shuffled targets, so the inputs do not "
        "predict the targets."
    )


KIND = Kind(
    name="shuffled_labels",
    question="loss",
    meaning="the targets are unrelated to the inputs: training on shuffled targets does as well",
    judge=judge,
    prove=prove,
    sentence=sentence,
    effect="proof",
    brings=("stuck", "overfitting"),
)
