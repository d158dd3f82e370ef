"""A loss that stands still far above what can be reached."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import LearningRate
from glassgrad.diagnosis.learning_rate.rates import SWING, other_rates, rate_evidence

STANDS = 0.01
"""A loss stands still if the last third of the run won less than this share of the way."""

FAR = 0.1
"""It stands far above what can be reached if this share of the way is left."""


def judge(m: LearningRate, subject: Subject) -> list[Suspicion]:
    """A loss that stands still, and far above the lowest one known or near that of a constant guess."""
    left = m.left
    still = abs(m.pace.falling) < STANDS and not m.pace.swing >= SWING
    if m.diverged or not still or not (left >= FAR or m.pace.end >= (1 - FAR) * m.constant):
        return []
    return [
        Suspicion(
            "",
            rate_evidence(m) | {"won_by_last_third": m.pace.falling, "left": left},
            FAR,
            "share of the way to the lowest loss known that is left while the loss stands still",
            max(left, FAR) / FAR,
            f"The loss stood still at {m.pace.end:.3g}, far above what the network can reach.",
        )
    ]


def prescribe(suspicion: Suspicion, m: LearningRate, subject: Subject) -> list[Intervention]:
    """Another optimizer, and the rate on either side that did best."""
    fixes = []
    if m.optimizer not in ("adam", "adamw"):
        fixes.append(
            Intervention(
                {"optimizer": "adam", "learning_rate": 0.001}, "Use Adam with a learning rate of 0.001."
            )
        )
    first = m.lower_gain() > m.higher_gain()
    rates = [*other_rates(m, lower=first)[:1], *other_rates(m, lower=not first)[:1]]
    return [*fixes, *rates]


KIND = Kind(
    name="plateau",
    question="learning_rate",
    meaning="the loss stands still far above what this network can reach",
    judge=judge,
    prescribe=prescribe,
    group="stuck",
    on_fewer_rows="more epochs",
    brings=("underfitting",),
)
