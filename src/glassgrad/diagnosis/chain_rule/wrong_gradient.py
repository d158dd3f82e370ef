"""A custom part whose derivative central differences contradict."""

from __future__ import annotations

import math

from glassgrad.diagnosis.chain_rule.question import WRONG, ChainRule
from glassgrad.diagnosis.core.evidence import Suspicion, Trial
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.measures.custom_gradients import SEEDS, GradientCheck

SOURCE_WRONG = "central differences in float64, whose own error is below 1e-6"


def judge(m: ChainRule, subject: Subject) -> list[Suspicion]:
    """The worst argument of each part with a wrong derivative."""
    suspicions: dict[str, Suspicion] = {}
    for part in m.wrong:
        suspicions.setdefault(
            part.where,
            Suspicion(
                part.where,
                {
                    "part": part.part,
                    "by": part.by,
                    "relative_error": part.error,
                    "times_the_true_one": part.factor,
                    "error_without_its_rule": max(part.inside),
                },
                WRONG,
                SOURCE_WRONG,
                min(part.error / WRONG, 100.0),
                _text(part),
            ),
        )
    return list(suspicions.values())


def _text(part: GradientCheck) -> str:
    where = "" if part.where == "loss" else f" in {part.where}"
    text = f"The derivative of {part.part}{where} by {part.by} is not that of what it computes: central differences"
    if abs(part.error - _relative(part.factor)) < 0.01:  # all of the error lies along the derivative itself
        text += f" find {_inverse(part.factor)}"
    else:
        text += f" are {part.error:.0%} away from it"
    if max(part.inside) < WRONG:
        text += ". Without its own derivative rule, the chain rule through its ops gives the right one"
    return text + "."


def _relative(factor: float) -> float:
    """The error of a derivative that is ``factor`` times the true one."""
    return abs(factor - 1) / max(1.0, abs(factor)) if math.isfinite(factor) else math.inf


def _inverse(factor: float) -> str:
    if factor == 0:
        return "a slope where it gives none"
    return "the opposite" if abs(factor + 1) < 0.01 else f"{1 / factor:.3g} times as much"


def prove(suspicion: Suspicion, m: ChainRule, subject: Subject) -> Trial | None:
    """The errors by the part's own rule, and by the chain rule through its ops instead."""
    part = next((part for part in m.wrong if part.where == suspicion.where), None)
    if part is None:
        return None
    return Trial(
        SEEDS,
        "derivative_error",
        part.errors,
        part.inside,
        min(part.errors) > WRONG,
        0.0,
        effect="proof",
        sides=("by its own rule", "by the chain rule through its ops"),
    )


KIND = Kind(
    name="wrong_gradient",
    question="chain_rule",
    meaning="a part of your own has a derivative that central differences contradict",
    judge=judge,
    prove=prove,
    effect="proof",
    brings=("stuck", "flow", "wild"),
)
