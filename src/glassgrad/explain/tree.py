"""The chain rule as a tree: from the loss to the outputs, and from each unit to the units it depends on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.explain.links import PREACTIVATION, EvaluatedNetwork
from glassgrad.explain.row_loss import RowLoss
from glassgrad.nn.network import INPUT
from glassgrad.training.model import Model

BREADTH = 3
"""The branches shown per unit: those with the largest local derivatives."""

MAXIMUM_NODES = 400
"""The maximum number of nodes of a tree."""


@dataclass(frozen=True)
class Node:
    """One unit or weight in the tree. ``factor`` is the local derivative of the parent by this node.

    ``derivative`` is the product of all factors from the loss to this node. ``others`` is the number of units that
    are left out beside the ``children``.
    """

    name: str
    value: float
    factor: float
    derivative: float
    children: tuple[Node, ...] = ()
    others: int = 0


def derivative_tree(
    model: Model, x: Array, target: Array, breadth: int = BREADTH, maximum_nodes: int = MAXIMUM_NODES
) -> tuple[float, Node]:
    """The loss of one prepared row ``x`` (without the batch axis) with its ``target``, and the tree below it.

    The leaves are inputs and weights of dense layers. All computations are in float64.
    """
    evaluated = EvaluatedNetwork(model.network, model.weights, model.statistics, x)
    row_loss = RowLoss.of(evaluated, model.loss, target)
    output = model.network.output
    nodes_left = [maximum_nodes]
    order = np.argsort(-np.abs(row_loss.seed), kind="stable")
    nonzero = [int(unit) for unit in order if row_loss.seed[unit] != 0]
    children = tuple(
        _node(
            evaluated,
            output,
            unit,
            float(row_loss.seed[unit]),
            float(row_loss.seed[unit]),
            breadth,
            nodes_left,
        )
        for unit in nonzero[:breadth]
    )
    return row_loss.loss, Node("loss", row_loss.loss, 1.0, 1.0, children, max(0, len(nonzero) - breadth))


def _node(
    evaluated: EvaluatedNetwork,
    tensor_name: str,
    unit: int,
    factor: float,
    derivative: float,
    breadth: int,
    nodes_left: list[int],
) -> Node:
    nodes_left[0] -= 1
    tensor = evaluated.tensors[tensor_name]
    value = float(tensor.values.reshape(-1)[unit])
    branches: list[tuple[str, int, float]] = []
    if tensor_name != INPUT and nodes_left[0] > 0:
        for link in evaluated.links(tensor_name):
            columns, values = link.row(unit)
            branches += [(link.source, int(c), float(v)) for c, v in zip(columns, values, strict=True)]
    branches.sort(key=lambda item: -abs(item[2]))
    children = [
        _node(evaluated, source, column, local, derivative * local, breadth, nodes_left)
        for source, column, local in branches[:breadth]
        if nodes_left[0] > 0
    ]
    children += _weights(evaluated, tensor_name, unit, derivative, breadth)
    return Node(
        tensor.unit(unit), value, factor, derivative, tuple(children), max(0, len(branches) - breadth)
    )


def _weights(
    evaluated: EvaluatedNetwork, tensor_name: str, unit: int, derivative: float, breadth: int
) -> list[Node]:
    """The weights of a dense layer that act on this unit, with the largest input values."""
    layer_name = tensor_name.removesuffix(f".{PREACTIVATION}")
    layer = evaluated.layers.get(layer_name)
    if layer is None or layer.inner != tensor_name or type(layer.node.layer).__name__ != "Dense":
        return []
    source = evaluated.tensors[layer.inputs[0]]
    if len(source.shape) != 1:
        return []
    inputs, weights = source.values, layer.weights["weights"]
    order = np.argsort(-np.abs(inputs), kind="stable")[:breadth]
    return [
        Node(
            f"{layer_name}.weights[{int(i)},{unit}]",
            float(weights[i, unit]),
            float(inputs[i]),
            derivative * float(inputs[i]),
        )
        for i in order
        if inputs[i] != 0
    ]
