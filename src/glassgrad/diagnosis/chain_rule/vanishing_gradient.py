"""A gradient that shrinks in the backward pass."""

from __future__ import annotations

import math

from glassgrad.diagnosis.chain_rule.fixes import to_let_through
from glassgrad.diagnosis.chain_rule.question import VANISHES, ChainRule, Link, share_in_words
from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject

GONE = 1e-3
"""Like ``VANISHES``, at the end of a run whose gradient did not vanish at the start."""

SOURCE_VANISHES = "share of the gradient at the output that reaches the layer (X. Glorot and Y. Bengio, 2010)"


def judge(m: ChainRule, subject: Subject) -> list[Suspicion]:
    """A layer that hardly any gradient reaches, at the start or at the end of a run that did not learn."""
    if m.learned or m.least is None:
        return []
    at_start = m.least
    if at_start.start <= VANISHES:
        return [_vanished(m, at_start, at_start.start, VANISHES, "at the start")]
    late = [link for link in m.links if link.weighted and link.end <= GONE]
    if late and m.at_output[1] > 0:
        link = min(late, key=lambda link: link.end)
        return [_vanished(m, link, link.end, GONE, "at the end")]
    return []


def _vanished(m: ChainRule, link: Link, share: float, threshold: float, when: str) -> Suspicion:
    weakest = _weakest_layer(m, link)
    return Suspicion(
        weakest.layer,
        {
            "reached": link.layer,
            "share_of_the_gradient": share,
            "when": when,
            "factors": {item.layer: item.factor for item in m.links},
            "jacobian_norms": {item.layer: item.jacobian for item in m.links},
            "loss": m.loss,
            "constant_loss": m.constant,
        },
        threshold,
        SOURCE_VANISHES,
        min(threshold / max(share, 1e-12), 1000.0),
        f"Of the gradient at the output, {share_in_words(share)} reaches {link.layer} {when}: in the backward pass, "
        f"{weakest.layer} {'blocks it' if weakest.factor == 0 else f'multiplies it by {weakest.factor:.2g}'}"
        f"{', and other layers by only a little more' if _others_are_small(m, link, weakest) else ''}.",
    )


def _weakest_layer(m: ChainRule, reached: Link) -> Link:
    """The layer from ``reached`` on that shrinks the gradient most; of equals, the one nearest to the output."""
    names = [link.layer for link in m.links]
    after = [link for link in m.links[names.index(reached.layer) :] if not math.isnan(link.factor)]
    return min(reversed(after), key=lambda link: link.factor, default=reached)


def _others_are_small(m: ChainRule, reached: Link, weakest: Link) -> bool:
    small = [link for link in m.links if link.factor < max(0.5, 2 * weakest.factor) and link is not weakest]
    return weakest.factor > 0 and len(small) > 1


def prescribe(suspicion: Suspicion, m: ChainRule, subject: Subject) -> list[Intervention]:
    """Fixes that let the gradient through; only other initial weights if those are the cause."""
    at_start = suspicion.evidence["when"] == "at the start"
    return to_let_through(subject, at_start=at_start, by_weights=bool(m.size))


KIND = Kind(
    name="vanishing_gradient",
    question="chain_rule",
    meaning="the gradient shrinks from layer to layer in the backward pass, so that the first layers hardly learn",
    judge=judge,
    prescribe=prescribe,
    group="flow",
    mechanism=True,
    refused_for="activation",
    brings=("stuck", "duplicate_neurons"),
)
