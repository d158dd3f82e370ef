"""The chain rule: one reverse and one forward sweep over a graph.

Both know no single op. Each walks the nodes once and asks the node's own derivative entry; what they build is
graph again, so the derivative can be printed, compiled, and differentiated once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Node, Value, scope, topological
from glassgrad.ops.elementwise import add
from glassgrad.ops.op import Context, Derivative, Maybe, Op
from glassgrad.ops.structure import full, zeros_like


def vjp(
    outputs: Sequence[Value],
    cotangents: Sequence[Maybe],
    wrt: Sequence[Value],
    *,
    independent: bool = False,
) -> list[Maybe]:
    """The reverse sweep: the cotangent of each of ``wrt``, given those of ``outputs`` (None: zero).

    A cotangent of y is the derivative of the one number at the end by y. None in the result: no path.

    Where one of ``wrt`` depends on another, as in ``wrt = [x, y]`` with y = f(x), each gets its total derivative:
    that by x includes the paths through y. With ``independent`` each is a variable of its own, and the result is
    the partial derivatives: a path ends at the first of ``wrt`` that it meets. Raises GraphError for a cotangent of
    another type than its value, and for an op without a derivative rule.
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
    nodes = topological(outputs, wrt) if independent else _between(outputs, wrt)
    active = _depends_on(nodes, wrt)
    ends = {value.node for value in wrt} if independent else set()
    for node in reversed(nodes):
        if node in ends or not any(value in bar for value in node.outputs):
            continue
        needs = tuple(value in active for value in node.inputs)
        if not any(needs):
            continue
        with scope("backward", node.scope.layer):
            given = [bar.get(value) for value in node.outputs]
            if len(given) > 1:  # rules of ops with several outputs need not ask which of them counted
                given = [
                    zeros_like(value) if ct is None and value.type.is_float else ct
                    for value, ct in zip(node.outputs, given, strict=True)
                ]
            rule = _derivative(node)
            back = rule.reverse(_context(node, needs), given, node.outputs, node.inputs)
            for value, needed, ct in zip(node.inputs, needs, back, strict=True):
                if needed:
                    accumulate(value, ct)
    return [bar.get(value) for value in wrt]


def jvp(outputs: Sequence[Value], tangents: Sequence[Maybe], wrt: Sequence[Value]) -> list[Maybe]:
    """The forward sweep: the tangent of each of ``outputs``, given those of ``wrt`` (None: zero).

    The transpose of ``vjp``: where one of ``wrt`` depends on another, its own tangent is added to the one that
    follows from the other. Raises GraphError for a tangent of another type than its value, and for an op without a
    derivative rule.
    """
    dot: dict[Value, Value] = {}

    def accumulate(value: Value, tangent: Maybe) -> None:
        if tangent is None or not value.type.is_float:
            return
        if tangent.type != value.type:
            raise GraphError(f"{value.node.op.name}: a tangent of {tangent.type} for a value of {value.type}")
        dot[value] = add(dot[value], tangent) if value in dot else tangent

    for value, tangent in zip(wrt, tangents, strict=True):
        accumulate(value, tangent)
    for node in _between(outputs, wrt):
        given = [dot.get(value) for value in node.inputs]
        if any(tangent is not None for tangent in given):
            with scope(layer=node.scope.layer):
                needs = tuple(tangent is not None for tangent in given)
                moved = _derivative(node).forward(_context(node, needs), given, node.outputs, node.inputs)
                for value, tangent in zip(node.outputs, moved, strict=True):
                    accumulate(value, tangent)
    return [dot.get(value) for value in outputs]


def gradient(output: Value, wrt: Sequence[Value]) -> list[Value]:
    """The gradient of the scalar ``output`` by each of ``wrt``; zeros where there is no path.

    Where one of ``wrt`` depends on another, each gets its total derivative (see ``vjp``). Raises GraphError for an
    ``output`` that is no float scalar.
    """
    if output.shape != () or not output.type.is_float:
        raise GraphError(f"a gradient is of a float scalar, not of {output.type}")
    with scope("backward", ""):
        cotangents = vjp([output], [full((), 1, output.dtype)], wrt)
        return [zeros_like(v) if ct is None else ct for v, ct in zip(wrt, cotangents, strict=True)]


def hessian_vector_product(output: Value, wrt: Sequence[Value], vectors: Sequence[Value]) -> list[Value]:
    """H v: the forward sweep over the graph of the gradient (B. Pearlmutter, 1994).

    H is the Hessian of ``output`` as a function of what is added to each of ``wrt``. So where y = f(x) is one of
    ``wrt`` beside x, a change of x moves y too, as in ``gradient`` and ``jvp``.
    """
    gradients = gradient(output, wrt)
    moved = jvp(gradients, vectors, wrt)
    return [zeros_like(v) if t is None else t for v, t in zip(wrt, moved, strict=True)]


def _between(outputs: Sequence[Value], wrt: Sequence[Value]) -> list[Node]:
    """The nodes that ``outputs`` and ``wrt`` need; nothing older than all of ``wrt`` can depend on one of them."""
    return topological((*outputs, *wrt), since=min((value.node.serial for value in wrt), default=0))


def _depends_on(nodes: Sequence[Node], wrt: Sequence[Value]) -> set[Value]:
    """The float values among ``nodes`` that depend on ``wrt``."""
    active = set(wrt)
    for node in nodes:
        if any(value in active for value in node.inputs):
            active.update(value for value in node.outputs if value.type.is_float)
    return active


def _context(node: Node, needs: tuple[bool, ...]) -> Context:
    """What a rule may ask. A rule differentiates by the inputs of its node, whatever these depend on."""
    return Context(node, needs, partial(vjp, independent=True))


def _derivative(node: Node) -> Derivative:
    assert isinstance(node.op, Op)
    if node.op.derivative is None:
        raise GraphError(f"op {node.op.name!r} has no derivative rule; give its record one, or NO_GRADIENT")
    return node.op.derivative
