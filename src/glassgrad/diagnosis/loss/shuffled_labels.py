"""Targets that have nothing to do with the inputs."""

from __future__ import annotations

import math

from glassgrad.diagnosis.core.association import signal_of_one_input
from glassgrad.diagnosis.core.evidence import Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LEARNED, LossMeasurement

SIGNAL = 3.0
"""A simple learner whose predictions go with the truth by less than three standard errors has found nothing."""

SIGNAL_ALONE = 4.0
"""... and a single input that explains the targets by so much more than the best one does of shuffled targets was not
shuffled: what is the best of many has a longer tail than what a learner says."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Targets that neither the network, nor a simple learner, nor a single input has to do with."""
    bar = min(LEARNED, 1 - 2.5 / math.sqrt(max(m.held_rows, 1)))  # few rows give the same by chance
    learned = m.left[1] < bar or (math.isfinite(m.best_share) and m.best_share < bar)
    if learned or m.simple.signal > SIGNAL:
        return []
    count = len(m.classes) if subject.classification else None
    alone = signal_of_one_input(*subject.train_rows, count)
    if alone > SIGNAL_ALONE:
        return []  # many inputs and few rows: it is there, though nobody finds it among the others
    evidence = {
        "validation_loss": m.validation.get("loss"),
        "constant_loss": m.constant,
        "left_validation": m.left[1],
        "signal_of_a_simple_learner": m.simple.signal,
        "signal_of_one_input": alone,
    }
    text = (
        "On rows that it was not trained on, the network does no better than a guess that looks at nothing, "
        "and neither "
        "does a simple learner."
    )
    source = "three standard errors of a correlation"
    return [Suspicion("targets", evidence, SIGNAL, source, SIGNAL / max(m.simple.signal, 1.0), text)]


def prove(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> Trial | None:
    """Training on the targets as they are, and on the same targets dealt out anew."""
    needed = 2 * subject.trials.seconds({"layers": (64, 32), "epochs": 10})
    if not subject.clock.allows(needed, "training on shuffled targets"):
        return None
    return subject.trials.permutation()


def sentence(suspicion: Suspicion, fix: Intervention | None, trial: Trial) -> str:
    """What the experiment says of the targets."""
    return f"{suspicion.sentence} A sound network learns shuffled targets just as well: there is nothing to learn."


KIND = Kind(
    name="shuffled_labels",
    question="loss",
    meaning="the targets have nothing to do with the inputs: training on shuffled ones does as well",
    judge=judge,
    prove=prove,
    sentence=sentence,
    effect="proof",
    brings=("stuck", "overfitting"),
)
