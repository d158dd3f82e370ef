"""The local derivatives of a network at one row: the derivatives of the units of a layer by those before it.

A network is decomposed into places and links. A place is a named value: the input, the output of a layer, or the
pre-activation of a layer whose output is an activation of it. A link is the Jacobian matrix of one place by another,
with all other places constant. Links are computed by the reverse sweep on the graph of a layer, so every layer has
them.
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
"""The largest number of elements of a Jacobian. A larger one takes many seconds and most of a gigabyte."""

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
"""The kind of the derivatives of a layer; other layers have the kind "layer" (see ``Link``)."""

Weights = Mapping[str, Array]


class TooLarge(InputError):
    """A layer has too many derivatives for a search of paths."""


@frozen
class Place:
    """A named value inside the network at one row: ``shape`` and float64 ``values``, in C order."""

    name: str
    shape: Shape
    values: Array

    units: Sequence[str] | None = None
    """Names of the units, if they have any (the columns of a table)."""

    def index(self, number: int) -> tuple[int, ...]:
        """The index of one unit in an array of ``shape``, from its number in C order."""
        return tuple(int(i) for i in np.unravel_index(number, self.shape))

    def unit(self, number: int) -> str:
        """The name of one unit: dense_1[7], conv2d_1[3, 0, 5], age."""
        if self.units is not None:
            return self.units[number]
        return f"{self.name}[{', '.join(map(str, self.index(number)))}]"


@frozen
class Link:
    """The nonzero derivatives of place ``target`` by place ``source``, as a sparse matrix in CSR format.

    The derivatives of unit u are ``values[starts[u]:starts[u + 1]]``, by the units in the same part of ``columns``.
    ``kind`` is "weights" or "kernel" (a dense or convolutional layer: the derivative is a weight), "activation" (the
    slope of an elementwise activation), "same" (values are passed on unchanged), or "layer" (anything else).
    """

    target: str
    source: str
    kind: str
    starts: Array
    columns: Array
    values: Array

    def row(self, unit: int) -> tuple[Array, Array]:
        """The units that ``unit`` depends on, and the derivatives by them."""
        part = slice(int(self.starts[unit]), int(self.starts[unit + 1]))
        return self.columns[part], self.values[part]

    @property
    def rows(self) -> Array:
        """The unit of ``target`` of each derivative."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


@frozen
class Piece:
    """One layer at one row, with its weights and state in float64."""

    node: LayerNode
    inputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    weights: dict[str, Array]
    state: dict[str, Array]
    activation: Activation | None
    """The activation from ``inner`` to the output; None if the layer has no pre-activation of its own."""
    inner: str
    """The place that the weights act on: the pre-activation if there is one, else the output."""

    def build(self, inputs: Sequence[Value], weights: Mapping[str, Value], row_mask: Value) -> Value:
        """The value of the place ``inner``, [batch, *shape], as graph in evaluation mode."""
        context = BuildContext(self.node.name, 0, False, row_mask, None)
        state = {name: fixed(array) for name, array in self.state.items()}
        output, _ = self.node.layer.build(context, list(inputs), dict(weights), state)
        return context.inner[PREACTIVATION] if self.activation is not None else output


