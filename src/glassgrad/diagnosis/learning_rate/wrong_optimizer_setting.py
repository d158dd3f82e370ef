"""An unusual setting of the optimizer other than the learning rate."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import LearningRate


def judge(m: LearningRate, subject: Subject) -> list[Suspicion]:
    """Every unusual setting (see ``optimizer_settings``)."""
    return [
        Suspicion(
            setting.name,
            dict(setting.evidence),
            setting.threshold,
            setting.source,
            setting.strength,
            setting.sentence,
        )
        for setting in m.unusual
    ]


def prescribe(suspicion: Suspicion, m: LearningRate, subject: Subject) -> list[Intervention]:
    """The usual value of the setting."""
    return list(next((item.fixes for item in m.unusual if item.name == suspicion.where), ()))


KIND = Kind(
    name="wrong_optimizer_setting",
    question="learning_rate",
    meaning="an optimizer setting other than the learning rate, such as momentum or clipping, impairs training",
    judge=judge,
    prescribe=prescribe,
    brings=("stuck", "wild", "dead_neurons"),
)
