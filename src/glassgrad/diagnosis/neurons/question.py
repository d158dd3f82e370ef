"""Are the neurons alive, and are their inputs right? Measures the activity of neurons, and the inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core.findings import Fault
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.measures.activity import LayerActivity, activities
from glassgrad.diagnosis.measures.inputs import Inputs, measure_inputs
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
    """The measurement of neurons (``layers``) and ``inputs``.

    ``linear`` names layers that feed the next layer without an activation between. ``left`` is the share of the
    baseline's mistakes or variance that remains on (training, validation) rows.
    """

    layers: tuple[LayerActivity, ...]
    inputs: Inputs
    linear: tuple[str, ...]
    classification: bool
    left: tuple[float, float]

    @property
    def hidden(self) -> tuple[LayerActivity, ...]:
        """All layers except the output."""
        return tuple(layer for layer in self.layers if layer.hidden)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "layers": [layer.document() for layer in self.layers],
            "inputs": self.inputs.document(),
            "without_activation": list(self.linear),
        }


def measure(subject: Subject) -> NeuronsMeasurement:
    """Measure neurons on up to 512 training rows, and inputs on all of them."""
    layers = activities(subject.run.model, subject.start, subject.probe[0])
    linear = linear_layers(subject.network)
    return NeuronsMeasurement(layers, measure_inputs(subject), linear, subject.classification, subject.left)


def linear_layers(network: Network) -> tuple[str, ...]:
    """Layers with weights whose outputs reach another such layer through linear operations only."""
    sources: dict[str, list[str]] = {INPUT: []}
    linear: list[str] = []
    for node in network.nodes:
        nonlinear = not isinstance(activation_of(node.layer), Identity)
        nonlinear = nonlinear or isinstance(node.layer, MaxPool2D | Multiply | Embedding | SimpleRNN)
        before = [layer for name in node.inputs for layer in sources[name]]
        weighted = isinstance(node.layer, Dense | Conv2D | SimpleRNN)
        if weighted:
            linear += before
        sources[node.name] = [] if nonlinear else [node.name] if weighted else before
    return tuple(dict.fromkeys(linear))


# --- the answer ----------------------------------------------------------------------------------------------


def sentence(measurement: NeuronsMeasurement, faults: Sequence[Fault]) -> str:
    """The number of live neurons, and the most informative input."""
    m = measurement
    hidden = m.hidden
    if not hidden:
        return "The network has no hidden neurons: every output depends on the inputs directly."
    units, dead = sum(layer.units for layer in hidden), sum(layer.dead for layer in hidden)
    text = f"Of {units:,} hidden neurons, {units - dead:,} are alive on the training rows"
    least = min(
        hidden, key=lambda layer: layer.rank / max(layer.units, 1) if math.isfinite(layer.rank) else math.inf
    )
    if math.isfinite(least.rank):
        text += f"; the {least.units} neurons of {least.name} carry about as much information as "
        text += f"{least.rank:.0f} independent ones"
    if m.inputs.alone:
        column, share = max(m.inputs.alone.items(), key=lambda item: item[1])
        what = "mistakes" if m.classification else "variance"
        text += f". The most informative single input is {column}: alone, it removes {share:.0%} of the "
        text += f"baseline's {what}"
    return text + "."
