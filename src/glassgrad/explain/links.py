"""The local derivatives of a network at one row: how every unit of a layer answers to the units before it.

A network is taken apart into ``places``, the values that have a name (the input, each layer's output, and the
pre-activation where a layer ends in a function of it), and ``links`` between them. A link is the Jacobian matrix of
one place by another with all else held still. It comes from the layer's own graph, by the reverse sweep of the chain
rule: so it exists for every layer there is.
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
"""Rows of a Jacobian that are computed at once."""

LARGEST = 20_000_000
"""Elements of a Jacobian beyond which no paths are searched: it would take many seconds and most of a gigabyte."""

PREACTIVATION = "preactivation"
ALTOGETHER = (Softmax, LogSoftmax)
"""Activations of which every output depends on every input of its row."""

KINDS: Mapping[type[Layer], str] = {
    Dense: "weights",
    Conv2D: "kernel",
    Dropout: "same",
    Flatten: "same",
    Reshape: "same",
}
"""What the derivatives of a layer are, where they have a name of their own (see ``Link``)."""

Weights = Mapping[str, Array]


class TooLarge(InputError):
    """A layer has so many derivatives that no paths can be searched."""


@frozen
class Place:
    """A named value inside the network at one row: ``shape`` and float64 ``values``, in C order."""

    name: str
    shape: Shape
    values: Array

    units: Sequence[str] | None = None
    """Names of the units, where they have any of their own (the columns of a table)."""

    def index(self, number: int) -> tuple[int, ...]:
        """Where one unit stands."""
        return tuple(int(i) for i in np.unravel_index(number, self.shape))

    def unit(self, number: int) -> str:
        """The name of one unit: dense_1[7], conv2d_1[3, 0, 5], age."""
        if self.units is not None:
            return self.units[number]
        return f"{self.name}[{', '.join(map(str, self.index(number)))}]"


@frozen
class Link:
    """The derivatives of place ``target`` by place ``source`` that are not zero.

    Those of unit u are ``values[starts[u]:starts[u + 1]]``, by the units ``columns[...]``. ``kind`` is "weights" or
    "kernel" (of a dense or convolutional layer: the derivative is a weight), "activation" (of one unit by itself),
    "same" (values that are handed on as they are), or "layer".
    """

    target: str
    source: str
    kind: str
    starts: Array
    columns: Array
    values: Array

    def row(self, unit: int) -> tuple[Array, Array]:
        """The units that ``unit`` answers to, and the derivatives."""
        part = slice(int(self.starts[unit]), int(self.starts[unit + 1]))
        return self.columns[part], self.values[part]

    @property
    def rows(self) -> Array:
        """The unit of ``target`` that each derivative is of."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


@frozen
class Piece:
    """One step of a network for one row: ``build`` makes its places from its inputs and its weights."""

    node: LayerNode
    inputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    weights: dict[str, Array]
    state: dict[str, Array]
    activation: Activation | None
    """What makes the output of ``inner``; None where the layer is one piece."""
    inner: str
    """The place that the weights act on: the pre-activation, where there is one."""

    def build(self, inputs: Sequence[Value], weights: Mapping[str, Value], row_mask: Value) -> Value:
        """The place ``inner``, [batch, *shape], as in use."""
        context = BuildContext(self.node.name, 0, False, row_mask, None)
        state = {name: fixed(array) for name, array in self.state.items()}
        output, _ = self.node.layer.build(context, list(inputs), dict(weights), state)
        return context.inner[PREACTIVATION] if self.activation is not None else output


