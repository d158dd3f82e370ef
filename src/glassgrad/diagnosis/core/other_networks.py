"""Other networks to try: wider ones, ones that end otherwise, ones with dropout, with fresh biases or activations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.variants import transformed, with_output
from glassgrad.nn.activations import Identity
from glassgrad.nn.images import Conv2D
from glassgrad.nn.layer import Layer
from glassgrad.nn.layers import Dense, Dropout, Recurrent
from glassgrad.nn.losses import loss as made_loss
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
    hidden = [_units(step.layer) for step in network.steps[:-1] if _units(step.layer) is not None]
    if hidden:
        factor = max(-(-WIDTH // min(unit for unit in hidden if unit)), 2)
        steps = [
            step if step is network.steps[-1] else replace(step, layer=_scaled(step.layer, factor))
            for step in network.steps
        ]
        yield {"network": Network(tuple(steps))}, f"Give every hidden layer {factor} times as many units."
    elif len(subject.task.parts.schema.feature_shape) == 1:
        yield (
            {"network": None, "layers": USUAL, "activation": "relu", "init": "he_normal"},
            (f"Add hidden layers of {', '.join(map(str, USUAL))} units."),
        )


def _units(layer: Layer) -> int | None:
    if isinstance(layer, Dense | Recurrent):
        return layer.units
    return layer.filters if isinstance(layer, Conv2D) else None


def _scaled(layer: Layer, factor: int) -> Layer:
    if isinstance(layer, Dense | Recurrent):
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
    if any(isinstance(step.layer, Dropout) for step in network.steps):
        return None
    before = "input"
    layers: list[Any] = []
    for step in network.steps:
        if step.inputs != (before,):
            return None
        before = step.name
        layers.append((step.name, step.layer))
        if step is not network.steps[-1] and not isinstance(activation_of(step.layer), Identity):
            layers.append(Dropout(RATE))
    if len(layers) == len(network.steps):
        return None
    return {"network": Sequential(*layers)}


def relaid(network: Network, change: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Options for the same network with other fields in some layers: ``change`` by the layers' names."""
    steps = []
    for step in network.steps:
        layer: Any = step.layer
        own = {item.name for item in dataclasses.fields(layer)} if dataclasses.is_dataclass(layer) else set()
        wanted = {name: value for name, value in change.get(step.name, {}).items() if name in own}
        steps.append(replace(step, layer=replace(layer, **wanted)) if wanted else step)
    found = Network(tuple(steps))
    return None if found == network else {"network": found}


def restart(settings: Settings, name: str) -> dict[str, Any]:
    """The options by which all weights start from the initializer ``name``; recurrent ones from orthogonal ones."""
    given = settings.network
    if given is None:
        return {"init": name}
    network = given if isinstance(given, Network) else from_document(given)
    steps = [
        replace(step, layer=replace(step.layer, recurrent_init="orthogonal"))
        if isinstance(step.layer, Recurrent)
        else step
        for step in network.steps
    ]
    return (
        {"init": name} if steps == list(network.steps) else {"init": name, "network": Network(tuple(steps))}
    )
