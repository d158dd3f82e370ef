"""Networks: named layers in an acyclic graph, as a chain (``Sequential``) or in the functional form."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glassgrad.common.cached import cached_property
from glassgrad.common.errors import GraphError, InputError, unknown_name
from glassgrad.common.frozen import frozen
from glassgrad.common.layer_names import full_name, own_values
from glassgrad.graph.node import Shape, Value, scope
from glassgrad.nn.activations import Activation, activation
from glassgrad.nn.earlier_names import current_names
from glassgrad.nn.layer import (
    LAYERS,
    Activated,
    BufferSpec,
    BuildContext,
    Layer,
    ParameterSpec,
    Randomness,
    SymbolicTensor,
    check_name,
)
from glassgrad.nn.layers.dropout import Dropout
from glassgrad.nn.layers.reshaping import Flatten, Reshape

INPUT = "input"


@dataclass(frozen=True)
class LayerNode:
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

    nodes: tuple[LayerNode, ...]

    def __post_init__(self) -> None:
        """Check names and order; raises InputError."""
        known = {INPUT}
        if not self.nodes:
            raise InputError("a network needs at least one layer")
        for node in self.nodes:
            check_name(node.name)
            if node.name in known:
                raise InputError(f"two layers are named {node.name!r}")
            if not node.inputs:
                raise InputError(f"layer {node.name!r} takes no input; name the layers that it takes")
            for source in node.inputs:
                if source not in known:
                    raise InputError(f"layer {node.name!r}: {unknown_name('input', source, known)}")
            known.add(node.name)

    def __getitem__(self, name: str) -> LayerNode:
        for node in self.nodes:
            if node.name == name:
                return node
        raise unknown_name("layer", name, [node.name for node in self.nodes])

    @cached_property
    def output(self) -> str:
        """The name of the last layer."""
        return self.nodes[-1].name

    def shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """The shape of one row of every layer's output; InputError names a layer that does not fit."""
        shapes = {INPUT: tuple(input_shape)}
        for node in self.nodes:
            given = [shapes[name] for name in node.inputs]
            try:
                shapes[node.name] = node.layer.output_shape(given)
            except (InputError, GraphError) as error:
                raise InputError(
                    f"layer {node.name!r} ({kind_of(node.layer)}) on {' and '.join(map(str, given))}: {error}"
                ) from None
        return shapes

    def weights(self, input_shape: Shape) -> dict[str, ParameterSpec]:
        """Every weight wanted, as ``layer.weight``."""
        return self._collect(input_shape, lambda layer, shapes: layer.weights(shapes))

    def statistics(self, input_shape: Shape) -> dict[str, BufferSpec]:
        """Every statistic wanted, as ``layer.statistic``."""
        return self._collect(input_shape, lambda layer, shapes: layer.statistics(shapes))

    def _collect(
        self, input_shape: Shape, ask: Callable[[Layer, list[Shape]], dict[str, Any]]
    ) -> dict[str, Any]:
        shapes = self.shapes(input_shape)
        return {
            full_name(node.name, name): item
            for node in self.nodes
            for name, item in ask(node.layer, [shapes[source] for source in node.inputs]).items()
        }

    def build(
        self,
        x: Value,
        params: Mapping[str, Value],
        state: Mapping[str, Value],
        *,
        row_mask: Value,
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
        for node in self.nodes:
            stream = zlib.crc32(node.name.encode())
            while stream in streams:  # two names may have one CRC-32, as "plumless" and "buckeroo" do
                stream = zlib.crc32(b"/", stream)
            streams.add(stream)
            context = BuildContext(
                node.name,
                stream,
                random is not None and node.name not in frozen,
                row_mask,
                random,
            )
            with scope(layer=node.name):
                outputs[node.name], changed = node.layer.build(
                    context,
                    [outputs[source] for source in node.inputs],
                    own_values(params, node.name),
                    own_values(state, node.name),
                )
            inner |= {full_name(node.name, key): value for key, value in context.inner.items()}
            updates |= {full_name(node.name, key): value for key, value in changed.items()}
        return Built(outputs[self.output], outputs, inner, updates)

    def final_activation(self) -> Activation:
        """The activation of the last layer that computes anything (identity where it has none)."""
        node = self.nodes[-1]
        while isinstance(node.layer, (Dropout, Flatten, Reshape)) and node.inputs[0] != INPUT:
            node = self[node.inputs[0]]
        return activation_of(node.layer)

    def to_document(self) -> dict[str, Any]:
        """The network as plain configuration: the content of a ``--network`` file."""
        layers = []
        before = INPUT
        for node in self.nodes:
            config = LAYERS.config(node.layer)
            entry = {"type": config.pop("name"), "name": node.name}
            if node.inputs != (before,):
                entry["inputs"] = list(node.inputs)
            layers.append(entry | config)
            before = node.name
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
    nodes: list[LayerNode] = []
    names = _Names(entry.get("name") for entry in entries if isinstance(entry, Mapping))
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
            raise InputError(f"layer {number}: needs a text entry 'type' (one of {', '.join(LAYERS)})")
        options = dict(entry)
        kind, name, inputs = options.pop("type"), options.pop("name", None), options.pop("inputs", None)
        kind, options = current_names(kind, options)
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
        before = nodes[-1].name if nodes else INPUT
        if inputs is None or isinstance(inputs, str):
            inputs = [inputs or before]
        nodes.append(LayerNode(name, layer, tuple(inputs)))
    return Network(tuple(nodes))


def Sequential(*layers: Layer | tuple[str, Layer]) -> Network:
    """A chain of layers; a layer may be given as ``(name, layer)``."""
    tensor = Input()
    start = tensor
    for item in layers:
        name, layer = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
        if not isinstance(layer, Layer):
            raise InputError(f"Sequential takes layers, or (name, layer), not {item!r}")
        tensor = layer(tensor, name=name)
    if tensor is start:
        raise InputError("a network needs at least one layer")
    return functional(start, tensor)


def Input() -> SymbolicTensor:
    """The input of a network in the functional form."""
    return SymbolicTensor(None)


def functional(start: SymbolicTensor, output: SymbolicTensor) -> Network:
    """The network between two symbolic tensors: every layer that ``output`` needs, in an order that can run."""
    order: list[SymbolicTensor] = []
    seen: set[SymbolicTensor] = set()
    stack = [(output, False)]
    while stack:
        tensor, ready = stack.pop()
        if ready:
            order.append(tensor)
        elif tensor not in seen:
            seen.add(tensor)
            if tensor.layer is None and tensor is not start:
                raise InputError("the output depends on another Input() than the one given")
            stack.append((tensor, True))
            stack.extend((source, False) for source in reversed(tensor.inputs))
    if start not in seen or output is start:
        raise InputError("the output does not depend on the input")
    names = _Names(tensor.name for tensor in order)
    called = {start: INPUT}
    nodes = []
    for tensor in order:
        if tensor.layer is not None:
            called[tensor] = names.take(tensor.layer, tensor.name)
            nodes.append(
                LayerNode(called[tensor], tensor.layer, tuple(called[source] for source in tensor.inputs))
            )
    return Network(tuple(nodes))


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
