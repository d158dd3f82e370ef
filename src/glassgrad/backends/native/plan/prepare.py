"""Prepares a graph for fusion (stage 0): three small rewrites, each of which keeps the meaning."""

from __future__ import annotations

from collections import Counter

from glassgrad.backends.native.plan.fusion import canonical, group_of, is_simple_broadcast, look_through
from glassgrad.backends.native.plan.memory import memory_of
from glassgrad.graph.node import Graph, Node, Value
from glassgrad.graph.rebuild import copy_node, rebuild
from glassgrad.graph.verify import verify
from glassgrad.ops.structure import STOP_GRADIENT, full
from glassgrad.passes.clean import clean_for_execution, scalar


def prepare(graph: Graph) -> Graph:
    """Clean-ups; cheap nodes once per reader; and memory where a reader needs memory."""
    return verify(_materialize(_split_cheap(clean_for_execution(graph))))


def _split_cheap(graph: Graph) -> Graph:
    """Give every reader its own copy of a ``convert`` of an input.

    A mask that becomes numbers is read all over a program. Shared, it would tie kernels together that have
    nothing else in common.
    """

    def visit(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        mine = tuple(
            copy_node(value.node, value.node.inputs)[0] if _is_cheap(value.node) else value
            for value in inputs
        )
        return node.outputs if node.op.name == "input" else copy_node(node, mine)

    return Graph(graph.inputs, rebuild(graph, visit))


def _is_cheap(node: Node) -> bool:
    return node.op.name == "convert" and node.inputs[0].node.op.name == "input"


def _materialize(graph: Graph) -> Graph:
    """Write broadcasts and constants to memory where they are read by an op that needs memory, or given out."""
    written: dict[Value, Value] = {}

    def in_memory(value: Value) -> Value:
        behind = memory_of(value)
        source = look_through(behind)
        if source.number is None and source.value is behind:
            return value
        if value not in written:
            written[value] = STOP_GRADIENT(value)
        return written[value]

    def visit(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        if node.op.name == "input":
            return node.outputs
        number = scalar(inputs[0]) if node.op.name in ("reshape", "transpose") else None
        if number is not None:
            return (full(node.types[0].shape, number, node.types[0].dtype),)
        if _looks_through(node) or group_of(node).kind == "rows":
            return copy_node(node, inputs)
        return copy_node(node, tuple(in_memory(value) for value in inputs))

    outputs = rebuild(graph, visit)
    counts = Counter(outputs)
    # An input that is given out must not be replaced before it was; and no two outputs share their memory.
    shared = [counts[v] > 1 or memory_of(v).node.op.name == "input" for v in outputs]
    return Graph(
        graph.inputs,
        tuple(STOP_GRADIENT(v) if own else in_memory(v) for v, own in zip(outputs, shared, strict=True)),
    )


def _looks_through(node: Node) -> bool:
    """Whether ``node`` computes nothing, and its readers see what is behind it."""
    if node.op.name == "broadcast":
        return is_simple_broadcast(node)
    return node.op.name == "reshape" and canonical(node.types[0].shape) == canonical(node.inputs[0].shape)
