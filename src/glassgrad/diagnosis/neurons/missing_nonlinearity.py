"""Layers without an activation between them."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.other_networks import relaid
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement


def judge(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """Any layer that runs into the next one without an activation."""
    if not m.linear:
        return []
    named = " and ".join(m.linear[:3])
    text = (
        f"Between {named} and the next layer there is no activation, so together they do no more than a "
        f"single layer."
    )
    source = "a product of matrices is a matrix"
    evidence = {"layers": list(m.linear), "left_training": m.left[0], "left_validation": m.left[1]}
    return [Suspicion(named, evidence, None, source, 10.0 + len(m.linear), text)]


def prescribe(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """An activation where there is none."""
    if subject.settings.network is None:
        return [Intervention({"activation": "relu"}, "Use the activation relu in the hidden layers.")]
    options = relaid(subject.network, {name: {"activation": "relu"} for name in m.linear})
    if options is None:
        return []
    return [Intervention(options, f"Use the activation relu in {' and '.join(m.linear[:3])}.")]


KIND = Kind(
    name="missing_nonlinearity",
    question="neurons",
    meaning="layers without an activation between them do no more than a single one",
    judge=judge,
    prescribe=prescribe,
    mechanism=True,
    brings=("underfitting", "plateau"),
)
