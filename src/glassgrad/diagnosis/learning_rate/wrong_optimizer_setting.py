"""A setting of the optimizer, other than its step, that stands out."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import LearningRate


def judge(m: LearningRate, subject: Subject) -> list[Suspicion]:
    """Every setting that stands out (see ``optimizer_settings``)."""
    return [
        Suspicion(
            odd.name,
            dict(odd.evidence),
            odd.threshold,
            odd.source,
            odd.strength,
            odd.sentence,
        )
        for odd in m.odd
    ]


def prescribe(suspicion: Suspicion, m: LearningRate, subject: Subject) -> list[Intervention]:
    """The way back to what is usual."""
    return list(next((odd.fixes for odd in m.odd if odd.name == suspicion.where), ()))


KIND = Kind(
    name="wrong_optimizer_setting",
    question="learning_rate",
    meaning="a setting of the optimizer other than its step, such as momentum or clipping, holds the training back",
    judge=judge,
    prescribe=prescribe,
    brings=("stuck", "wild", "dead_neurons"),
)
