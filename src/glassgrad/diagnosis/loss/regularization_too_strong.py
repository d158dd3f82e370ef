"""Weight decay or dropout that takes more away than training puts in."""

from __future__ import annotations

import math
from typing import Any

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LEFT, LossMeasurement
from glassgrad.diagnosis.loss.overfitting import APART

SHRINKING = 0.3
"""Decoupled weight decay shrinks a weight that no gradient holds by exp(-x) over the run, x = rate * decay * steps:
to three quarters at this threshold (I. Loshchilov and F. Hutter, Decoupled weight decay regularization, ICLR
2019)."""

DROPOUT = 0.3
"""Dropout of more than this is suspected: a half is usual in layers of thousands of units (N. Srivastava et
al., 2014)."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Weight decay or dropout that takes more away than training puts in."""
    decays, drops = m.shrinking / SHRINKING, m.dropout / DROPOUT
    if max(decays, drops) < 1 or not m.left[1] > LEFT / 2 or (m.apart > APART and m.left[0] < LEFT):
        return []
    evidence = {
        "weight_decay_over_the_run": m.shrinking,
        "dropout": m.dropout,
        "left_training": m.left[0],
        "left_validation": m.left[1],
    }
    what = []
    if decays >= 1:
        what.append(
            f"weight decay alone would shrink the weights to {math.exp(-m.shrinking):.1%} in this run"
        )
    if drops >= 1:
        what.append(f"dropout takes {m.dropout:.0%} of the units away in every step")
    text = (
        f"{' and '.join(what)}, while {m.left[0]:.0%} of the mistakes of a constant guess are left on "
        f"training rows."
    )
    source = "rate * decay * steps"
    return [
        Suspicion(
            "",
            evidence,
            SHRINKING if decays >= drops else DROPOUT,
            source,
            max(decays, drops),
            text[0].upper() + text[1:],
        )
    ]


def prescribe(suspicion: Suspicion, m: LossMeasurement, subject: Subject) -> list[Intervention]:
    """None of it, or much less."""
    free: dict[str, Any] = {}
    if m.shrinking >= SHRINKING:
        free["weight_decay"] = 0.0
    lighter = []
    if m.dropout >= DROPOUT:
        free["dropout"] = 0.0
        lighter.append(Intervention({"dropout": 0.1}, "Take dropout down to 0.1."))
    if "weight_decay" in free:
        decay = subject.settings.resolved_optimizer.hyperparameters()["weight_decay"] / 30
        lighter.append(Intervention({"weight_decay": decay}, f"Take the weight decay down to {decay:.2g}."))
    named = " and ".join(name.replace("_", " ") for name in free)
    return [Intervention(free, f"Train without {named}."), *lighter]


KIND = Kind(
    name="regularization_too_strong",
    question="loss",
    meaning="weight decay or dropout holds the network back from what it could learn",
    judge=judge,
    prescribe=prescribe,
    brings=("stuck", "flow"),
)
