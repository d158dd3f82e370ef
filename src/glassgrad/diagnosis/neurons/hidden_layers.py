"""What the kinds about hidden neurons share: the evidence of a layer, the strongest layer, and a fresh start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.other_networks import relaid
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.measures.activity import LayerActivity
from glassgrad.nn.layers.convolution import Conv2D
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.network import activation_of

BOUNDED = ("tanh", "sigmoid")
"""Activations with two flat ends."""


def layer_evidence(layer: LayerActivity) -> dict[str, Any]:
    """The numbers of a layer that its suspicions show."""
    return {
        "units": layer.units,
        "dead": layer.dead,
        "dead_at_start": layer.dead_at_start,
        "saturated": layer.saturated,
        "copies": layer.copies,
        "effective_rank": layer.rank,
    }


def strongest(suspicions: Iterable[Suspicion]) -> list[Suspicion]:
    """The first of the strongest suspicions, if there is any: one fix is for all layers."""
    ordered = sorted(suspicions, key=lambda suspicion: -suspicion.strength)
    return ordered[:1]


def usual_init(subject: Subject) -> str:
    """The initializer that suits the activations of the network."""
    bounded = any(activation_of(node.layer).name in BOUNDED for node in subject.network.nodes)
    return "xavier_normal" if bounded else "he_normal"


def fresh_start(subject: Subject) -> list[Intervention]:
    """For neurons that were off from the start: biases at zero, and weights of the usual size."""
    init = usual_init(subject)
    if subject.settings.network is None:
        return []
    changed_fields = {
        node.name: {"bias_init": "zeros", "init": init}
        for node in subject.network.nodes
        if isinstance(node.layer, Dense | Conv2D)
    }
    options = relaid(subject.network, changed_fields)
    if options is None:
        return []
    return [
        Intervention(options, f"Let all biases begin at zero, and the weights at random numbers ({init}).")
    ]
