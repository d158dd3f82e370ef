"""A graph as readable text: one numbered equation per node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from glassgrad.graph.node import Graph, Node, Value

_INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "matmul": "@",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
}


def format_graph(graph: Graph, *, names: Mapping[Value, str] | None = None) -> str:
    """``graph`` as text.

    ``names`` are the names of values. Inputs without one are called by their own name, other values by number.
    """
    lines, name = equations(graph, dict(names or {}), "%")
    outputs = ", ".join(name(value) for value in graph.outputs)
    return "\n".join([*lines, f"return {outputs}"])


def equations(graph: Graph, names: dict[Value, str], prefix: str) -> tuple[list[str], Callable[[Value], str]]:
    """The lines of ``graph``, and a function that gives the name of each value.

    Each node is one line. A heading marks each change of section or layer. Constants of one element are printed where
    they are used. ``names`` are the names of values, to which new ones are added: ``prefix`` and a number.
    """
    counter = 0

    def name(value: Value) -> str:
        node = value.node
        if value not in names:
            if node.op.name == "constant" and node.types[0].size == 1:
                return f"{np.asarray(node.attributes['value']).item():.6g}"
            if (
                node.op.name == "broadcast"
                and node.inputs[0].node.op.name == "constant"
                and value.type.is_float
            ):
                return name(node.inputs[0])
            return "?"
        return names[value]

    body: list[tuple[Node, str]] = []
    for node in graph.nodes():
        if node.op.name == "input":
            names.setdefault(node.outputs[0], str(node.attributes["name"]))
            continue
        if any(name(value) != "?" and value not in names for value in node.outputs):
            continue  # a constant, printed where it is used
        for value in node.outputs:
            counter += 1
            names.setdefault(value, f"{prefix}{counter}")
        body.append((node, _equation(node, name, prefix)))

    width = min(72, max((len(text) for _, text in body), default=0))
    lines: list[str] = []
    heading: tuple[str, str] | None = None
    for node, text in body:
        section, layer = node.scope.section, node.scope.layer
        if (section, layer) != heading:
            if heading is None or section != heading[0]:
                lines.append(f"{section}:")
            if layer:
                lines.append(f"  # {layer}")
            heading = (section, layer)
        types = ", ".join(map(str, node.types))
        lines.append(f"  {text:<{width}}  : {types}")
        for number, region in enumerate(node.regions, start=1):
            region_lines, region_name = equations(region, {}, f"{prefix}{number}.")
            arguments = ", ".join(f"{region_name(value)}: {value.type}" for value in region.inputs)
            lines.append(f"    body({arguments}):")
            lines.extend(f"    {line}" for line in region_lines if not line.endswith(":"))
            lines.append(f"      give {', '.join(region_name(value) for value in region.outputs)}")
    return lines, name


def _equation(node: Node, name: Callable[[Value], str], prefix: str) -> str:
    left = ", ".join(name(value) for value in node.outputs)
    operands = [name(value) for value in node.inputs]
    if node.op.name in _INFIX and len(operands) == 2:
        return f"{left} = {operands[0]} {_INFIX[node.op.name]} {operands[1]}"
    if node.op.name == "negate":
        return f"{left} = -{operands[0]}"
    arguments = operands + [f"{key}={_attribute(item)}" for key, item in node.attributes.items()]
    return f"{left} = {node.op.name}({', '.join(arguments)})"


def _attribute(item: Any) -> str:
    if isinstance(item, np.ndarray):
        return f"array{list(item.shape)}" if item.size > 6 else str(item.tolist())
    if isinstance(item, tuple):
        return f"({', '.join(map(str, item))})"
    return str(item)
