"""The local derivatives of a network at one row: the derivatives of each layer's units by the units before it.

The network is split into named tensors: the input, the output of each layer, and the pre-activation of a layer that
ends in an activation. A link between two tensors is the Jacobian matrix of one by the other, with everything else
constant. The reverse sweep computes it from the graph of the layer, so that it works for every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from glassgrad.autodiff.sweeps import jvp, vjp
from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.common.layer_names import full_name, own_values, split_name
from glassgrad.graph.node import DType, Graph, Shape, Value
from glassgrad.nn.activations import Activation, Identity, LogSoftmax, Softmax
from glassgrad.nn.layer import BuildContext, Layer
from glassgrad.nn.layers.activation import ActivationLayer
from glassgrad.nn.layers.convolution import Conv2D
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.dropout import Dropout
from glassgrad.nn.layers.reshaping import Flatten, Reshape
from glassgrad.nn.network import INPUT, LayerNode, Network, activation_of
from glassgrad.ops.op import constant, make_input

CHUNK = 256
"""The number of rows of a Jacobian that are computed at once."""

LARGEST = 20_000_000
"""The maximum number of elements of a Jacobian: a larger one takes many seconds and most of a gigabyte."""

PREACTIVATION = "preactivation"
ROW_ACTIVATIONS = (Softmax, LogSoftmax)
"""Activations whose outputs each depend on all inputs along the last axis."""

KINDS: Mapping[type[Layer], str] = {
    Dense: "weights",
    Conv2D: "kernel",
    Dropout: "same",
    Flatten: "same",
    Reshape: "same",
}
"""The kinds of links of these layers (see ``Link``); all other layers have the kind "layer"."""

Weights = Mapping[str, Array]


class TooLarge(InputError):
    """A layer has too many derivatives for a search of paths."""


@frozen
class NamedTensor:
    """A named value of the network at one row: its ``shape`` and its float64 ``values``, in C order."""

    name: str
    shape: Shape
    values: Array

    units: Sequence[str] | None = None
    """The names of the units, such as the columns of a table; None: index numbers."""

    def index(self, number: int) -> tuple[int, ...]:
        """The index of one unit along all axes."""
        return tuple(int(i) for i in np.unravel_index(number, self.shape))

    def unit(self, number: int) -> str:
        """The name of one unit: dense_1[7], conv2d_1[3, 0, 5], age."""
        if self.units is not None:
            return self.units[number]
        return f"{self.name}[{', '.join(map(str, self.index(number)))}]"


@frozen
class Link:
    """The nonzero derivatives of the tensor ``target`` by the tensor ``source``, in compressed sparse rows.

    The derivatives of unit u are ``values[starts[u]:starts[u + 1]]``, by the units ``columns[...]``. ``kind`` is
    "weights" or "kernel" (a dense or convolutional layer: the derivative is a weight), "activation" (elementwise),
    "same" (the values do not change), or "layer" (any other layer).
    """

    target: str
    source: str
    kind: str
    starts: Array
    columns: Array
    values: Array

    def row(self, unit: int) -> tuple[Array, Array]:
        """The source units on which ``unit`` depends, and the derivatives by them."""
        part = slice(int(self.starts[unit]), int(self.starts[unit + 1]))
        return self.columns[part], self.values[part]

    @property
    def rows(self) -> Array:
        """The target unit of each derivative."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


@frozen
class EvaluatedLayer:
    """A layer of the network at one row: ``build`` computes its tensor ``inner`` from inputs and weights."""

    node: LayerNode
    inputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    weights: dict[str, Array]
    state: dict[str, Array]
    activation: Activation | None
    """The activation that computes the output from ``inner``; None if the layer is not split."""
    inner: str
    """The tensor on which the weights act: the pre-activation if the layer is split, else the output."""

    def build(self, inputs: Sequence[Value], weights: Mapping[str, Value], row_mask: Value) -> Value:
        """Build the graph of ``inner``, [batch, *shape], for prediction."""
        context = BuildContext(self.node.name, 0, False, row_mask, None)
        state = {name: fixed(array) for name, array in self.state.items()}
        output, _ = self.node.layer.build(context, list(inputs), dict(weights), state)
        return context.inner[PREACTIVATION] if self.activation is not None else output


