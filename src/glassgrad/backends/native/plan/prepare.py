"""Prepares a graph for fusion (stage 0) by three small rewrites that keep its results."""

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
    """``graph`` cleaned up, with one copy of each cheap node per reader, and operands in memory where needed."""
    return verify(_materialize(_split_cheap(clean_for_execution(graph))))


def _split_cheap(graph: Graph) -> Graph:
    """Give every reader its own copy of a ``convert`` of an input.

    The row mask, converted to floats, has readers everywhere in a program. One shared node would create dependencies
    between kernels that have nothing else in common.
    """

    def visit(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        copied_inputs = tuple(
            copy_node(value.node, value.node.inputs)[0] if _is_cheap(value.node) else value
            for value in inputs
        )
        return node.outputs if node.op.name == "input" else copy_node(node, copied_inputs)

    return Graph(graph.inputs, rebuild(graph, visit))


def _is_cheap(node: Node) -> bool:
    return node.op.name == "convert" and node.inputs[0].node.op.name == "input"


def _materialize(graph: Graph) -> Graph:
    """Store broadcasts and constants in memory if they are outputs, or operands of an op that reads memory."""
    stored: dict[Value, Value] = {}

    def in_memory(value: Value) -> Value:
        base = memory_of(value)
        source = look_through(base)
        if source.number is None and source.value is base:
            return value
        if value not in stored:
            stored[value] = STOP_GRADIENT(value)
        return stored[value]

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
    # Outputs need memory of their own: an update may overwrite an input, and no two outputs may share memory.
    needs_copy = [counts[v] > 1 or memory_of(v).node.op.name == "input" for v in outputs]
    return Graph(
        graph.inputs,
        tuple(
            STOP_GRADIENT(v) if copy else in_memory(v) for v, copy in zip(outputs, needs_copy, strict=True)
        ),
    )


def _looks_through(node: Node) -> bool:
    """Whether ``node`` computes nothing, so that its readers read its operand."""
    if node.op.name == "broadcast":
        return is_simple_broadcast(node)
    return node.op.name == "reshape" and canonical(node.types[0].shape) == canonical(node.inputs[0].shape)
