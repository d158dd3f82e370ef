"""Graph -> graph clean-ups. Each keeps the meaning, and is followed by the verifier."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from glassgrad.graph.node import Graph, Node, Value
from glassgrad.graph.rebuild import copy_node, inline, rebuild
from glassgrad.graph.verify import verify
from glassgrad.ops.structure import broadcast, reshape, transpose

Values = tuple[Value, ...]


def clean(graph: Graph) -> Graph:
    """Every pass in its order: inline calls, simplify, share equal nodes. Unused nodes fall away."""
    for one_pass in (inline_calls, simplify, share):
        graph = verify(one_pass(graph))
    return graph


def inline_calls(graph: Graph) -> Graph:
    """Replace each custom op by its body: its derivative has been taken by now."""
    if not any(node.op.name == "call" or node.regions for node in graph.nodes()):
        return graph

    def visit(node: Node, inputs: Values) -> Values:
        if node.op.name == "call":
            body = inline_calls(node.regions[0])
            return inline(body, inputs)
        return _with_regions(node, inputs, inline_calls)

    return Graph(graph.inputs, rebuild(graph, visit))


def simplify(graph: Graph) -> Graph:
    """Take out what computes nothing: x * 1, x / 1, x + 0, x - 0, x ** 1, and shape ops of shape ops.

    Nothing here changes a result, infinities and NaN included; x * 0 stays.
    """

    def visit(node: Node, inputs: Values) -> Values:
        found = _simpler(node, inputs)
        return (found,) if found is not None else _with_regions(node, inputs, simplify)

    return Graph(graph.inputs, rebuild(graph, visit))


def share(graph: Graph) -> Graph:
    """Build equal nodes once (common subexpressions)."""
    known: dict[Hashable, Values] = {}

    def visit(node: Node, inputs: Values) -> Values:
        if node.op.name == "input":
            return node.outputs
        if node.regions:
            return _with_regions(node, inputs, share)
        attributes = tuple((key, _hashable(item)) for key, item in sorted(node.attributes.items()))
        key = (node.op.name, inputs, attributes)
        if key not in known:
            known[key] = copy_node(node, inputs)
        return known[key]

    return Graph(graph.inputs, rebuild(graph, visit))


def _with_regions(node: Node, inputs: Values, one_pass: Any) -> Values:
    if not node.regions:
        return copy_node(node, inputs)
    regions = [one_pass(region) for region in node.regions]
    return Node(node.op, inputs, node.attributes, regions, place=node.place).outputs


def _hashable(item: Any) -> Hashable:
    if isinstance(item, np.ndarray):
        return (item.dtype, item.shape, item.tobytes())
    assert isinstance(item, Hashable)
    return item


def scalar(value: Value) -> float | None:
    """The number that every element of ``value`` is known to have, if it is known."""
    node = value.node
    if node.op.name == "broadcast":
        return scalar(node.inputs[0])
    if node.op.name == "constant" and node.types[0].size == 1:
        return float(np.asarray(node.attributes["value"]).item())
    return None


def _simpler(node: Node, inputs: Values) -> Value | None:
    name = node.op.name
    if name in ("multiply", "add", "divide", "subtract", "power"):
        a, b = inputs
        neutral = 1.0 if name in ("multiply", "divide", "power") else 0.0
        # x + (-0.0) is x for every x, but -0.0 + 0.0 is 0.0: the one bit that this rule may change.
        if scalar(b) == neutral:
            return a
        if name in ("multiply", "add") and scalar(a) == neutral:
            return b
    if name == "stop_gradient":
        return inputs[0]
    if name in ("reshape", "transpose", "broadcast", "negate") and inputs[0].node.op.name == name:
        (inner,) = inputs[0].node.inputs
        before, now = inputs[0].node.attributes, node.attributes
        if name == "reshape":
            return reshape(inner, now["shape"])
        if name == "transpose":
            return transpose(inner, [before["order"][axis] for axis in now["order"]])
        if name == "broadcast":
            return broadcast(inner, now["shape"], [now["axes"][axis] for axis in before["axes"]])
        return inner
    if name == "reshape" and inputs[0].shape == node.attributes["shape"]:
        return inputs[0]
    return None
