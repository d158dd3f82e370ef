"""Clean-up passes, from graph to graph. Each preserves the results of the graph, and the verifier runs after each.

``clean`` preserves gradients as well. ``clean_for_execution`` also removes what only derivatives need, so it must run
after the last derivative is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import numpy as np

from glassgrad.graph.node import Graph, Node, Value
from glassgrad.graph.rebuild import copy_node, rebuild
from glassgrad.graph.verify import verify
from glassgrad.ops.custom import CALL
from glassgrad.ops.structure import broadcast, reshape, transpose

Values = tuple[Value, ...]
Pass = Callable[[Graph], Graph]


def clean(graph: Graph) -> Graph:
    """Inline custom ops, simplify, and merge equal nodes. Unused nodes are dropped.

    The results and gradients of ``graph`` are preserved: the passes keep every ``stop_gradient``, and every custom op
    with its own derivative rule.
    """
    return _run(graph, simplify, share)


def clean_for_execution(graph: Graph) -> Graph:
    """Clean a graph of which no derivative will be taken any more.

    In addition to ``clean``, this removes every ``stop_gradient`` and inlines custom ops with their own derivative
    rule. Results are preserved, but gradients may change.
    """
    return _run(graph, partial(simplify, for_execution=True), share)


def _run(graph: Graph, *passes: Pass) -> Graph:
    for graph_pass in passes:
        graph = verify(graph_pass(graph))
    return graph


def simplify(graph: Graph, *, for_execution: bool = False) -> Graph:
    """Inline custom ops, and remove nodes that compute nothing.

    Removed are x * 1, x / 1, x + 0, x - 0, x ** 1, and repeated reshapes or transposes. Results do not change,
    including infinities and NaN, so x * 0 stays. With ``for_execution``, every ``stop_gradient`` is removed as well,
    and a custom op with its own derivative rule is inlined, which drops the rule: both change gradients.
    """
    this_pass = partial(simplify, for_execution=for_execution)

    def visit(node: Node, inputs: Values) -> Values:
        if node.op is CALL or (for_execution and node.op.name == "call"):
            # The same visit goes through the body, so that inlining costs no pass of its own.
            (body,) = node.regions
            return rebuild(body, visit, dict(zip(body.inputs, inputs, strict=True)))
        if for_execution and node.op.name == "stop_gradient":
            return inputs
        simpler = _simpler(node, inputs)
        return (simpler,) if simpler is not None else _with_regions(node, inputs, this_pass)

    return Graph(graph.inputs, rebuild(graph, visit))


def share(graph: Graph) -> Graph:
    """Merge equal nodes (common-subexpression elimination)."""
    outputs_of: dict[Hashable, Values] = {}

    def visit(node: Node, inputs: Values) -> Values:
        if node.op.name == "input":
            return node.outputs
        if node.regions:
            return _with_regions(node, inputs, share)
        attributes = tuple((key, _hashable(item)) for key, item in sorted(node.attributes.items()))
        key = (node.op.name, inputs, attributes)
        if key not in outputs_of:
            outputs_of[key] = copy_node(node, inputs)
        return outputs_of[key]

    return Graph(graph.inputs, rebuild(graph, visit))


def _with_regions(node: Node, inputs: Values, graph_pass: Pass) -> Values:
    """Copy ``node``, with ``graph_pass`` applied to its regions."""
    if not node.regions:
        return copy_node(node, inputs)
    regions = [graph_pass(region) for region in node.regions]
    return Node(node.op, inputs, node.attributes, regions, scope=node.scope).outputs


def _hashable(item: Any) -> Hashable:
    if isinstance(item, np.ndarray):
        return (item.dtype, item.shape, item.tobytes())
    assert isinstance(item, Hashable)
    return item


def scalar(value: Value) -> float | None:
    """The number that all elements of ``value`` equal, if the graph shows it; else None."""
    node = value.node
    if node.op.name == "broadcast":
        return scalar(node.inputs[0])
    if node.op.name == "constant" and node.types[0].size == 1:
        return float(np.asarray(node.attributes["value"]).item())
    return None


def _simpler(node: Node, inputs: Values) -> Value | None:
    """A simpler value equal to the output of ``node`` applied to ``inputs``, or None."""
    name = node.op.name
    if name in ("multiply", "add", "divide", "subtract", "power"):
        a, b = inputs
        neutral = 1.0 if name in ("multiply", "divide", "power") else 0.0
        # For x = -0.0, x + 0.0 is 0.0: the sign of zero is the only bit that this rule may change.
        if scalar(b) == neutral:
            return a
        if name in ("multiply", "add") and scalar(a) == neutral:
            return b
    if name in ("reshape", "transpose", "broadcast", "negate") and inputs[0].node.op.name == name:
        (inner,) = inputs[0].node.inputs
        first, second = inputs[0].node.attributes, node.attributes
        if name == "reshape":
            return reshape(inner, second["shape"])
        if name == "transpose":
            return transpose(inner, [first["order"][axis] for axis in second["order"]])
        if name == "broadcast":
            return broadcast(inner, second["shape"], [second["axes"][axis] for axis in first["axes"]])
        return inner
    if name == "reshape" and inputs[0].shape == node.attributes["shape"]:
        return inputs[0]
    return None
