"""A custom part whose derivative disagrees with central differences."""

from __future__ import annotations

import math

from glassgrad.diagnosis.chain_rule.question import WRONG, ChainRule
from glassgrad.diagnosis.core.evidence import Suspicion, Trial
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.measures.custom_gradients import SEEDS, GradientCheck

SOURCE_WRONG = "central differences in float64, whose own error is below 1e-6"


def judge(m: ChainRule, subject: Subject) -> list[Suspicion]:
    """One suspicion for each part with a wrong derivative, about its worst argument."""
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
    text = f"The derivative of {part.part}{where} with respect to {part.by} is wrong: central differences"
    if abs(part.error - _relative(part.factor)) < 0.01:  # The derivative is wrong by a factor.
        text += f" give {_inverse(part.factor)}"
    else:
        text += f" differ from it by {part.error:.0%}"
    if max(part.inside) < WRONG:
        text += ". Without its derivative rule, the chain rule through its ops gives the right derivative"
    return text + "."


def _relative(factor: float) -> float:
    """The relative error of a derivative that is ``factor`` times the true one."""
    return abs(factor - 1) / max(1.0, abs(factor)) if math.isfinite(factor) else math.inf


def _inverse(factor: float) -> str:
    if factor == 0:
        return "a derivative where it gives zero"
    return "the opposite" if abs(factor + 1) < 0.01 else f"{1 / factor:.3g} times as much"


def prove(suspicion: Suspicion, m: ChainRule, subject: Subject) -> Trial | None:
    """The errors of the part's derivative rule, and of the chain rule through its ops."""
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
        sides=("with its derivative rule", "with the chain rule through its ops"),
    )


KIND = Kind(
    name="wrong_gradient",
    question="chain_rule",
    meaning="a custom part has a derivative that disagrees with central differences",
    judge=judge,
    prove=prove,
    effect="proof",
    brings=("stuck", "flow", "wild"),
)
