"""A learning rate that is too low."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.judging import LARGE_GAIN
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import LearningRate
from glassgrad.diagnosis.learning_rate.rates import TOO_LOW, other_rates, rate_evidence, times

FAR_BELOW = 300
"""A rate is suspected only if it is more than this factor below the largest stable step. Rates of a tenth to a
hundredth of that step are the usual choice (Y. Bengio, Practical recommendations for gradient-based training of deep
architectures, 2012)."""


def judge(m: LearningRate, subject: Subject) -> list[Suspicion]:
    """A rate far below the largest stable step, if a higher rate gains much more in as many steps."""
    gain, rate = m.higher_gain()
    far = m.stable is None or m.rate * FAR_BELOW < m.stable.rate
    if m.diverged or not far or not (gain >= TOO_LOW and m.left >= TOO_LOW):
        return []
    below = ""
    if m.stable is not None and m.rate > 0:
        below = f"; even {times(m.stable.rate / m.rate)} the rate would not be too high"
    return [
        Suspicion(
            "",
            rate_evidence(m) | {"better_rate": rate, "gain": gain},
            TOO_LOW,
            "share of the gap from the baseline to the best loss that a higher rate gains in as many steps",
            gain / TOO_LOW,
            f"The learning rate {m.rate:g} is too low: {rate:g} gets much further in as many steps{below}.",
        )
    ]


def prescribe(suspicion: Suspicion, m: LearningRate, subject: Subject) -> list[Intervention]:
    """Higher rates."""
    return other_rates(m, lower=False)


KIND = Kind(
    name="learning_rate_too_low",
    question="learning_rate",
    meaning="the steps are so small that training makes hardly any progress",
    judge=judge,
    prescribe=prescribe,
    group="stuck",
    gain=LARGE_GAIN,
    on_fewer_rows="larger rate",
    brings=("plateau", "underfitting", "too_few_epochs"),
)
