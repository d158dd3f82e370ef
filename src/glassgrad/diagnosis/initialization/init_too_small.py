"""Weights that start too small for what comes after them."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.initialization.question import Initialization
from glassgrad.diagnosis.initialization.weights import (
    SOURCE_SCALE,
    copied,
    layer_names,
    only_layer,
    other_initializers,
    scale_evidence,
    with_article,
)
from glassgrad.diagnosis.measures.first_weights import FADED, SMALL, fades, is_small


def judge(m: Initialization, subject: Subject) -> list[Suspicion]:
    """Weights below the need, or gains that multiply to next to nothing; not of copies or of trained weights."""
    if copied(m) or m.pretrained:
        return []
    hidden = [start for start in m.hidden if start.scaled]
    off = [start for start in hidden if is_small(start)]
    share = m.product
    strength = max(
        [SMALL / max(start.too_small, 1e-12) for start in off]
        + [FADED / max(share, 1e-12) if fades(m.starts, m.layers) else 0.0]
    )
    if strength < 1:
        return []
    worst = min(off or hidden, key=lambda s: s.too_small)
    return [
        Suspicion(
            only_layer(off) if off else "",
            scale_evidence(m, worst)
            | {"layers": layer_names(off or hidden), "share_of_the_need": worst.too_small},
            SMALL if off else FADED,
            SOURCE_SCALE,
            min(strength, 1000.0),
            f"The weights of {worst.layer} start at {worst.too_small:.2g} of the size that {with_article(worst)} "
            "layer needs"
            + (f"; over all hidden layers {share:.2g} of the signal arrives." if len(hidden) > 1 else "."),
        )
    ]


def prescribe(suspicion: Suspicion, m: Initialization, subject: Subject) -> list[Intervention]:
    """Other initializers."""
    return other_initializers(m, subject)


KIND = Kind(
    name="init_too_small",
    question="initialization",
    meaning="the values shrink from layer to layer at the start",
    judge=judge,
    prescribe=prescribe,
    mechanism=True,
    brings=("stuck", "flow"),
)
