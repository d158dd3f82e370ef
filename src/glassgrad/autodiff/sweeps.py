"""The chain rule: one reverse and one forward sweep over a graph.

Both know no single op. Each walks the nodes once and asks the node's own derivative entry; what they build is
graph again, so the derivative can be printed, compiled, and differentiated once more.
"""

from __future__ import annotations

from collections.abc import Sequence

from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Node, Value, place, topological
from glassgrad.ops.elementwise import add
from glassgrad.ops.op import Context, Derivative, Maybe, Op
from glassgrad.ops.structure import full, zeros_like


def vjp(outputs: Sequence[Value], cotangents: Sequence[Maybe], wrt: Sequence[Value]) -> list[Maybe]:
    """The reverse sweep: the cotangent of each of ``wrt``, given those of ``outputs`` (None: zero).

    A cotangent of y is the derivative of the one number at the end by y. None in the result: no path.
    """
    bar: dict[Value, Value] = {}

    def accumulate(value: Value, ct: Maybe) -> None:
        if ct is None:
            return
        if ct.type != value.type:
            raise GraphError(f"{value.node.op.name}: a cotangent of {ct.type} for a value of {value.type}")
        bar[value] = add(bar[value], ct) if value in bar else ct

    for value, ct in zip(outputs, cotangents, strict=True):
        accumulate(value, ct)
    nodes = topological(outputs, wrt)
    active = _depends_on(nodes, wrt)
    targets = {value.node for value in wrt}
    for node in reversed(nodes):
        if node in targets or not any(value in bar for value in node.outputs):
            continue
        needs = tuple(value in active for value in node.inputs)
        if not any(needs):
            continue
        with place("backward", node.place.layer):
            found = [bar.get(value) for value in node.outputs]
            if len(found) > 1:  # rules of ops with several outputs need not ask which of them counted
                found = [
                    zeros_like(value) if ct is None and value.type.is_float else ct
                    for value, ct in zip(node.outputs, found, strict=True)
                ]
            rule = _derivative(node)
            back = rule.reverse(Context(node, needs, vjp), found, node.outputs, node.inputs)
            for value, needed, ct in zip(node.inputs, needs, back, strict=True):
                if needed:
                    accumulate(value, ct)
    return [bar.get(value) for value in wrt]


def jvp(outputs: Sequence[Value], tangents: Sequence[Maybe], wrt: Sequence[Value]) -> list[Maybe]:
    """The forward sweep: the tangent of each of ``outputs``, given those of ``wrt`` (None: zero)."""
    dot: dict[Value, Value] = {v: t for v, t in zip(wrt, tangents, strict=True) if t is not None}
    for node in topological(outputs, wrt):
        if any(value in dot for value in node.outputs):
            continue
        given = [dot.get(value) for value in node.inputs]
        if any(tangent is not None for tangent in given):
            with place(layer=node.place.layer):
                needs = tuple(tangent is not None for tangent in given)
                rule = _derivative(node)
                moved = rule.forward(Context(node, needs, vjp), given, node.outputs, node.inputs)
            pairs = zip(node.outputs, moved, strict=True)
            dot |= {value: t for value, t in pairs if t is not None and value.type.is_float}
    return [dot.get(value) for value in outputs]


def gradient(output: Value, wrt: Sequence[Value]) -> list[Value]:
    """The gradient of the scalar ``output`` by each of ``wrt``; zeros where there is no path."""
    if output.shape != () or not output.type.is_float:
        raise GraphError(f"a gradient is of a float scalar, not of {output.type}")
    with place("backward", ""):
        found = vjp([output], [full((), 1, output.dtype)], wrt)
        return [zeros_like(v) if ct is None else ct for v, ct in zip(wrt, found, strict=True)]


def hessian_vector_product(output: Value, wrt: Sequence[Value], vectors: Sequence[Value]) -> list[Value]:
    """H v: the forward sweep over the graph of the gradient (B. Pearlmutter, 1994)."""
    gradients = gradient(output, wrt)
    moved = jvp(gradients, vectors, wrt)
    return [zeros_like(v) if t is None else t for v, t in zip(wrt, moved, strict=True)]


def _depends_on(nodes: Sequence[Node], wrt: Sequence[Value]) -> set[Value]:
    """The float values among ``nodes`` that depend on ``wrt``."""
    active = set(wrt)
    for node in nodes:
        if any(value in active for value in node.inputs):
            active.update(value for value in node.outputs if value.type.is_float)
    return active


def _derivative(node: Node) -> Derivative:
    assert isinstance(node.op, Op)
    if node.op.derivative is None:
        raise GraphError(f"op {node.op.name!r} has no derivative rule; give its record one, or NO_GRADIENT")
    return node.op.derivative
