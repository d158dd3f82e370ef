"""A loss that oscillates."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import FEWEST, LearningRate
from glassgrad.diagnosis.learning_rate.rates import SWING, other_rates, rate_evidence

RISES = 0.25
"""In an oscillation, the loss rises in at least this share of the epochs of the second half."""


def judge(m: LearningRate, subject: Subject) -> list[Suspicion]:
    """A loss that rises often and by much in the second half."""
    if m.diverged or m.batch < FEWEST or not (m.pace.swing >= SWING and m.pace.rises >= RISES):
        return []
    return [
        Suspicion(
            "",
            rate_evidence(m) | {"swing": m.pace.swing, "rises": m.pace.rises},
            SWING,
            "mean rise per epoch in the second half, as a share of the gap from the baseline to the best loss",
            m.pace.swing / SWING,
            f"In the second half of the run, the loss rose in {m.pace.rises:.0%} of the epochs.",
        )
    ]


def prescribe(suspicion: Suspicion, m: LearningRate, subject: Subject) -> list[Intervention]:
    """Lower rates, or a rate that falls over the run."""
    cosine = Intervention({"schedule": "cosine"}, "Let the learning rate fall to 0 over the run (cosine).")
    is_constant = subject.settings.schedule == "constant"
    return [*other_rates(m, lower=True)[:2], cosine] if is_constant else other_rates(m, lower=True)


KIND = Kind(
    name="oscillation",
    question="learning_rate",
    meaning="the loss goes up and down instead of converging",
    judge=judge,
    prescribe=prescribe,
    group="wild",
)
