"""Copying nodes into a new graph: substitution, and inlining a region at the place of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Node, Value, in_scope

Visit = Callable[[Node, tuple[Value, ...]], tuple[Value, ...]]


def copy_node(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
    """``node`` applied to other inputs; always a new node, so that serials keep the order of the visit."""
    same = all(new.type is old.type for new, old in zip(inputs, node.inputs, strict=True))
    types = node.types if same else None  # nothing to infer anew, or to verify
    made = Node(node.op, inputs, node.attributes, node.regions, scope=node.scope, types=types)
    made.verified = same and node.verified
    return made.outputs


def rebuild(
    graph: Graph, visit: Visit = copy_node, known: Mapping[Value, Value] | None = None
) -> tuple[Value, ...]:
    """The outputs of ``graph`` after every node went through ``visit``, which gets the new inputs.

    ``known`` maps values to what stands for them; nodes of which every output is known are not visited.
    """
    new: dict[Value, Value] = dict(known or {})
    for value in graph.inputs:
        new.setdefault(value, value)
    for node in graph.nodes():
        if all(value in new for value in node.outputs):
            continue
        with in_scope(node.scope):
            replaced = visit(node, tuple([new[value] for value in node.inputs]))
        for old, fresh in zip(node.outputs, replaced, strict=True):
            new.setdefault(old, fresh)
    return tuple(new[value] for value in graph.outputs)


def inline(graph: Graph, arguments: Sequence[Value]) -> tuple[Value, ...]:
    """The outputs of ``graph`` called with ``arguments``, as nodes of the caller's own graph."""
    for given, wanted in zip(arguments, graph.inputs, strict=True):
        if given.type != wanted.type:
            raise GraphError(f"a region takes {wanted.type} here, not {given.type}")
    return rebuild(graph, known=dict(zip(graph.inputs, arguments, strict=True)))
