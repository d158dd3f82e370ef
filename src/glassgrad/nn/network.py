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
    BufferSpec,
    BuildContext,
    HasActivation,
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
    """One layer of a network, its name, and the names of its input layers (or ``input``)."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]


@frozen
class Built:
    """The graph of a network: all layer outputs, inner values (``dense_1.preactivation``), buffer updates."""

    output: Value
    outputs: dict[str, Value]
    inner: dict[str, Value]
    state: dict[str, Value]


@dataclass(frozen=True)
class Network:
    """Named layers in topological order; the last layer is the output.

    A network does not depend on the size of its input. Shapes, weights and buffers follow from the shape of a row.
    """

    nodes: tuple[LayerNode, ...]

    def __post_init__(self) -> None:
        """Check names and order; raises InputError."""
        earlier_names = {INPUT}
        if not self.nodes:
            raise InputError("a network needs at least one layer")
        for node in self.nodes:
            check_name(node.name)
            if node.name in earlier_names:
                raise InputError(f"two layers are named {node.name!r}")
            if not node.inputs:
                raise InputError(f"layer {node.name!r} has no inputs; name its input layers")
            for source in node.inputs:
                if source not in earlier_names:
                    raise InputError(f"layer {node.name!r}: {unknown_name('input', source, earlier_names)}")
            earlier_names.add(node.name)

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
        """The shape of one output row of each layer. Raises InputError that names a layer that does not fit."""
        shapes = {INPUT: tuple(input_shape)}
        for node in self.nodes:
            input_shapes = [shapes[name] for name in node.inputs]
            try:
                shapes[node.name] = node.layer.output_shape(input_shapes)
            except (InputError, GraphError) as error:
                raise InputError(
                    f"layer {node.name!r} ({kind_of(node.layer)}) on {' and '.join(map(str, input_shapes))}: {error}"
                ) from None
        return shapes

    def weights(self, input_shape: Shape) -> dict[str, ParameterSpec]:
        """All trainable parameters by full name (``layer.weight``)."""
        return self._collect(input_shape, lambda layer, shapes: layer.weights(shapes))

    def statistics(self, input_shape: Shape) -> dict[str, BufferSpec]:
        """All buffers by full name (``layer.buffer``)."""
        return self._collect(input_shape, lambda layer, shapes: layer.statistics(shapes))

    def _collect(
        self, input_shape: Shape, specs_of: Callable[[Layer, list[Shape]], dict[str, Any]]
    ) -> dict[str, Any]:
        shapes = self.shapes(input_shape)
        return {
            full_name(node.name, name): spec
            for node in self.nodes
            for name, spec in specs_of(node.layer, [shapes[source] for source in node.inputs]).items()
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
        """Build the graph of the network on ``x`` [batch, ...]: for training with ``random``, else for prediction.

        Layers in ``frozen`` behave as in prediction: no dropout, and their running statistics do not change.
        """
        outputs = {INPUT: x}
        inner: dict[str, Value] = {}
        updates: dict[str, Value] = {}
        streams: set[int] = set()
        for node in self.nodes:
            stream = zlib.crc32(node.name.encode())
            while stream in streams:  # two names may share a CRC-32, such as "plumless" and "buckeroo"
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
                outputs[node.name], new_buffers = node.layer.build(
                    context,
                    [outputs[source] for source in node.inputs],
                    own_values(params, node.name),
                    own_values(state, node.name),
                )
            inner |= {full_name(node.name, key): value for key, value in context.inner.items()}
            updates |= {full_name(node.name, key): value for key, value in new_buffers.items()}
        return Built(outputs[self.output], outputs, inner, updates)

    def final_activation(self) -> Activation:
        """The activation of the last layer other than dropout, flatten and reshape; identity if it has none."""
        node = self.nodes[-1]
        while isinstance(node.layer, (Dropout, Flatten, Reshape)) and node.inputs[0] != INPUT:
            node = self[node.inputs[0]]
        return activation_of(node.layer)

    def to_document(self) -> dict[str, Any]:
        """The network as a configuration: the content of a ``--network`` file."""
        layers = []
        previous = INPUT
        for node in self.nodes:
            config = LAYERS.config(node.layer)
            entry = {"type": config.pop("name"), "name": node.name}
            if node.inputs != (previous,):
                entry["inputs"] = list(node.inputs)
            layers.append(entry | config)
            previous = node.name
        return {"layers": layers}


def from_document(document: Mapping[str, Any]) -> Network:
    """The network of a ``--network`` file. Raises InputError that names the layer and the entry."""
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
        previous = nodes[-1].name if nodes else INPUT
        if inputs is None or isinstance(inputs, str):
            inputs = [inputs or previous]
        nodes.append(LayerNode(name, layer, tuple(inputs)))
    return Network(tuple(nodes))


def Sequential(*layers: Layer | tuple[str, Layer]) -> Network:
    """A chain of layers. An item is a layer or a pair ``(name, layer)``."""
    tensor = Input()
    start = tensor
    for item in layers:
        name, layer = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
        if not isinstance(layer, Layer):
            raise InputError(f"Sequential takes layers or pairs (name, layer), not {item!r}")
        tensor = layer(tensor, name=name)
    if tensor is start:
        raise InputError("a network needs at least one layer")
    return functional(start, tensor)


def Input() -> SymbolicTensor:
    """The input of a network in the functional form."""
    return SymbolicTensor(None)


def functional(start: SymbolicTensor, output: SymbolicTensor) -> Network:
    """The network from ``start`` to ``output``: all layers that ``output`` depends on, in topological order."""
    order: list[SymbolicTensor] = []
    visited: set[SymbolicTensor] = set()
    stack = [(output, False)]
    while stack:
        tensor, sources_done = stack.pop()
        if sources_done:
            order.append(tensor)
        elif tensor not in visited:
            visited.add(tensor)
            if tensor.layer is None and tensor is not start:
                raise InputError("the output depends on an Input() that is not the start of the network")
            stack.append((tensor, True))
            stack.extend((source, False) for source in reversed(tensor.inputs))
    if start not in visited or output is start:
        raise InputError("the output does not depend on the input")
    names = _Names(tensor.name for tensor in order)
    layer_names = {start: INPUT}
    nodes = []
    for tensor in order:
        if tensor.layer is not None:
            layer_names[tensor] = names.take(tensor.layer, tensor.name)
            nodes.append(
                LayerNode(
                    layer_names[tensor], tensor.layer, tuple(layer_names[source] for source in tensor.inputs)
                )
            )
    return Network(tuple(nodes))


def kind_of(layer: Layer) -> str:
    """The registered name of a layer's class, else the name of the class in lower case."""
    return LAYERS.name_of(type(layer)) or type(layer).__name__.lower()


def activation_of(layer: Layer) -> Activation:
    """The activation of ``layer``; identity if it has none."""
    option = own_activation(layer)
    return activation("identity") if option is None else option


def own_activation(layer: Layer) -> Activation | None:
    """The option ``activation`` of ``layer``; None if it has no such option."""
    option = layer.activation if isinstance(layer, HasActivation) else None
    return option if isinstance(option, Activation) else None


class _Names:
    """Automatic names (dense_1, dense_2, conv2d_1 ...), counted per kind. Explicit names are skipped."""

    def __init__(self, explicit_names: Iterable[object]) -> None:
        self._explicit_names = set(map(str, explicit_names))
        self._counts: dict[str, int] = {}

    def take(self, layer: Layer, name: str | None) -> str:
        kind = kind_of(layer)
        number = self._counts.get(kind, 0) + 1
        while name is None and f"{kind}_{number}" in self._explicit_names:
            number += 1
        self._counts[kind] = number
        return name if name is not None else f"{kind}_{number}"
