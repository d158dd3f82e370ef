"""A loss that has stopped falling far above the lowest reachable loss."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import LearningRate
from glassgrad.diagnosis.learning_rate.rates import SWING, other_rates, rate_evidence

FLAT = 0.01
"""The loss has stopped falling if the last third of the run gained less than this share of the gap."""

FAR = 0.1
"""The loss is far above the reachable one if at least this share of the gap remains."""


def judge(m: LearningRate, subject: Subject) -> list[Suspicion]:
    """A loss that has stopped falling far above the lowest known loss, or near the baseline."""
    left = m.left
    is_flat = abs(m.pace.falling) < FLAT and not m.pace.swing >= SWING
    if m.diverged or not is_flat or not (left >= FAR or m.pace.end >= (1 - FAR) * m.constant):
        return []
    return [
        Suspicion(
            "",
            rate_evidence(m) | {"won_by_last_third": m.pace.falling, "left": left},
            FAR,
            "share of the gap to the lowest known loss that remains although the loss has stopped falling",
            max(left, FAR) / FAR,
            f"The loss stopped falling at {m.pace.end:.3g}, far above what the network can reach.",
        )
    ]


def prescribe(suspicion: Suspicion, m: LearningRate, subject: Subject) -> list[Intervention]:
    """Another optimizer, and the best rates on both sides."""
    fixes = []
    if m.optimizer not in ("adam", "adamw"):
        fixes.append(
            Intervention(
                {"optimizer": "adam", "learning_rate": 0.001}, "Use Adam with a learning rate of 0.001."
            )
        )
    lower_first = m.lower_gain() > m.higher_gain()
    rates = [*other_rates(m, lower=lower_first)[:1], *other_rates(m, lower=not lower_first)[:1]]
    return [*fixes, *rates]


KIND = Kind(
    name="plateau",
    question="learning_rate",
    meaning="the loss stops falling far above what this network can reach",
    judge=judge,
    prescribe=prescribe,
    group="stuck",
    on_fewer_rows="more epochs",
    brings=("underfitting",),
)
