"""Layers without an activation between them."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.other_networks import with_layer_fields
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement


def judge(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """The layers that feed the next layer without an activation between."""
    if not m.linear:
        return []
    names = " and ".join(m.linear[:3])
    text = (
        f"No activation separates {names} from the next layer, so together they compute no more than a single "
        "layer."
    )
    source = "a product of matrices is a matrix"
    evidence = {"layers": list(m.linear), "left_training": m.left[0], "left_validation": m.left[1]}
    return [Suspicion(names, evidence, None, source, 10.0 + len(m.linear), text)]


def prescribe(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """An activation where one is missing."""
    if subject.settings.network is None:
        return [Intervention({"activation": "relu"}, "Use the activation relu in the hidden layers.")]
    options = with_layer_fields(subject.network, {name: {"activation": "relu"} for name in m.linear})
    if options is None:
        return []
    return [Intervention(options, f"Use the activation relu in {' and '.join(m.linear[:3])}.")]


KIND = Kind(
    name="missing_nonlinearity",
    question="neurons",
    meaning="layers without an activation between them compute no more than a single layer",
    judge=judge,
    prescribe=prescribe,
    mechanism=True,
    brings=("underfitting", "plateau"),
)
