"""Initial weights that are too small for the activation after them."""

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
    """Weights that are smaller than needed, or a signal that fades; not for copies or pretrained weights."""
    if copied(m) or m.pretrained:
        return []
    hidden = [start for start in m.hidden if start.scaled]
    small = [start for start in hidden if is_small(start)]
    share = m.product
    strength = max(
        [SMALL / max(start.too_small, 1e-12) for start in small]
        + [FADED / max(share, 1e-12) if fades(m.starts, m.layers) else 0.0]
    )
    if strength < 1:
        return []
    worst = min(small or hidden, key=lambda s: s.too_small)
    return [
        Suspicion(
            only_layer(small) if small else "",
            scale_evidence(m, worst)
            | {"layers": layer_names(small or hidden), "share_of_the_need": worst.too_small},
            SMALL if small else FADED,
            SOURCE_SCALE,
            min(strength, 1000.0),
            f"The initial weights of {worst.layer} have {worst.too_small:.2g} times the size that "
            f"{with_article(worst)} layer needs"
            + (
                f"; after all hidden layers, the signal has shrunk to {share:.2g} times its size."
                if len(hidden) > 1
                else "."
            ),
        )
    ]


def prescribe(suspicion: Suspicion, m: Initialization, subject: Subject) -> list[Intervention]:
    """Other initializers."""
    return other_initializers(m, subject)


KIND = Kind(
    name="init_too_small",
    question="initialization",
    meaning="the initial weights are too small, so values shrink from layer to layer",
    judge=judge,
    prescribe=prescribe,
    mechanism=True,
    brings=("stuck", "flow"),
)
