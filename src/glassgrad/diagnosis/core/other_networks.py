"""Modified networks to try: wider, with other outputs, with dropout, or with other initializers or activations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.variants import transformed, with_output
from glassgrad.losses.table import loss as loss_of
from glassgrad.nn.activations import Identity
from glassgrad.nn.layer import Layer
from glassgrad.nn.layers.convolution import Conv2D
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.dropout import Dropout
from glassgrad.nn.layers.recurrent import SimpleRNN
from glassgrad.nn.network import Network, Sequential, activation_of, from_document
from glassgrad.training.settings import Settings

WIDTH = 64
RATE = 0.3
USUAL = (64, 32)


def widened(subject: Subject) -> Iterator[tuple[dict[str, Any], str]]:
    """Options for larger networks, each with a sentence that describes it."""
    settings, network = subject.settings, subject.network
    if settings.network is None:
        layers = tuple(max(units, WIDTH) for units in settings.layers) or USUAL
        if layers != settings.layers:
            yield {"layers": layers}, f"Use hidden layers of {', '.join(map(str, layers))} units."
        deeper = tuple(max(4 * units, 128) for units in settings.layers[:1]) + layers
        yield {"layers": deeper}, f"Use hidden layers of {', '.join(map(str, deeper))} units."
        return
    hidden = [_units(node.layer) for node in network.nodes[:-1] if _units(node.layer) is not None]
    if hidden:
        factor = max(-(-WIDTH // min(unit for unit in hidden if unit)), 2)
        nodes = [
            node if node is network.nodes[-1] else replace(node, layer=_scaled(node.layer, factor))
            for node in network.nodes
        ]
        yield {"network": Network(tuple(nodes))}, f"Give every hidden layer {factor} times as many units."
    elif len(subject.task.parts.schema.feature_shape) == 1:
        yield (
            {"network": None, "layers": USUAL, "activation": "relu", "init": "he_normal"},
            (f"Add hidden layers of {', '.join(map(str, USUAL))} units."),
        )


def _units(layer: Layer) -> int | None:
    if isinstance(layer, Dense | SimpleRNN):
        return layer.units
    return layer.filters if isinstance(layer, Conv2D) else None


def _scaled(layer: Layer, factor: int) -> Layer:
    if isinstance(layer, Dense | SimpleRNN):
        return replace(layer, units=layer.units * factor)
    return replace(layer, filters=layer.filters * factor) if isinstance(layer, Conv2D) else layer


def ending_in(subject: Subject, loss: str, task: str | None = None) -> dict[str, Any]:
    """Options for another loss, with the output activation and the number of outputs that it needs."""
    options: dict[str, Any] = {"loss": loss}
    if task is not None:
        options["task"] = task
    if subject.settings.network is None:
        return options | {"output_activation": "auto"}
    options["output_activation"] = "identity"
    data = subject.dataset if task is None else transformed(subject.dataset, {"task": task})
    classes = len(set(data.targets.tolist())) if data.classification else None
    name = loss
    if loss == "auto":
        name = (
            "squared_error"
            if classes is None
            else "binary_cross_entropy"
            if classes == 2
            else "categorical_cross_entropy"
        )
    units = loss_of(name).units(classes, 1 if data.targets.ndim == 1 else data.targets.shape[1])
    shape = subject.task.parts.schema.feature_shape
    if subject.network.shapes(shape)[subject.network.output] != (units,):
        options["network"] = with_output(subject.network, units, shape)
    return options


def with_dropout(subject: Subject) -> dict[str, Any] | None:
    """Options for dropout after every hidden layer; None if the network has dropout already, or is not a chain."""
    network = subject.network
    if any(isinstance(node.layer, Dropout) for node in network.nodes):
        return None
    previous = "input"
    layers: list[Any] = []
    for node in network.nodes:
        if node.inputs != (previous,):
            return None
        previous = node.name
        layers.append((node.name, node.layer))
        if node is not network.nodes[-1] and not isinstance(activation_of(node.layer), Identity):
            layers.append(Dropout(RATE))
    if len(layers) == len(network.nodes):
        return None
    return {"network": Sequential(*layers)}


def with_layer_fields(network: Network, change: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Options for ``network`` with other layer fields, ``change`` by name of layer; None if nothing changes."""
    nodes = []
    for node in network.nodes:
        layer: Any = node.layer
        names = (
            {item.name for item in dataclasses.fields(layer)} if dataclasses.is_dataclass(layer) else set()
        )
        fields = {name: value for name, value in change.get(node.name, {}).items() if name in names}
        nodes.append(replace(node, layer=replace(layer, **fields)) if fields else node)
    changed = Network(tuple(nodes))
    return None if changed == network else {"network": changed}


def restart(settings: Settings, name: str) -> dict[str, Any]:
    """Options that initialize all weights by ``name``, except recurrent ones, which start orthogonal."""
    network = settings.network
    if network is None:
        return {"init": name}
    if not isinstance(network, Network):
        network = from_document(network)
    nodes = [
        replace(node, layer=replace(node.layer, recurrent_init="orthogonal"))
        if isinstance(node.layer, SimpleRNN)
        else node
        for node in network.nodes
    ]
    return (
        {"init": name} if nodes == list(network.nodes) else {"init": name, "network": Network(tuple(nodes))}
    )
