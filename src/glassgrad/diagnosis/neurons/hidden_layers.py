"""Shared by the kinds about hidden neurons: evidence, the strongest suspicion, and a fresh initialization."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.other_networks import with_layer_fields
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.measures.activity import LayerActivity
from glassgrad.nn.layers.convolution import Conv2D
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.network import activation_of

BOUNDED = ("tanh", "sigmoid")
"""Activations that saturate on both sides."""


def layer_evidence(layer: LayerActivity) -> dict[str, Any]:
    """The evidence for suspicions about a layer."""
    return {
        "units": layer.units,
        "dead": layer.dead,
        "dead_at_start": layer.dead_at_start,
        "saturated": layer.saturated,
        "copies": layer.copies,
        "effective_rank": layer.rank,
    }


def strongest(suspicions: Iterable[Suspicion]) -> list[Suspicion]:
    """The strongest suspicion, or an empty list. One is enough, because one fix applies to all layers."""
    ordered = sorted(suspicions, key=lambda suspicion: -suspicion.strength)
    return ordered[:1]


def usual_init(subject: Subject) -> str:
    """The initializer that suits the activations of the network."""
    bounded = any(activation_of(node.layer).name in BOUNDED for node in subject.network.nodes)
    return "xavier_normal" if bounded else "he_normal"


def fresh_start(subject: Subject) -> list[Intervention]:
    """Zero biases and weights of the usual size; empty for a network built from options, or without a change."""
    init = usual_init(subject)
    if subject.settings.network is None:
        return []
    changed_fields = {
        node.name: {"bias_init": "zeros", "init": init}
        for node in subject.network.nodes
        if isinstance(node.layer, Dense | Conv2D)
    }
    options = with_layer_fields(subject.network, changed_fields)
    if options is None:
        return []
    return [Intervention(options, f"Initialize all biases with zero and the weights randomly ({init}).")]
