"""The chain rule as a tree to walk down: from the loss to the outputs, and from each unit to those it answers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.explain.links import PREACTIVATION, Anatomy
from glassgrad.explain.whole import Whole
from glassgrad.nn.network import INPUT
from glassgrad.training.model import Model

BREADTH = 3
"""The branches shown of every unit: those through which most of the derivative goes."""

MOST = 400
"""The nodes of a tree."""


@dataclass(frozen=True)
class Node:
    """One unit (or weight) on the way: ``factor`` is the local derivative by which one came here from above.

    ``derivative`` is that of the loss along this way: the product of all factors so far. ``others`` counts the
    units left out beside the ``children``.
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
    """The loss of one prepared row ``x`` (without the batch axis) with its ``target``, and the tree below it.

    The leaves are inputs, and weights of dense layers. Everything is in float64.
    """
    anatomy = Anatomy(model.network, model.weights, model.statistics, x)
    whole = Whole.of(anatomy, model.loss, target)
    place = model.network.output
    left = [most]
    order = np.argsort(-np.abs(whole.seed), kind="stable")
    alive = [int(unit) for unit in order if whole.seed[unit] != 0]
    children = tuple(
        _node(anatomy, place, unit, float(whole.seed[unit]), float(whole.seed[unit]), breadth, left)
        for unit in alive[:breadth]
    )
    return whole.loss, Node("loss", whole.loss, 1.0, 1.0, children, max(0, len(alive) - breadth))


def _node(
    anatomy: Anatomy, place: str, unit: int, factor: float, derivative: float, breadth: int, left: list[int]
) -> Node:
    left[0] -= 1
    here = anatomy.places[place]
    value = float(here.values.reshape(-1)[unit])
    branches: list[tuple[str, int, float]] = []
    if place != INPUT and left[0] > 0:
        for link in anatomy.links(place):
            columns, values = link.row(unit)
            branches += [(link.source, int(c), float(v)) for c, v in zip(columns, values, strict=True)]
    branches.sort(key=lambda item: -abs(item[2]))
    children = [
        _node(anatomy, source, column, local, derivative * local, breadth, left)
        for source, column, local in branches[:breadth]
        if left[0] > 0
    ]
    children += _weights(anatomy, place, unit, derivative, breadth)
    return Node(here.unit(unit), value, factor, derivative, tuple(children), max(0, len(branches) - breadth))


def _weights(anatomy: Anatomy, place: str, unit: int, derivative: float, breadth: int) -> list[Node]:
    """The weights of a dense layer that act on this unit: the strongest few."""
    layer = place.removesuffix(f".{PREACTIVATION}")
    piece = anatomy.pieces.get(layer)
    if piece is None or piece.inner != place or type(piece.node.layer).__name__ != "Dense":
        return []
    source = anatomy.places[piece.inputs[0]]
    if len(source.shape) != 1:
        return []
    given, weights = source.values, _columns(piece.weights)
    order = np.argsort(-np.abs(given), kind="stable")[:breadth]
    return [
        Node(
            f"{layer}.weights[{int(i)},{unit}]",
            float(weights[i, unit]),
            float(given[i]),
            derivative * float(given[i]),
        )
        for i in order
        if given[i] != 0
    ]


def _columns(weights: Mapping[str, Array]) -> Array:
    return weights["weights"]
