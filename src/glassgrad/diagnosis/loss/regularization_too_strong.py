"""Weight decay or dropout that prevents the network from fitting its training rows."""

from __future__ import annotations

import math
from typing import Any

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LEFT, LossMeasurement
from glassgrad.diagnosis.loss.overfitting import APART

SHRINKING = 0.3
"""Without a gradient, decoupled weight decay shrinks a weight by exp(-x) over the run, x = rate * decay * steps: to
three quarters at this threshold (I. Loshchilov and F. Hutter, Decoupled weight decay regularization, ICLR
2019)."""

DROPOUT = 0.3
"""Dropout from this rate on is suspected; one half is usual in layers of thousands of units (N. Srivastava et al.,
2014)."""


def judge(m: LossMeasurement, subject: Subject) -> list[Suspicion]:
    """Strong weight decay or dropout, if the network does not overfit."""
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
        what.append(f"dropout removes {m.dropout:.0%} of the units in every step")
    text = (
        f"{' and '.join(what)}, and {m.left[0]:.0%} of the baseline's "
        f"{'mistakes remain' if subject.classification else 'variance remains'} on training rows."
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
    """No regularization, or much less."""
    free: dict[str, Any] = {}
    if m.shrinking >= SHRINKING:
        free["weight_decay"] = 0.0
    reduced = []
    if m.dropout >= DROPOUT:
        free["dropout"] = 0.0
        reduced.append(Intervention({"dropout": 0.1}, "Reduce dropout to 0.1."))
    if "weight_decay" in free:
        decay = subject.settings.resolved_optimizer.hyperparameters()["weight_decay"] / 30
        reduced.append(Intervention({"weight_decay": decay}, f"Reduce the weight decay to {decay:.2g}."))
    names = " and ".join(name.replace("_", " ") for name in free)
    return [Intervention(free, f"Train without {names}."), *reduced]


KIND = Kind(
    name="regularization_too_strong",
    question="loss",
    meaning="weight decay or dropout is so strong that the network cannot fit its training rows",
    judge=judge,
    prescribe=prescribe,
    brings=("stuck", "flow"),
)