class Anatomy:
    """A network with its weights and statistics in float64, its places at one row ``x``, and the links between them.

    ``x`` has no batch axis. ``units`` are the names of the inputs, in C order.
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
        self.places: dict[str, Place] = {}
        self.pieces: dict[str, Piece] = {}
        self._links: dict[str, list[Link]] = {}
        self._evaluate(units)

    def _evaluate(self, units: Sequence[str] | None) -> None:
        """Evaluate the network once, and collect its places in their order."""
        x = make_input("x", (1, *self.x.shape), "float64")
        row_mask = make_input("row_mask", (1,), "bool")
        params = {name: make_input(name, array.shape, "float64") for name, array in self.weights.items()}
        state = {name: make_input(name, array.shape, "float64") for name, array in self.statistics.items()}
        built = self.network.build(x, params, state, row_mask=row_mask)
        values = dict(built.outputs) | dict(built.inner)
        graph = Graph((x, row_mask, *params.values(), *state.values()), tuple(values.values()))
        inputs = [self.x[None], np.ones(1, bool), *self.weights.values(), *self.statistics.values()]
        arrays = dict(zip(values, evaluate(graph, inputs), strict=True))
        self._add(INPUT, self.x, units)
        for node in self.network.nodes:
            preactivation = full_name(node.name, PREACTIVATION)
            before = arrays.get(preactivation)
            after = arrays[node.name]
            function = activation_of(node.layer)
            # The pre-activation of an activation layer is its input.
            is_activation = isinstance(node.layer, ActivationLayer)
            splits = before is not None and not isinstance(function, Identity) and before.shape == after.shape
            if splits and before is not None:
                splits = np.array_equal(_apply(function, before), after, equal_nan=True)
            self.pieces[node.name] = Piece(
                node,
                node.inputs,
                tuple(self.places[name].shape for name in node.inputs),
                own_values(self.weights, node.name),
                own_values(self.statistics, node.name),
                function if splits or is_activation else None,
                node.inputs[0] if is_activation else preactivation if splits else node.name,
            )
            if splits and before is not None and not is_activation:
                self._add(preactivation, before[0])
            self._add(node.name, after[0])

    def _add(self, name: str, values: Array, units: Sequence[str] | None = None) -> None:
        self.places[name] = Place(name, values.shape, np.asarray(values, np.float64), units)

    # --- local derivatives ---------------------------------------------------------------------------------

    def piece(self, place: str) -> Piece | None:
        """The layer of a place; None for the input."""
        return self.pieces.get(place) or self.pieces.get(place.removesuffix(f".{PREACTIVATION}"))

    def links(self, target: str, rows: Array | None = None) -> list[Link]:
        """The links to the units ``rows`` (ascending; default: all) of the place ``target``.

        Raises TooLarge if the Jacobian would have more than ``LARGEST`` elements.
        """
        if rows is not None:
            return self._compute_links(target, rows)
        if target not in self._links:
            self._links[target] = self._compute_links(target, np.arange(self.places[target].values.size))
        return self._links[target]

    def _compute_links(self, target: str, rows: Array) -> list[Link]:
        piece = self.piece(target)
        if piece is None:
            return []
        if target == piece.node.name and piece.activation is not None:
            return [self._activation_link(piece.activation, target, piece.inner)]
        name, size = piece.node.name, self.places[target].values.size
        kind = KINDS.get(type(piece.node.layer), "layer")
        if kind == "same":
            (source,) = piece.inputs
            return [_link(target, source, kind, size, rows, rows, np.ones(len(rows)))]
        most = max(self.places[source].values.size for source in piece.inputs)
        if len(rows) * most > LARGEST:
            raise TooLarge(
                f"layer {name!r} has {len(rows):,} relevant units, each with up to {most:,} inputs"
            )
        jacobians = _jacobians(
            piece, [self.places[source] for source in piece.inputs], self.places[target].shape, rows
        )
        links: dict[str, Link] = {}
        for source, entries in zip(piece.inputs, jacobians, strict=True):
            link = _link(target, source, kind, size, *entries)
            if source in links:  # an input that occurs twice, as in Multiply()(x, x)
                total = _sum(links[source], link, self.places[source].values.size)
                link = _link(target, source, kind, size, *total)
            links[source] = link
        return list(links.values())

    def _activation_link(self, function: Activation, target: str, source: str) -> Link:
        """The link of an activation: a diagonal matrix, or blocks on the diagonal for ``ROW_ACTIVATIONS``."""
        place = self.places[source]
        size = place.values.size
        if isinstance(function, Identity):
            units = np.arange(size)
            return _link(target, source, "same", size, units, units, np.ones(size))
        if not isinstance(function, ROW_ACTIVATIONS):
            p = make_input("p", (1, *place.shape), "float64")
            ones = fixed(np.ones((1, *place.shape)))
            (slope,) = vjp([function(p)], [ones], [p])
            diagonal = np.zeros(size)
            if slope is not None:
                diagonal = evaluate(Graph((p,), (slope,)), [place.values[None]])[0].reshape(-1)
            (units,) = np.nonzero(diagonal)
            return _link(target, source, "activation", size, units, units, diagonal[units])
        columns = place.shape[-1]
        p, ct = (make_input(name, (columns, *place.shape), "float64") for name in ("p", "ct"))
        (cotangent,) = vjp([function(p)], [ct], [p])
        assert cotangent is not None
        unit = np.zeros((columns, *place.shape))
        unit[np.arange(columns), ..., np.arange(columns)] = 1.0
        (block,) = evaluate(Graph((p, ct), (cotangent,)), [np.repeat(place.values[None], columns, 0), unit])
        rows = block.reshape(columns, -1, columns).transpose(1, 0, 2)  # [lines, output, input]
        line, i, j = np.nonzero(rows)
        values = rows[line, i, j]
        return _link(target, source, "layer", size, line * columns + i, line * columns + j, values)

    def by_weight(self, weight: str, index: tuple[int, ...]) -> tuple[str, Array]:
        """The place that a weight acts on, and the derivatives of its units by element ``index`` of the weight."""
        layer, name = split_name(weight)
        piece = self.pieces[layer]
        row_mask = fixed(np.ones(1, bool))
        inputs = [
            make_input(source, (1, *shape), "float64")
            for source, shape in zip(piece.inputs, piece.shapes, strict=True)
        ]
        weights = {key: make_input(key, array.shape, "float64") for key, array in piece.weights.items()}
        output = piece.build(inputs, weights, row_mask)
        direction = np.zeros(piece.weights[name].shape)
        direction[index] = 1.0
        (tangent,) = jvp([output], [fixed(direction)], [weights[name]])
        size = self.places[piece.inner].values.size
        if tangent is None:
            return piece.inner, np.zeros(size)
        arrays = [*(self.places[source].values[None] for source in piece.inputs), *piece.weights.values()]
        (derivatives,) = evaluate(Graph((*inputs, *weights.values()), (tangent,)), arrays)
        return piece.inner, derivatives.reshape(-1)


def _jacobians(
    piece: Piece, inputs: Sequence[Place], shape: Shape, rows: Array
) -> list[tuple[Array, Array, Array]]:
    """``rows`` of the Jacobian of a layer by each input: the nonzero entries as (rows, columns, values)."""
    size = int(np.prod(shape, dtype=np.int64))
    batch = min(CHUNK, max(len(rows), 1))
    values = [make_input(f"x{i}", (batch, *place.shape), "float64") for i, place in enumerate(inputs)]
    ct = make_input("ct", (batch, *shape), "float64")
    row_mask = fixed(np.ones(batch, bool))
    weights = {name: fixed(array) for name, array in piece.weights.items()}
    output = piece.build(values, weights, row_mask)
    cotangents = vjp([output], [ct], values)
    graph = Graph((*values, ct), tuple(value for value in cotangents if value is not None))
    repeated = [np.broadcast_to(place.values, (batch, *place.shape)) for place in inputs]
    parts: list[list[tuple[Array, Array, Array]]] = [[] for _ in inputs]
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        unit = np.zeros((batch, size))
        unit[np.arange(len(chunk)), chunk] = 1.0
        results = iter(evaluate(graph, [*repeated, unit.reshape(batch, *shape)]))
        for value, part in zip(cotangents, parts, strict=True):
            if value is not None:
                block = next(results).reshape(batch, -1)[: len(chunk)]
                i, j = np.nonzero(block)
                part.append((chunk[i], j, block[i, j]))
    empty = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    jacobians = []
    for part in parts:
        i, j, entries = (np.concatenate(items) for items in zip(empty, *part, strict=True))
        jacobians.append((i, j, entries))
    return jacobians


def _sum(first: Link, second: Link, columns: int) -> tuple[Array, Array, Array]:
    """The sum of two Jacobians by the same place, which has ``columns`` units, as (rows, columns, values)."""
    positions = np.concatenate([link.rows * columns + link.columns for link in (first, second)])
    unique, inverse = np.unique(positions, return_inverse=True)
    total = np.bincount(inverse, np.concatenate([first.values, second.values]), len(unique))
    return unique // columns, unique % columns, total


def _link(target: str, source: str, kind: str, size: int, rows: Array, columns: Array, values: Array) -> Link:
    """A link from its nonzero entries; ``rows`` must be ascending, ``size`` is the number of units of ``target``."""
    return Link(target, source, kind, np.searchsorted(rows, np.arange(size + 1)), columns, values)


def _apply(function: Callable[[Value], Value], values: Array) -> Array:
    p = make_input("p", values.shape, "float64")
    (result,) = evaluate(Graph((p,), (function(p),)), [values])
    return result


def fixed(array: Array) -> Value:
    """``array`` as a constant of the graph, with the dtype of the array."""
    dtype: DType = array.dtype.name  # type: ignore[assignment]
    return constant(array, dtype)
