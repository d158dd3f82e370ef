"""Neurons of a layer that compute the same function."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.neurons.hidden_layers import layer_evidence, strongest, usual_init
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement

COPIES = 0.3
"""Share of units that are copies of others, from which a layer is suspected. A random start has no copies."""


def judge(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """The layer with the largest share of copies, if that is at least ``COPIES``."""
    suspicions = []
    for layer in m.hidden:
        if layer.units > 1 and layer.copies / layer.units >= COPIES:
            text = f"In {layer.name}, {layer.copies} of {layer.units} neurons compute the same as another neuron."
            source = "outputs equal up to rounding"
            strength = layer.copies / layer.units / COPIES
            suspicions.append(Suspicion(layer.name, layer_evidence(layer), COPIES, source, strength, text))
    return strongest(suspicions)


def prescribe(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """Random initial weights."""
    init = usual_init(subject)
    return [Intervention({"init": init}, f"Initialize the weights randomly ({init}).")]


KIND = Kind(
    name="duplicate_neurons",
    question="neurons",
    meaning="neurons of a layer compute the same function",
    judge=judge,
    prescribe=prescribe,
    group="flow",
    mechanism=True,
    brings=("underfitting", "plateau"),
)
