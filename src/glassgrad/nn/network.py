"""Networks: named layers in an acyclic graph, as a chain (``Sequential``) or wired (``functional``)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glassgrad.common.cached import cached_property
from glassgrad.common.errors import GraphError, InputError, unknown_name
from glassgrad.common.frozen import frozen
from glassgrad.common.layer_names import full_name, own_values
from glassgrad.graph.node import Shape, Value, place
from glassgrad.nn.activations import Activation, activation
from glassgrad.nn.layer import (
    LAYERS,
    Activated,
    Building,
    Layer,
    Randomness,
    Statistic,
    Weight,
    Wire,
    check_name,
)
from glassgrad.nn.layers import Dropout, Flatten, Reshape

INPUT = "input"


@dataclass(frozen=True)
class Step:
    """One layer of a network: its name, and the names of the layers (or ``input``) that it takes."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]


@frozen
class Built:
    """A network as graph: every layer's output, inner values (``dense_1.preactivation``), state updates."""

    output: Value
    outputs: dict[str, Value]
    inner: dict[str, Value]
    state: dict[str, Value]


@dataclass(frozen=True)
class Network:
    """Layers by name, each after those that it takes; the last one is the output.

    A network knows no sizes of its input: shapes, weights and state follow once the rows are known.
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        """Check names and order; raises InputError."""
        known = {INPUT}
        if not self.steps:
            raise InputError("a network needs at least one layer")
        for step in self.steps:
            check_name(step.name)
            if step.name in known:
                raise InputError(f"two layers are named {step.name!r}")
            if not step.inputs:
                raise InputError(f"layer {step.name!r} takes no input; name the layers that it takes")
            for source in step.inputs:
                if source not in known:
                    raise InputError(f"layer {step.name!r}: {unknown_name('input', source, known)}")
            known.add(step.name)

    def __getitem__(self, name: str) -> Step:
        for step in self.steps:
            if step.name == name:
                return step
        raise unknown_name("layer", name, [step.name for step in self.steps])

    @cached_property
    def output(self) -> str:
        """The name of the last layer."""
        return self.steps[-1].name

    def shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """The shape of one row of every layer's output; InputError names a layer that does not fit."""
        shapes = {INPUT: tuple(input_shape)}
        for step in self.steps:
            given = [shapes[name] for name in step.inputs]
            try:
                shapes[step.name] = step.layer.output_shape(given)
            except (InputError, GraphError) as error:
                raise InputError(
                    f"layer {step.name!r} ({kind_of(step.layer)}) on {' and '.join(map(str, given))}: {error}"
                ) from None
        return shapes

    def weights(self, input_shape: Shape) -> dict[str, Weight]:
        """Every weight wanted, as ``layer.weight``."""
        return self._collect(input_shape, lambda layer, shapes: layer.weights(shapes))

    def statistics(self, input_shape: Shape) -> dict[str, Statistic]:
        """Every statistic wanted, as ``layer.statistic``."""
        return self._collect(input_shape, lambda layer, shapes: layer.statistics(shapes))

    def _collect(
        self, input_shape: Shape, ask: Callable[[Layer, list[Shape]], dict[str, Any]]
    ) -> dict[str, Any]:
        shapes = self.shapes(input_shape)
        return {
            full_name(step.name, name): item
            for step in self.steps
            for name, item in ask(step.layer, [shapes[source] for source in step.inputs]).items()
        }

    def build(
        self,
        x: Value,
        params: Mapping[str, Value],
        state: Mapping[str, Value],
        *,
        valid: Value,
        random: Randomness | None = None,
        frozen: Collection[str] = (),
    ) -> Built:
        """The network applied to ``x`` ([batch, ...]); with ``random`` as in training, without as in use.

        Layers in ``frozen`` behave as in use: no dropout, and their running statistics stay.
        """
        outputs = {INPUT: x}
        inner: dict[str, Value] = {}
        updates: dict[str, Value] = {}
        streams: set[int] = set()
        for step in self.steps:
            stream = zlib.crc32(step.name.encode())
            while stream in streams:  # two names may have one CRC-32, as "plumless" and "buckeroo" do
                stream = zlib.crc32(b"/", stream)
            streams.add(stream)
            building = Building(
                step.name,
                stream,
                random is not None and step.name not in frozen,
                valid,
                random,
            )
            with place(layer=step.name):
                outputs[step.name], changed = step.layer.build(
                    building,
                    [outputs[source] for source in step.inputs],
                    own_values(params, step.name),
                    own_values(state, step.name),
                )
            inner |= {full_name(step.name, key): value for key, value in building.inner.items()}
            updates |= {full_name(step.name, key): value for key, value in changed.items()}
        return Built(outputs[self.output], outputs, inner, updates)

    def final_activation(self) -> Activation:
        """The activation of the last layer that computes anything (identity where it has none)."""
        step = self.steps[-1]
        while isinstance(step.layer, (Dropout, Flatten, Reshape)) and step.inputs[0] != INPUT:
            step = self[step.inputs[0]]
        return activation_of(step.layer)

    def to_document(self) -> dict[str, Any]:
        """The network as plain configuration: the content of a ``--network`` file."""
        layers = []
        before = INPUT
        for step in self.steps:
            config = LAYERS.config(step.layer)
            entry = {"type": config.pop("name"), "name": step.name}
            if step.inputs != (before,):
                entry["inputs"] = list(step.inputs)
            layers.append(entry | config)
            before = step.name
        return {"layers": layers}


