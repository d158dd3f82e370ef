"""A gradient that grows on its way back."""

from __future__ import annotations

import math

import numpy as np

from glassgrad.diagnosis.chain_rule.fixes import to_bound
from glassgrad.diagnosis.chain_rule.question import ChainRule
from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject

EXPLODES = 100.0
"""The gradient at a layer relative to that at the output, or at any time relative to the first and the usual one."""

SOURCE_EXPLODES = "growth of the gradient on its way back, or since the first step (R. Pascanu et al., 2013)"


def judge(m: ChainRule, subject: Subject) -> list[Suspicion]:
    """A gradient that grows on its way back, or while training, or without bound."""
    link, growth = m.most, m.growth
    share = link.start if link is not None else 0.0
    grows = not math.isnan(growth) and growth >= EXPLODES
    stretching = [one for one in m.links if one.jacobian >= EXPLODES]
    if not (share >= EXPLODES or grows or stretching or m.diverged):
        return []
    largest = max([share, growth if grows else 0.0, *(one.jacobian for one in stretching)])
    layer, text = "", "The training broke off at a gradient that was not finite any more."
    if stretching:
        worst = max(stretching, key=lambda one: one.jacobian)
        layer = worst.layer
        text = (
            f"{layer} alone multiplies what goes through it, and the gradient on its way back, by "
            f"{worst.jacobian:.2g}."
        )
    elif share >= EXPLODES:
        worst = max((one for one in m.links if one.factor >= 0), key=lambda one: one.factor)
        layer = worst.layer
        text = (
            f"On its way back the gradient grows to {share:.2g} times its size at the output: {layer} alone "
            f"multiplies it by {worst.factor:.2g}."
        )
    elif grows:
        size = f"{growth:.2g}" if math.isfinite(growth) else "more than 1e18"
        text = f"While training the gradient grew to {size} times its size at the first step."
    return [
        Suspicion(
            layer,
            {
                "times_the_gradient_at_the_output": share,
                "times_the_first_gradient": growth,
                "factors": {one.layer: one.factor for one in m.links},
                "diverged": m.diverged,
            },
            EXPLODES,
            SOURCE_EXPLODES,
            float(np.clip(largest / EXPLODES, 1.0, 1000.0)),
            text,
        )
    ]


def prescribe(suspicion: Suspicion, m: ChainRule, subject: Subject) -> list[Intervention]:
    """What bounds the gradient; where the first weights are at fault, only others."""
    grows = any(link.start >= EXPLODES or link.jacobian >= EXPLODES for link in m.links)
    return to_bound(subject, at_start=grows, by_weights=bool(m.size))


KIND = Kind(
    name="exploding_gradient",
    question="chain_rule",
    meaning="the gradient grows from layer to layer on its way back",
    judge=judge,
    prescribe=prescribe,
    group="wild",
    mechanism=True,
    brings=("oscillation", "learning_rate_too_high", "dead_neurons", "saturated_neurons", "plateau"),
)