class Anatomy:
    """A network, its weights and statistics in float64, and its values at one row ``x`` (without the batch axis).

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
        self.places: dict[str, Place] = {}
        self.pieces: dict[str, Piece] = {}
        self._links: dict[str, list[Link]] = {}
        self._look(units)

    def _look(self, units: Sequence[str] | None) -> None:
        """Evaluate the network once, and find its places in their order."""
        x = make_input("x", (1, *self.x.shape), "float64")
        row_mask = make_input("row_mask", (1,), "bool")
        params = {name: make_input(name, array.shape, "float64") for name, array in self.weights.items()}
        state = {name: make_input(name, array.shape, "float64") for name, array in self.statistics.items()}
        built = self.network.build(x, params, state, row_mask=row_mask)
        values = dict(built.outputs) | dict(built.inner)
        graph = Graph((x, row_mask, *params.values(), *state.values()), tuple(values.values()))
        given = [self.x[None], np.ones(1, bool), *self.weights.values(), *self.statistics.values()]
        found = dict(zip(values, evaluate(graph, given), strict=True))
        self._add(INPUT, self.x, units)
        for node in self.network.nodes:
            preactivation = full_name(node.name, PREACTIVATION)
            before = found.get(preactivation)
            after = found[node.name]
            function = activation_of(node.layer)
            alone = isinstance(node.layer, ActivationLayer)  # whose pre-activation is the layer before
            splits = before is not None and not isinstance(function, Identity) and before.shape == after.shape
            if splits and before is not None:
                splits = np.array_equal(_apply(function, before), after, equal_nan=True)
            self.pieces[node.name] = Piece(
                node,
                node.inputs,
                tuple(self.places[name].shape for name in node.inputs),
                own_values(self.weights, node.name),
                own_values(self.statistics, node.name),
                function if splits or alone else None,
                node.inputs[0] if alone else preactivation if splits else node.name,
            )
            if splits and before is not None and not alone:
                self._add(preactivation, before[0])
            self._add(node.name, after[0])

    def _add(self, name: str, values: Array, units: Sequence[str] | None = None) -> None:
        self.places[name] = Place(name, values.shape, np.asarray(values, np.float64), units)

    # --- local derivatives ---------------------------------------------------------------------------------

    def piece(self, place: str) -> Piece | None:
        """The layer that makes a place; None of the input."""
        return self.pieces.get(place) or self.pieces.get(place.removesuffix(f".{PREACTIVATION}"))

    def links(self, target: str, rows: Array | None = None) -> list[Link]:
        """The links that end at the units ``rows`` (ascending; all of them by default) of the place ``target``.

        Raises TooLarge.
        """
        if rows is not None:
            return self._find(target, rows)
        if target not in self._links:
            self._links[target] = self._find(target, np.arange(self.places[target].values.size))
        return self._links[target]

    def _find(self, target: str, rows: Array) -> list[Link]:
        piece = self.piece(target)
        if piece is None:
            return []
        if target == piece.node.name and piece.activation is not None:
            return [self._through(piece.activation, target, piece.inner)]
        name, size = piece.node.name, self.places[target].values.size
        kind = KINDS.get(type(piece.node.layer), "layer")
        if kind == "same":
            (source,) = piece.inputs
            return [_link(target, source, kind, size, rows, rows, np.ones(len(rows)))]
        most = max(self.places[source].values.size for source in piece.inputs)
        if len(rows) * most > LARGEST:
            raise TooLarge(
                f"layer {name!r} has {len(rows):,} units that matter, each on up to {most:,} values"
            )
        found = _jacobian(
            piece, [self.places[source] for source in piece.inputs], self.places[target].shape, rows
        )
        links: dict[str, Link] = {}
        for source, made in zip(piece.inputs, found, strict=True):
            link = _link(target, source, kind, size, *made)
            if source in links:  # taken twice, as by Multiply()(x, x)
                total = _added(links[source], link, self.places[source].values.size)
                link = _link(target, source, kind, size, *total)
            links[source] = link
        return list(links.values())

    def _through(self, function: Activation, target: str, source: str) -> Link:
        """The link through an activation: a diagonal, unless its outputs depend on one another."""
        place = self.places[source]
        size = place.values.size
        if isinstance(function, Identity):
            units = np.arange(size)
            return _link(target, source, "same", size, units, units, np.ones(size))
        if not isinstance(function, ALTOGETHER):
            p = make_input("p", (1, *place.shape), "float64")
            ones = fixed(np.ones((1, *place.shape)))
            (found,) = vjp([function(p)], [ones], [p])
            diagonal = np.zeros(size)
            if found is not None:
                diagonal = evaluate(Graph((p,), (found,)), [place.values[None]])[0].reshape(-1)
            (kept,) = np.nonzero(diagonal)
            return _link(target, source, "activation", size, kept, kept, diagonal[kept])
        columns = place.shape[-1]
        p, ct = (make_input(name, (columns, *place.shape), "float64") for name in ("p", "ct"))
        (found,) = vjp([function(p)], [ct], [p])
        assert found is not None
        unit = np.zeros((columns, *place.shape))
        unit[np.arange(columns), ..., np.arange(columns)] = 1.0
        (block,) = evaluate(Graph((p, ct), (found,)), [np.repeat(place.values[None], columns, 0), unit])
        rows = block.reshape(columns, -1, columns).transpose(1, 0, 2)  # [lines, output, input]
        line, i, j = np.nonzero(rows)
        values = rows[line, i, j]
        return _link(target, source, "layer", size, line * columns + i, line * columns + j, values)

    def by_weight(self, weight: str, index: tuple[int, ...]) -> tuple[str, Array]:
        """The place that the weight acts on first, and the derivative of each of its units by that one weight."""
        layer, name = split_name(weight)
        piece = self.pieces[layer]
        row_mask = fixed(np.ones(1, bool))
        inputs = [
            make_input(source, (1, *shape), "float64")
            for source, shape in zip(piece.inputs, piece.shapes, strict=True)
        ]
        weights = {key: make_input(key, array.shape, "float64") for key, array in piece.weights.items()}
        output = piece.build(inputs, weights, row_mask)
        one = np.zeros(piece.weights[name].shape)
        one[index] = 1.0
        (moved,) = jvp([output], [fixed(one)], [weights[name]])
        size = self.places[piece.inner].values.size
        if moved is None:
            return piece.inner, np.zeros(size)
        given = [*(self.places[source].values[None] for source in piece.inputs), *piece.weights.values()]
        (found,) = evaluate(Graph((*inputs, *weights.values()), (moved,)), given)
        return piece.inner, found.reshape(-1)


def _jacobian(
    piece: Piece, inputs: Sequence[Place], shape: Shape, rows: Array
) -> list[tuple[Array, Array, Array]]:
    """The rows of the Jacobian of a piece by each of its inputs, as (row, column, value) of what is not zero."""
    size = int(np.prod(shape, dtype=np.int64))
    batch = min(CHUNK, max(len(rows), 1))
    values = [make_input(f"x{i}", (batch, *place.shape), "float64") for i, place in enumerate(inputs)]
    ct = make_input("ct", (batch, *shape), "float64")
    row_mask = fixed(np.ones(batch, bool))
    weights = {name: fixed(array) for name, array in piece.weights.items()}
    output = piece.build(values, weights, row_mask)
    found = vjp([output], [ct], values)
    graph = Graph((*values, ct), tuple(value for value in found if value is not None))
    repeated = [np.broadcast_to(place.values, (batch, *place.shape)) for place in inputs]
    parts: list[list[tuple[Array, Array, Array]]] = [[] for _ in inputs]
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        unit = np.zeros((batch, size))
        unit[np.arange(len(chunk)), chunk] = 1.0
        results = iter(evaluate(graph, [*repeated, unit.reshape(batch, *shape)]))
        for value, part in zip(found, parts, strict=True):
            if value is not None:
                block = next(results).reshape(batch, -1)[: len(chunk)]
                i, j = np.nonzero(block)
                part.append((chunk[i], j, block[i, j]))
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    made = []
    for part in parts:
        i, j, known = (np.concatenate(items) for items in zip(nothing, *part, strict=True))
        made.append((i, j, known))
    return made


def _added(one: Link, other: Link, columns: int) -> tuple[Array, Array, Array]:
    """The sum of two Jacobians by the same place, which has ``columns`` units."""
    keys = np.concatenate([link.rows * columns + link.columns for link in (one, other)])
    kept, where = np.unique(keys, return_inverse=True)
    total = np.bincount(where, np.concatenate([one.values, other.values]), len(kept))
    return kept // columns, kept % columns, total


def _link(target: str, source: str, kind: str, size: int, rows: Array, columns: Array, values: Array) -> Link:
    """``rows`` ascend."""
    return Link(target, source, kind, np.searchsorted(rows, np.arange(size + 1)), columns, values)


def _apply(function: Callable[[Value], Value], values: Array) -> Array:
    p = make_input("p", values.shape, "float64")
    (found,) = evaluate(Graph((p,), (function(p),)), [values])
    return found


def fixed(array: Array) -> Value:
    """A known array as a constant of its own dtype."""
    dtype: DType = array.dtype.name  # type: ignore[assignment]
    return constant(array, dtype)