def from_document(document: Mapping[str, Any]) -> Network:
    """The network that a ``--network`` file describes; raises InputError naming the layer and the entry."""
    if not isinstance(document, Mapping):
        raise InputError(f"a network is a table with the entry 'layers', not {type(document).__name__}")
    for key in document:
        if key != "layers":
            raise unknown_name("entry", str(key), ["layers"])
    entries = document.get("layers")
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise InputError("a network needs a list 'layers' with at least one layer")
    steps: list[Step] = []
    names = _Names(entry.get("name") for entry in entries if isinstance(entry, Mapping))
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
            raise InputError(f"layer {number}: needs a text entry 'type' (one of {', '.join(LAYERS)})")
        options = dict(entry)
        kind, name, inputs = options.pop("type"), options.pop("name", None), options.pop("inputs", None)
        try:
            layer = LAYERS.make({"name": kind} | options)
            if inputs is not None and (
                not isinstance(inputs, Sequence)
                or not inputs
                or not all(isinstance(item, str) for item in inputs)
            ):
                raise InputError(f"'inputs' is a list of layer names, not {inputs!r}")
            name = names.take(layer, check_name(name) if name is not None else None)
        except (InputError, GraphError) as error:
            raise InputError(f"layer {number}: {error}") from None
        before = steps[-1].name if steps else INPUT
        if inputs is None or isinstance(inputs, str):
            inputs = [inputs or before]
        steps.append(Step(name, layer, tuple(inputs)))
    return Network(tuple(steps))


def Sequential(*layers: Layer | tuple[str, Layer]) -> Network:
    """A chain of layers; a layer may be given as ``(name, layer)``."""
    wire = Input()
    start = wire
    for item in layers:
        name, layer = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
        if not isinstance(layer, Layer):
            raise InputError(f"Sequential takes layers, or (name, layer), not {item!r}")
        wire = layer(wire, name=name)
    if wire is start:
        raise InputError("a network needs at least one layer")
    return functional(start, wire)


def Input() -> Wire:
    """The input of a network in the functional form."""
    return Wire(None)


def functional(start: Wire, output: Wire) -> Network:
    """The network between two wires: every layer that ``output`` needs, in an order in which it can run."""
    order: list[Wire] = []
    seen: set[Wire] = set()
    stack = [(output, False)]
    while stack:
        wire, ready = stack.pop()
        if ready:
            order.append(wire)
        elif wire not in seen:
            seen.add(wire)
            if wire.layer is None and wire is not start:
                raise InputError("the output depends on another Input() than the one given")
            stack.append((wire, True))
            stack.extend((source, False) for source in reversed(wire.inputs))
    if start not in seen or output is start:
        raise InputError("the output does not depend on the input")
    names = _Names(wire.name for wire in order)
    called = {start: INPUT}
    steps = []
    for wire in order:
        if wire.layer is not None:
            called[wire] = names.take(wire.layer, wire.name)
            steps.append(Step(called[wire], wire.layer, tuple(called[source] for source in wire.inputs)))
    return Network(tuple(steps))


def kind_of(layer: Layer) -> str:
    """The registered name of a layer's class, or the class's own name."""
    own = type(layer).__name__.lower()
    return LAYERS.name_of(type(layer)) or own


def activation_of(layer: Layer) -> Activation:
    """The activation that ``layer`` ends in (identity where it has none)."""
    own = own_activation(layer)
    return activation("identity") if own is None else own


def own_activation(layer: Layer) -> Activation | None:
    """The activation that is an option of ``layer``; None where it has no such option."""
    own = layer.activation if isinstance(layer, Activated) else None
    return own if isinstance(own, Activation) else None


class _Names:
    """Automatic names: dense_1, dense_2, conv2d_1 ... counted by kind, past the names that are given."""

    def __init__(self, given: Iterable[object]) -> None:
        self._given = set(map(str, given))
        self._counts: dict[str, int] = {}

    def take(self, layer: Layer, name: str | None) -> str:
        kind = kind_of(layer)
        number = self._counts.get(kind, 0) + 1
        while name is None and f"{kind}_{number}" in self._given:
            number += 1
        self._counts[kind] = number
        return name if name is not None else f"{kind}_{number}"
