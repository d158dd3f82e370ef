"""Other networks to try: wider ones, ones that end otherwise, ones with dropout, with fresh biases or activations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.variants import transformed, with_output
from glassgrad.losses.table import loss as made_loss
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
    """Options for larger networks, and what they are."""
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
    """Options for another loss, on outputs that it takes, and as many of them as it needs."""
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
    units = made_loss(name).units(classes, 1 if data.targets.ndim == 1 else data.targets.shape[1])
    shape = subject.task.parts.schema.feature_shape
    if subject.network.shapes(shape)[subject.network.output] != (units,):
        options["network"] = with_output(subject.network, units, shape)
    return options


def dropping_out(subject: Subject) -> dict[str, Any] | None:
    """Options for dropout after every hidden layer; None where there is some already, or no chain of layers."""
    network = subject.network
    if any(isinstance(node.layer, Dropout) for node in network.nodes):
        return None
    before = "input"
    layers: list[Any] = []
    for node in network.nodes:
        if node.inputs != (before,):
            return None
        before = node.name
        layers.append((node.name, node.layer))
        if node is not network.nodes[-1] and not isinstance(activation_of(node.layer), Identity):
            layers.append(Dropout(RATE))
    if len(layers) == len(network.nodes):
        return None
    return {"network": Sequential(*layers)}


def relaid(network: Network, change: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Options for the same network with other fields in some layers: ``change`` by the layers' names."""
    steps = []
    for node in network.nodes:
        layer: Any = node.layer
        own = {item.name for item in dataclasses.fields(layer)} if dataclasses.is_dataclass(layer) else set()
        wanted = {name: value for name, value in change.get(node.name, {}).items() if name in own}
        steps.append(replace(node, layer=replace(layer, **wanted)) if wanted else node)
    found = Network(tuple(steps))
    return None if found == network else {"network": found}


def restart(settings: Settings, name: str) -> dict[str, Any]:
    """The options by which all weights start from the initializer ``name``; recurrent ones from orthogonal ones."""
    given = settings.network
    if given is None:
        return {"init": name}
    network = given if isinstance(given, Network) else from_document(given)
    nodes = [
        replace(node, layer=replace(node.layer, recurrent_init="orthogonal"))
        if isinstance(node.layer, SimpleRNN)
        else node
        for node in network.nodes
    ]
    return (
        {"init": name} if nodes == list(network.nodes) else {"init": name, "network": Network(tuple(nodes))}
    )
