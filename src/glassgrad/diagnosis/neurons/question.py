"""Are the neurons alive, and are their inputs right? What they do on training rows, what inputs hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core.findings import Fault
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.measures.activity import LayerActivity, activities
from glassgrad.diagnosis.measures.inputs import Inputs, look_at_inputs
from glassgrad.nn.activations import Identity
from glassgrad.nn.layers.convolution import Conv2D
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.embedding import Embedding
from glassgrad.nn.layers.merging import Multiply
from glassgrad.nn.layers.pooling import MaxPool2D
from glassgrad.nn.layers.recurrent import SimpleRNN
from glassgrad.nn.network import INPUT, Network, activation_of


@frozen
class NeuronsMeasurement:
    """What was measured of neurons (``layers``) and ``inputs``; ``linear`` names layers that run into the next one
    without an activation between. ``left`` is what the network leaves of the constant predictor's mistakes or
    variance, on training and validation rows."""

    layers: tuple[LayerActivity, ...]
    inputs: Inputs
    linear: tuple[str, ...]
    classification: bool
    left: tuple[float, float]

    @property
    def hidden(self) -> tuple[LayerActivity, ...]:
        """All but the output."""
        return tuple(layer for layer in self.layers if layer.hidden)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "layers": [layer.document() for layer in self.layers],
            "inputs": self.inputs.document(),
            "without_activation": list(self.linear),
        }


def measure(subject: Subject) -> NeuronsMeasurement:
    """On up to 512 training rows."""
    layers = activities(subject.run.model, subject.start, subject.probe[0])
    linear = linear_layers(subject.network)
    return NeuronsMeasurement(layers, look_at_inputs(subject), linear, subject.classification, subject.left)


def linear_layers(network: Network) -> tuple[str, ...]:
    """Layers with weights whose outputs reach another such layer without anything that bends them."""
    source: dict[str, list[str]] = {INPUT: []}
    unbent: list[str] = []
    for node in network.nodes:
        bent = not isinstance(activation_of(node.layer), Identity)
        bent = bent or isinstance(node.layer, MaxPool2D | Multiply | Embedding | SimpleRNN)
        before = [layer for name in node.inputs for layer in source[name]]
        weighted = isinstance(node.layer, Dense | Conv2D | SimpleRNN)
        if weighted:
            unbent += before
        source[node.name] = [] if bent else [node.name] if weighted else before
    return tuple(dict.fromkeys(unbent))


# --- the answer ----------------------------------------------------------------------------------------------


def sentence(measurement: NeuronsMeasurement, faults: Sequence[Fault]) -> str:
    """How many neurons are alive, and which input says most by itself."""
    m = measurement
    hidden = m.hidden
    if not hidden:
        return "The network has no hidden neurons: every output looks at the inputs themselves."
    units, dead = sum(layer.units for layer in hidden), sum(layer.dead for layer in hidden)
    text = f"Of {units:,} hidden neurons {units - dead:,} are alive on the training rows"
    least = min(
        hidden, key=lambda layer: layer.rank / max(layer.units, 1) if math.isfinite(layer.rank) else math.inf
    )
    if math.isfinite(least.rank):
        text += f"; the {least.units} of {least.name} say about as much as {least.rank:.0f} independent ones"
    if m.inputs.alone:
        column, share = max(m.inputs.alone.items(), key=lambda item: item[1])
        text += f". The input that says most by itself is {column}: it takes away {share:.0%} of what a "
        text += "constant guess leaves"
    return text + "."
