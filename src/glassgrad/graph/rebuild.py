"""Rebuilding a graph with its nodes replaced, and inlining a region where it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Node, Value, in_scope

Visit = Callable[[Node, tuple[Value, ...]], tuple[Value, ...]]


def copy_node(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
    """``node`` applied to ``inputs``. The node is always new, so that serials follow the order of the visits."""
    same_types = all(new.type is old.type for new, old in zip(inputs, node.inputs, strict=True))
    types = node.types if same_types else None  # equal input types: no need to infer or verify again
    copy = Node(node.op, inputs, node.attributes, node.regions, scope=node.scope, types=types)
    copy.verified = same_types and node.verified
    return copy.outputs


def rebuild(
    graph: Graph, visit: Visit = copy_node, substitutes: Mapping[Value, Value] | None = None
) -> tuple[Value, ...]:
    """The new outputs of ``graph`` after each node is replaced by ``visit(node, new inputs)``.

    ``substitutes`` maps values to the values that replace them. A node is not visited if all of its outputs have a
    substitute.
    """
    new_value: dict[Value, Value] = dict(substitutes or {})
    for value in graph.inputs:
        new_value.setdefault(value, value)
    for node in graph.nodes():
        if all(value in new_value for value in node.outputs):
            continue
        with in_scope(node.scope):
            new_outputs = visit(node, tuple([new_value[value] for value in node.inputs]))
        for old, new in zip(node.outputs, new_outputs, strict=True):
            new_value.setdefault(old, new)
    return tuple(new_value[value] for value in graph.outputs)


def inline(graph: Graph, arguments: Sequence[Value]) -> tuple[Value, ...]:
    """The outputs of ``graph`` applied to ``arguments``, as nodes of the caller's graph.

    Raises GraphError if the type of an argument differs from that of the input.
    """
    for argument, parameter in zip(arguments, graph.inputs, strict=True):
        if argument.type != parameter.type:
            raise GraphError(f"a region takes {parameter.type} here, not {argument.type}")
    return rebuild(graph, substitutes=dict(zip(graph.inputs, arguments, strict=True)))
