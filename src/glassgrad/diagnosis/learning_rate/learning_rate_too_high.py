"""A learning rate that is too high."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import FEWEST, LearningRate
from glassgrad.diagnosis.learning_rate.rates import TOO_HIGH, other_rates, rate_evidence, times


def judge(m: LearningRate, subject: Subject) -> list[Suspicion]:
    """A lower rate that does better on training rows, or a run that diverged."""
    gain, rate = m.lower_gain()
    if not gain >= TOO_HIGH and not (m.diverged and m.batch >= FEWEST):
        return []
    text = f"The learning rate {m.rate:g} is too high: the steps overshoot the minimum"
    if m.diverged:
        text = f"With the learning rate {m.rate:g} the training diverged: the numbers grew without bound"
    if m.stable is not None and m.rate > m.stable.interval[1]:
        text += f". It is {times(m.rate / m.stable.rate)} the largest at which this network still learns"
    return [
        Suspicion(
            "",
            rate_evidence(m) | {"better_rate": rate, "gain": gain, "diverged": m.diverged},
            TOO_HIGH,
            "share of the gap from the baseline to the best loss that a lower rate gains on training rows",
            max(gain / TOO_HIGH, 1.0) if not m.diverged else max(gain / TOO_HIGH, 10.0),
            f"{text}.",
        )
    ]


def prescribe(suspicion: Suspicion, m: LearningRate, subject: Subject) -> list[Intervention]:
    """Lower rates."""
    return other_rates(m, lower=True)


KIND = Kind(
    name="learning_rate_too_high",
    question="learning_rate",
    meaning="the steps are so large that they overshoot the minimum",
    judge=judge,
    prescribe=prescribe,
    group="wild",
    brings=(
        "flow",
        "exploding_gradient",
        "oscillation",
        "plateau",
        "underfitting",
        "batch_size",
        "overfitting",
    ),
)
