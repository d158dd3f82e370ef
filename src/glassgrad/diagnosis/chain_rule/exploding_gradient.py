"""A gradient that grows in the backward pass, or during training."""

from __future__ import annotations

import math

import numpy as np

from glassgrad.diagnosis.chain_rule.fixes import to_bound
from glassgrad.diagnosis.chain_rule.question import ChainRule
from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject

EXPLODES = 100.0
"""The gradient explodes at this size relative to the gradient at the output, or relative to the larger of the first
and the median gradient of the run. A Jacobian norm of this size counts too."""

SOURCE_EXPLODES = (
    "growth of the gradient in the backward pass, or since the first step (R. Pascanu et al., 2013)"
)


def judge(m: ChainRule, subject: Subject) -> list[Suspicion]:
    """A gradient that grows in the backward pass, or during training, or without bound."""
    link, growth = m.most, m.growth
    share = link.start if link is not None else 0.0
    grows = not math.isnan(growth) and growth >= EXPLODES
    stretching = [item for item in m.links if item.jacobian >= EXPLODES]
    if not (share >= EXPLODES or grows or stretching or m.diverged):
        return []
    largest = max([share, growth if grows else 0.0, *(item.jacobian for item in stretching)])
    layer, text = "", "The training diverged: the gradient was no longer finite."
    if stretching:
        worst = max(stretching, key=lambda item: item.jacobian)
        layer = worst.layer
        text = (
            f"{layer} alone multiplies values in the forward pass, and the gradient in the backward pass, by up to "
            f"{worst.jacobian:.2g}."
        )
    elif share >= EXPLODES:
        worst = max((item for item in m.links if item.factor >= 0), key=lambda item: item.factor)
        layer = worst.layer
        text = (
            f"In the backward pass, the gradient grows to {share:.2g} times its size at the output; {layer} alone "
            f"multiplies it by {worst.factor:.2g}."
        )
    elif grows:
        size = f"{growth:.2g}" if math.isfinite(growth) else "more than 1e18"
        text = f"During training, the gradient grew to {size} times its size at the first step."
    return [
        Suspicion(
            layer,
            {
                "times_the_gradient_at_the_output": share,
                "times_the_first_gradient": growth,
                "factors": {item.layer: item.factor for item in m.links},
                "diverged": m.diverged,
            },
            EXPLODES,
            SOURCE_EXPLODES,
            float(np.clip(largest / EXPLODES, 1.0, 1000.0)),
            text,
        )
    ]


def prescribe(suspicion: Suspicion, m: ChainRule, subject: Subject) -> list[Intervention]:
    """Fixes that bound the gradient; only other initial weights if those are the cause."""
    grows = any(link.start >= EXPLODES or link.jacobian >= EXPLODES for link in m.links)
    return to_bound(subject, at_start=grows, by_weights=bool(m.size))


KIND = Kind(
    name="exploding_gradient",
    question="chain_rule",
    meaning="the gradient grows from layer to layer in the backward pass",
    judge=judge,
    prescribe=prescribe,
    group="wild",
    mechanism=True,
    brings=("oscillation", "learning_rate_too_high", "dead_neurons", "saturated_neurons", "plateau"),
)
