"""Neurons of a layer that compute the same."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.neurons.hidden_layers import layer_evidence, strongest, usual_init
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement

COPIES = 0.3
"""A share of units that are copies of others; there are none after a random start."""


def judge(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """The layer with the largest share of copies, from ``COPIES`` on."""
    suspicions = []
    for layer in m.hidden:
        if layer.units > 1 and layer.copies / layer.units >= COPIES:
            text = f"In {layer.name} {layer.copies} of {layer.units} neurons compute the same as another one."
            source = "outputs equal up to rounding"
            strength = layer.copies / layer.units / COPIES
            suspicions.append(Suspicion(layer.name, layer_evidence(layer), COPIES, source, strength, text))
    return strongest(suspicions)


def prescribe(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """A random start."""
    init = usual_init(subject)
    return [Intervention({"init": init}, f"Let the weights begin at random numbers ({init}).")]


KIND = Kind(
    name="duplicate_neurons",
    question="neurons",
    meaning="neurons of a layer that compute the same",
    judge=judge,
    prescribe=prescribe,
    group="flow",
    mechanism=True,
    brings=("underfitting", "plateau"),
)
