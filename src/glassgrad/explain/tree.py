"""The chain rule as a tree: from the loss to the outputs, and from each unit to the units that it depends on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.explain.links import PREACTIVATION, Anatomy
from glassgrad.explain.whole import WholeGraph
from glassgrad.nn.network import INPUT
from glassgrad.training.model import Model

BREADTH = 3
"""The number of branches of every unit: those with the largest derivatives."""

MOST = 400
"""The largest number of nodes of a tree."""


@dataclass(frozen=True)
class Node:
    """One unit (or weight) of the tree: ``factor`` is the local derivative by it of the unit above.

    ``derivative`` is the derivative of the loss along this branch: the product of the factors from the root to this
    node. ``others`` is the number of units that are omitted beside the ``children``.
    """

    name: str
    value: float
    factor: float
    derivative: float
    children: tuple[Node, ...] = ()
    others: int = 0


def derivative_tree(
    model: Model, x: Array, target: Array, breadth: int = BREADTH, most: int = MOST
) -> tuple[float, Node]:
    """The loss of one preprocessed row ``x`` (without the batch axis) with its ``target``, and the tree of the loss.

    ``breadth`` is the largest number of children of a unit, ``most`` the largest number of units. The leaves are
    inputs, and weights of dense layers. Everything is in float64.
    """
    anatomy = Anatomy(model.network, model.weights, model.statistics, x)
    whole = WholeGraph.of(anatomy, model.loss, target)
    place = model.network.output
    remaining = [most]
    order = np.argsort(-np.abs(whole.seed), kind="stable")
    alive = [int(unit) for unit in order if whole.seed[unit] != 0]
    children = tuple(
        _node(anatomy, place, unit, float(whole.seed[unit]), float(whole.seed[unit]), breadth, remaining)
        for unit in alive[:breadth]
    )
    return whole.loss, Node("loss", whole.loss, 1.0, 1.0, children, max(0, len(alive) - breadth))


def _node(
    anatomy: Anatomy,
    place: str,
    unit: int,
    factor: float,
    derivative: float,
    breadth: int,
    remaining: list[int],
) -> Node:
    """The node of one unit and its subtree; ``remaining`` is a shared counter of the nodes that may be added."""
    remaining[0] -= 1
    here = anatomy.places[place]
    value = float(here.values.reshape(-1)[unit])
    branches: list[tuple[str, int, float]] = []
    if place != INPUT and remaining[0] > 0:
        for link in anatomy.links(place):
            columns, values = link.row(unit)
            branches += [(link.source, int(c), float(v)) for c, v in zip(columns, values, strict=True)]
    branches.sort(key=lambda item: -abs(item[2]))
    children = [
        _node(anatomy, source, column, local, derivative * local, breadth, remaining)
        for source, column, local in branches[:breadth]
        if remaining[0] > 0
    ]
    children += _weights(anatomy, place, unit, derivative, breadth)
    return Node(here.unit(unit), value, factor, derivative, tuple(children), max(0, len(branches) - breadth))


def _weights(anatomy: Anatomy, place: str, unit: int, derivative: float, breadth: int) -> list[Node]:
    """The weights of a dense layer that act on this unit and have the largest derivatives."""
    layer = place.removesuffix(f".{PREACTIVATION}")
    piece = anatomy.pieces.get(layer)
    if piece is None or piece.inner != place or type(piece.node.layer).__name__ != "Dense":
        return []
    source = anatomy.places[piece.inputs[0]]
    if len(source.shape) != 1:
        return []
    inputs, weights = source.values, piece.weights["weights"]
    order = np.argsort(-np.abs(inputs), kind="stable")[:breadth]
    return [
        Node(
            f"{layer}.weights[{int(i)},{unit}]",
            float(weights[i, unit]),
            float(inputs[i]),
            derivative * float(inputs[i]),
        )
        for i in order
        if inputs[i] != 0
    ]
