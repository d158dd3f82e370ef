"""Neurons that are active on no training row."""

from __future__ import annotations

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.neurons.hidden_layers import BOUNDED, fresh_start, layer_evidence, strongest
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement

DEAD = 0.3
"""Share of dead units from which a layer is suspected. With usual settings up to a fifth die (L. Lu et al., Dying
ReLU and initialization, 2019, derive when all units die)."""


def judge(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """The layer with the largest share of dead neurons, if that is at least ``DEAD``."""
    suspicions = []
    for layer in m.hidden:
        share = layer.dead / max(layer.units, 1)
        if share >= DEAD and layer.activation not in BOUNDED:
            text = f"In {layer.name}, {layer.dead} of {layer.units} neurons are active on no training row"
            if layer.dead_at_start:
                text += f"; {layer.dead_at_start} were dead from the start"
            source = "share of neurons that pass no gradient on for any row"
            suspicions.append(
                Suspicion(layer.name, layer_evidence(layer), DEAD, source, share / DEAD, text + ".")
            )
    return strongest(suspicions)


def prescribe(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """A fresh initialization, an activation that is nowhere flat, or a smaller step."""
    rate = subject.settings.resolved_optimizer.hyperparameters()["learning_rate"]
    return [
        *fresh_start(subject),
        Intervention(
            {"activation": "leaky_relu"}, "Use leaky_relu, which passes some gradient on at every value."
        ),
        Intervention({"learning_rate": rate / 10}, f"Set the learning rate to {rate / 10:.3g}."),
    ]


KIND = Kind(
    name="dead_neurons",
    question="neurons",
    meaning="neurons that are active on no row and never learn again",
    judge=judge,
    prescribe=prescribe,
    group="flow",
    mechanism=True,
    brings=("stuck", "vanishing_gradient"),
)
