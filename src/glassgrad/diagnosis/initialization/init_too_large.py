"""Initial weights that are too large for the activation after them."""

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
from glassgrad.diagnosis.measures.first_weights import ABOVE, GROWTH, LARGE, is_large
from glassgrad.optim.optimizers import SGD


def judge(m: Initialization, subject: Subject) -> list[Suspicion]:
    """Weights that are larger than needed, or preactivations that grow; not for copies or pretrained weights."""
    if copied(m) or m.pretrained:
        return []
    large = [start for start in m.starts if is_large(start)]
    grown, where = m.growth
    strength = max(
        [start.too_large / LARGE for start in large] + [grown / GROWTH if grown >= GROWTH else 0.0]
    )
    above = large or [s for s in m.hidden if s.scaled and s.too_large >= ABOVE]
    if strength < 1 or not above:
        return []
    worst = max(above, key=lambda s: s.too_large)
    return [
        Suspicion(
            only_layer(above),
            scale_evidence(m, worst)
            | {
                "layers": layer_names(above),
                "times_the_need": worst.too_large,
                "growth": grown,
                "largest_sums": where,
            },
            LARGE,
            SOURCE_SCALE,
            min(strength, 1000.0),
            f"The initial weights of {worst.layer} are {worst.too_large:.2g} times as large as {with_article(worst)} "
            "layer needs"
            + (
                f", and the preactivations reach {grown:.2g} times the size of the inputs."
                if grown >= GROWTH
                else "."
            ),
        )
    ]


def prescribe(suspicion: Suspicion, m: Initialization, subject: Subject) -> list[Intervention]:
    """Other initializers; for SGD also with a higher rate, since large weights require small steps."""
    fixes = other_initializers(m, subject)
    optimizer = subject.settings.resolved_optimizer
    if isinstance(optimizer, SGD):
        rate = float(f"{10 * optimizer.hyperparameters()['learning_rate']:.3g}")
        options = {**fixes[0].options, "learning_rate": rate}
        fixes.insert(
            1,
            Intervention(options, f"{fixes[0].sentence[:-1]}, and make the learning rate ten times as high."),
        )
    return fixes


KIND = Kind(
    name="init_too_large",
    question="initialization",
    meaning="the initial weights are too large, so values grow from layer to layer",
    judge=judge,
    prescribe=prescribe,
    mechanism=True,
    brings=("stuck", "flow", "wild", "overfitting", "wrong_optimizer_setting"),
)
