"""Graph -> graph clean-ups. Each keeps the results of the graph, and is followed by the verifier.

``clean`` keeps the gradients too. ``clean_for_execution`` drops what only the chain rule reads, so it comes after the
last derivative has been taken.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import numpy as np

from glassgrad.graph.node import Graph, Node, Value
from glassgrad.graph.rebuild import copy_node, inline, rebuild
from glassgrad.graph.verify import verify
from glassgrad.ops.custom import CALL
from glassgrad.ops.structure import broadcast, reshape, transpose

Values = tuple[Value, ...]
Pass = Callable[[Graph], Graph]


def clean(graph: Graph) -> Graph:
    """Every pass in its order: inline calls, simplify, share equal nodes. Unused nodes fall away.

    Results and gradients of the cleaned graph are those of ``graph``: a ``stop_gradient`` stays, and so does a
    custom op with a derivative rule of its own.
    """
    return _run(graph, inline_calls, simplify, share)


def clean_for_execution(graph: Graph) -> Graph:
    """The same for a graph that is only run from now on: every derivative has been taken.

    Each ``stop_gradient`` and each custom op's own derivative rule is dropped as well. The results stay, but the
    gradients of the cleaned graph may be others than those of ``graph``.
    """
    return _run(graph, partial(inline_calls, own_rules=True), partial(simplify, stop_gradients=True), share)


def _run(graph: Graph, *passes: Pass) -> Graph:
    for one_pass in passes:
        graph = verify(one_pass(graph))
    return graph


def inline_calls(graph: Graph, *, own_rules: bool = False) -> Graph:
    """Replace each custom op by its body.

    One with a derivative rule of its own is replaced only with ``own_rules``: that drops the rule, so it changes
    gradients.
    """
    if not any(node.op.name == "call" or node.regions for node in graph.nodes()):
        return graph
    again = partial(inline_calls, own_rules=own_rules)

    def visit(node: Node, inputs: Values) -> Values:
        if node.op is CALL or (own_rules and node.op.name == "call"):
            return inline(again(node.regions[0]), inputs)
        return _with_regions(node, inputs, again)

    return Graph(graph.inputs, rebuild(graph, visit))


def simplify(graph: Graph, *, stop_gradients: bool = False) -> Graph:
    """Take out what computes nothing: x * 1, x / 1, x + 0, x - 0, x ** 1, and shape ops of shape ops.

    No result changes, infinities and NaN included; x * 0 stays. With ``stop_gradients``, ``stop_gradient`` is
    taken out too, which changes gradients.
    """
    again = partial(simplify, stop_gradients=stop_gradients)

    def visit(node: Node, inputs: Values) -> Values:
        if stop_gradients and node.op.name == "stop_gradient":
            return inputs
        simpler = _simpler(node, inputs)
        return (simpler,) if simpler is not None else _with_regions(node, inputs, again)

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


def _with_regions(node: Node, inputs: Values, one_pass: Pass) -> Values:
    if not node.regions:
        return copy_node(node, inputs)
    regions = [one_pass(region) for region in node.regions]
    return Node(node.op, inputs, node.attributes, regions, scope=node.scope).outputs


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