class EvaluatedNetwork:
    """A network evaluated in float64 at one row ``x`` (without the batch axis), with its local derivatives.

    ``units`` are the names of the inputs, in C order.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights,
        statistics: Weights,
        x: Array,
        units: Sequence[str] | None = None,
    ) -> None:
        self.network = network
        self.weights = {name: np.asarray(array, np.float64) for name, array in weights.items()}
        self.statistics = {name: np.asarray(array, np.float64) for name, array in statistics.items()}
        self.x = np.asarray(x, np.float64)
        self.tensors: dict[str, NamedTensor] = {}
        self.layers: dict[str, EvaluatedLayer] = {}
        self._links: dict[str, list[Link]] = {}
        self._evaluate_network(units)

    def _evaluate_network(self, units: Sequence[str] | None) -> None:
        """Evaluate the network once, and list its tensors in order."""
        x = make_input("x", (1, *self.x.shape), "float64")
        row_mask = make_input("row_mask", (1,), "bool")
        params = {name: make_input(name, array.shape, "float64") for name, array in self.weights.items()}
        state = {name: make_input(name, array.shape, "float64") for name, array in self.statistics.items()}
        built = self.network.build(x, params, state, row_mask=row_mask)
        values = dict(built.outputs) | dict(built.inner)
        graph = Graph((x, row_mask, *params.values(), *state.values()), tuple(values.values()))
        arrays = [self.x[None], np.ones(1, bool), *self.weights.values(), *self.statistics.values()]
        results = dict(zip(values, evaluate(graph, arrays), strict=True))
        self._add(INPUT, self.x, units)
        for node in self.network.nodes:
            preactivation = full_name(node.name, PREACTIVATION)
            before = results.get(preactivation)
            after = results[node.name]
            function = activation_of(node.layer)
            # The pre-activation of an activation layer is the output of the previous layer.
            alone = isinstance(node.layer, ActivationLayer)
            splits = before is not None and not isinstance(function, Identity) and before.shape == after.shape
            if splits and before is not None:
                splits = np.array_equal(_apply(function, before), after, equal_nan=True)
            self.layers[node.name] = EvaluatedLayer(
                node,
                node.inputs,
                tuple(self.tensors[name].shape for name in node.inputs),
                own_values(self.weights, node.name),
                own_values(self.statistics, node.name),
                function if splits or alone else None,
                node.inputs[0] if alone else preactivation if splits else node.name,
            )
            if splits and before is not None and not alone:
                self._add(preactivation, before[0])
            self._add(node.name, after[0])

    def _add(self, name: str, values: Array, units: Sequence[str] | None = None) -> None:
        self.tensors[name] = NamedTensor(name, values.shape, np.asarray(values, np.float64), units)

    # --- local derivatives ---------------------------------------------------------------------------------

    def layer_of_tensor(self, tensor_name: str) -> EvaluatedLayer | None:
        """The layer that computes a tensor; None for the input."""
        return self.layers.get(tensor_name) or self.layers.get(tensor_name.removesuffix(f".{PREACTIVATION}"))

    def links(self, target: str, rows: Array | None = None) -> list[Link]:
        """The links to the units ``rows`` (ascending; default: all) of the tensor ``target``.

        Raises TooLarge for more than ``LARGEST`` derivatives.
        """
        if rows is not None:
            return self._compute_links(target, rows)
        if target not in self._links:
            self._links[target] = self._compute_links(target, np.arange(self.tensors[target].values.size))
        return self._links[target]

    def _compute_links(self, target: str, rows: Array) -> list[Link]:
        layer = self.layer_of_tensor(target)
        if layer is None:
            return []
        if target == layer.node.name and layer.activation is not None:
            return [self._activation_link(layer.activation, target, layer.inner)]
        name, size = layer.node.name, self.tensors[target].values.size
        kind = KINDS.get(type(layer.node.layer), "layer")
        if kind == "same":
            (source,) = layer.inputs
            return [_link(target, source, kind, size, rows, rows, np.ones(len(rows)))]
        largest_input = max(self.tensors[source].values.size for source in layer.inputs)
        if len(rows) * largest_input > LARGEST:
            raise TooLarge(
                f"layer {name!r} has {len(rows):,} units with a derivative, and up to {largest_input:,} inputs"
            )
        jacobians = _jacobian(
            layer, [self.tensors[source] for source in layer.inputs], self.tensors[target].shape, rows
        )
        links: dict[str, Link] = {}
        for source, jacobian in zip(layer.inputs, jacobians, strict=True):
            link = _link(target, source, kind, size, *jacobian)
            if source in links:  # the same input twice, as in Multiply()(x, x)
                total = _sum_of_links(links[source], link, self.tensors[source].values.size)
                link = _link(target, source, kind, size, *total)
            links[source] = link
        return list(links.values())

    def _activation_link(self, function: Activation, target: str, source: str) -> Link:
        """The link through an activation: diagonal if elementwise, else dense along the last axis."""
        tensor = self.tensors[source]
        size = tensor.values.size
        if isinstance(function, Identity):
            units = np.arange(size)
            return _link(target, source, "same", size, units, units, np.ones(size))
        if not isinstance(function, ROW_ACTIVATIONS):
            p = make_input("p", (1, *tensor.shape), "float64")
            ones = fixed(np.ones((1, *tensor.shape)))
            (slope,) = vjp([function(p)], [ones], [p])
            diagonal = np.zeros(size)
            if slope is not None:
                diagonal = evaluate(Graph((p,), (slope,)), [tensor.values[None]])[0].reshape(-1)
            (nonzero,) = np.nonzero(diagonal)
            return _link(target, source, "activation", size, nonzero, nonzero, diagonal[nonzero])
        columns = tensor.shape[-1]
        p, ct = (make_input(name, (columns, *tensor.shape), "float64") for name in ("p", "ct"))
        (product,) = vjp([function(p)], [ct], [p])
        assert product is not None
        unit = np.zeros((columns, *tensor.shape))
        unit[np.arange(columns), ..., np.arange(columns)] = 1.0
        (block,) = evaluate(Graph((p, ct), (product,)), [np.repeat(tensor.values[None], columns, 0), unit])
        rows = block.reshape(columns, -1, columns).transpose(1, 0, 2)  # [lines, output, input]
        line, i, j = np.nonzero(rows)
        values = rows[line, i, j]
        return _link(target, source, "layer", size, line * columns + i, line * columns + j, values)

    def weight_derivatives(self, weight: str, index: tuple[int, ...]) -> tuple[str, Array]:
        """The name of the tensor on which the weight acts, and the derivative of each of its units by the weight."""
        layer_name, name = split_name(weight)
        layer = self.layers[layer_name]
        row_mask = fixed(np.ones(1, bool))
        inputs = [
            make_input(source, (1, *shape), "float64")
            for source, shape in zip(layer.inputs, layer.shapes, strict=True)
        ]
        weights = {key: make_input(key, array.shape, "float64") for key, array in layer.weights.items()}
        output = layer.build(inputs, weights, row_mask)
        direction = np.zeros(layer.weights[name].shape)
        direction[index] = 1.0
        (tangent,) = jvp([output], [fixed(direction)], [weights[name]])
        size = self.tensors[layer.inner].values.size
        if tangent is None:
            return layer.inner, np.zeros(size)
        arrays = [*(self.tensors[source].values[None] for source in layer.inputs), *layer.weights.values()]
        (derivatives,) = evaluate(Graph((*inputs, *weights.values()), (tangent,)), arrays)
        return layer.inner, derivatives.reshape(-1)


def _jacobian(
    layer: EvaluatedLayer, inputs: Sequence[NamedTensor], shape: Shape, rows: Array
) -> list[tuple[Array, Array, Array]]:
    """Rows of the Jacobian of a layer by each input: (row, column, value) arrays of the nonzero elements."""
    size = int(np.prod(shape, dtype=np.int64))
    batch = min(CHUNK, max(len(rows), 1))
    values = [make_input(f"x{i}", (batch, *tensor.shape), "float64") for i, tensor in enumerate(inputs)]
    ct = make_input("ct", (batch, *shape), "float64")
    row_mask = fixed(np.ones(batch, bool))
    weights = {name: fixed(array) for name, array in layer.weights.items()}
    output = layer.build(values, weights, row_mask)
    products = vjp([output], [ct], values)
    graph = Graph((*values, ct), tuple(product for product in products if product is not None))
    repeated = [np.broadcast_to(tensor.values, (batch, *tensor.shape)) for tensor in inputs]
    parts: list[list[tuple[Array, Array, Array]]] = [[] for _ in inputs]
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        unit = np.zeros((batch, size))
        unit[np.arange(len(chunk)), chunk] = 1.0
        results = iter(evaluate(graph, [*repeated, unit.reshape(batch, *shape)]))
        for product, part in zip(products, parts, strict=True):
            if product is not None:
                block = next(results).reshape(batch, -1)[: len(chunk)]
                i, j = np.nonzero(block)
                part.append((chunk[i], j, block[i, j]))
    empty = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    jacobians = []
    for part in parts:
        i, j, elements = (np.concatenate(arrays) for arrays in zip(empty, *part, strict=True))
        jacobians.append((i, j, elements))
    return jacobians


def _sum_of_links(first: Link, second: Link, columns: int) -> tuple[Array, Array, Array]:
    """The sum of two links from the same source, which has ``columns`` units: (row, column, value) arrays."""
    keys = np.concatenate([link.rows * columns + link.columns for link in (first, second)])
    unique_keys, positions = np.unique(keys, return_inverse=True)
    total = np.bincount(positions, np.concatenate([first.values, second.values]), len(unique_keys))
    return unique_keys // columns, unique_keys % columns, total


def _link(target: str, source: str, kind: str, size: int, rows: Array, columns: Array, values: Array) -> Link:
    """A link from (row, column, value) arrays; ``rows`` must be ascending."""
    return Link(target, source, kind, np.searchsorted(rows, np.arange(size + 1)), columns, values)


def _apply(function: Callable[[Value], Value], values: Array) -> Array:
    p = make_input("p", values.shape, "float64")
    (outputs,) = evaluate(Graph((p,), (function(p),)), [values])
    return outputs


def fixed(array: Array) -> Value:
    """An array as a constant of the same dtype."""
    dtype: DType = array.dtype.name  # type: ignore[assignment]
    return constant(array, dtype)
