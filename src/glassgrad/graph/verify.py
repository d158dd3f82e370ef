"""The verifier of graphs. It runs after every pass, so an error is found in the pass that caused it."""

from __future__ import annotations

from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Node, check_types


def verify(graph: Graph) -> Graph:
    """Check that ``graph`` and its regions are well formed, and return it. Raises GraphError otherwise."""
    inputs = set(graph.inputs)
    if len(inputs) != len(graph.inputs):
        raise GraphError("a graph lists the same input twice")
    defined = {value.node for value in inputs}
    for node in graph.nodes():
        if node.op.name == "input":
            if node.outputs[0] not in inputs:
                raise GraphError(f"input {node.attributes['name']!r} is used but not listed by its graph")
        elif node not in defined and not node.verified:
            _verify_node(node)
            node.verified = True
    return graph


def _verify_node(node: Node) -> None:
    for value in node.inputs:
        if value.node.serial >= node.serial:
            raise GraphError(f"{node.op.name} takes a value that was built after it")
    if check_types(node) != node.types:
        raise GraphError(
            f"{node.op.name} has types {node.types}, but its shape rule gives {check_types(node)}"
        )
    for region in node.regions:
        verify(region)
