"""Neurons at the flat ends of their activation."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.neurons.hidden_layers import BOUNDED, fresh_start, layer_evidence, strongest
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement

SATURATED = 0.5
"""Share of saturated values from which a layer is suspected (X. Glorot and Y. Bengio, Understanding the difficulty of
training deep feedforward neural networks, 2010, show the effect)."""


def judge(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """The layer with the largest share of saturated values, if that is at least ``SATURATED``."""
    suspicions = []
    for layer in m.hidden:
        if layer.activation in BOUNDED and layer.saturated >= SATURATED:
            text = (
                f"The neurons of {layer.name} are saturated in {layer.saturated:.0%} of cases: at the flat ends of "
                f"{layer.activation}, hardly any gradient passes."
            )
            source = "share of values where the slope is below a tenth of the steepest"
            strength = layer.saturated / SATURATED
            suspicions.append(Suspicion(layer.name, layer_evidence(layer), SATURATED, source, strength, text))
    return strongest(suspicions)


def prescribe(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """A fresh initialization, standardized inputs, another activation, or smaller weights."""
    raw = subject.settings.scaling == "none"
    standard = [Intervention({"scaling": "standard"}, "Standardize the inputs.")] if raw else []
    return [
        *fresh_start(subject),
        *standard,
        Intervention(
            {"activation": "relu", "init": "he_normal"}, "Use relu, which is flat on one side only."
        ),
        Intervention({"init": "xavier_normal"}, "Use the initializer xavier_normal."),
    ]


KIND = Kind(
    name="saturated_neurons",
    question="neurons",
    meaning="neurons are saturated: at the flat ends of their activation, where hardly any gradient passes",
    judge=judge,
    prescribe=prescribe,
    group="flow",
    mechanism=True,
    brings=("stuck", "vanishing_gradient"),
)
