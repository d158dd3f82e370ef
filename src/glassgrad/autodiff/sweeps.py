"""The chain rule: one reverse sweep (``vjp``) and one forward sweep (``jvp``) over a graph.

Neither sweep knows any particular op. Each visits the nodes once, in topological order or its reverse, and calls the
derivative entry of the node's op record. The result is graph again: it can be printed, compiled and differentiated.
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
    """The reverse sweep (vector-Jacobian product): the cotangents of ``wrt`` from those of ``outputs``.

    The cotangent of a value y is the derivative of the final scalar with respect to y; it has the type of y. None in
    ``cotangents`` means zero. None in the result means that no output depends on that value.

    Values of ``wrt`` may depend on each other, as in ``wrt = [x, y]`` with y = f(x). By default each gets its total
    derivative: that of x includes the paths through y. With ``independent`` the result is the partial derivatives:
    a path ends at the first value of ``wrt`` that it reaches.

    Raises GraphError if the type of a cotangent differs from that of its value, and for an op without a derivative
    rule.
    """
    cotangent_of: dict[Value, Value] = {}

    def accumulate(value: Value, ct: Maybe) -> None:
        if ct is None:
            return
        if ct.type != value.type:
            raise GraphError(f"{value.node.op.name}: a cotangent of {ct.type} for a value of {value.type}")
        cotangent_of[value] = add(cotangent_of[value], ct) if value in cotangent_of else ct

    for value, ct in zip(outputs, cotangents, strict=True):
        accumulate(value, ct)
    nodes = topological(outputs, wrt) if independent else _between(outputs, wrt)
    active = _depends_on(nodes, wrt)
    path_ends = {value.node for value in wrt} if independent else set()
    for node in reversed(nodes):
        if node in path_ends or not any(value in cotangent_of for value in node.outputs):
            continue
        needs = tuple(value in active for value in node.inputs)
        if not any(needs):
            continue
        with scope("backward", node.scope.layer):
            output_cts = [cotangent_of.get(value) for value in node.outputs]
            if len(output_cts) > 1:  # so the rule of an op with several float outputs never sees None for one
                output_cts = [
                    zeros_like(value) if ct is None and value.type.is_float else ct
                    for value, ct in zip(node.outputs, output_cts, strict=True)
                ]
            rule = _derivative(node)
            input_cts = rule.reverse(_context(node, needs), output_cts, node.outputs, node.inputs)
            for value, needed, ct in zip(node.inputs, needs, input_cts, strict=True):
                if needed:
                    accumulate(value, ct)
    return [cotangent_of.get(value) for value in wrt]


def jvp(outputs: Sequence[Value], tangents: Sequence[Maybe], wrt: Sequence[Value]) -> list[Maybe]:
    """The forward sweep (Jacobian-vector product): the tangents of ``outputs`` from those of ``wrt``.

    The tangent of a value is its directional derivative; it has the type of the value. None means zero. This is the
    transpose of ``vjp``: where y of ``wrt`` depends on x of ``wrt``, the given tangent of y is added to the one that
    follows from x.

    Raises GraphError if the type of a tangent differs from that of its value, and for an op without a derivative
    rule.
    """
    tangent_of: dict[Value, Value] = {}

    def accumulate(value: Value, tangent: Maybe) -> None:
        if tangent is None or not value.type.is_float:
            return
        if tangent.type != value.type:
            raise GraphError(f"{value.node.op.name}: a tangent of {tangent.type} for a value of {value.type}")
        tangent_of[value] = add(tangent_of[value], tangent) if value in tangent_of else tangent

    for value, tangent in zip(wrt, tangents, strict=True):
        accumulate(value, tangent)
    for node in _between(outputs, wrt):
        input_tangents = [tangent_of.get(value) for value in node.inputs]
        if any(tangent is not None for tangent in input_tangents):
            with scope(layer=node.scope.layer):
                needs = tuple(tangent is not None for tangent in input_tangents)
                rule = _derivative(node)
                output_tangents = rule.forward(
                    _context(node, needs), input_tangents, node.outputs, node.inputs
                )
                for value, tangent in zip(node.outputs, output_tangents, strict=True):
                    accumulate(value, tangent)
    return [tangent_of.get(value) for value in outputs]


def gradient(output: Value, wrt: Sequence[Value]) -> list[Value]:
    """The gradient of the scalar ``output`` with respect to each value of ``wrt``, of that value's type.

    The gradient is zero for a value that ``output`` does not depend on. Values of ``wrt`` that depend on each other
    get total derivatives (see ``vjp``). Raises GraphError unless ``output`` is a float scalar.
    """
    if output.shape != () or not output.type.is_float:
        raise GraphError(f"a gradient needs a float scalar, not {output.type}")
    with scope("backward", ""):
        cotangents = vjp([output], [full((), 1, output.dtype)], wrt)
        return [zeros_like(v) if ct is None else ct for v, ct in zip(wrt, cotangents, strict=True)]


def hessian_vector_product(output: Value, wrt: Sequence[Value], vectors: Sequence[Value]) -> list[Value]:
    """H v: the forward sweep over the graph of the gradient.

    ``vectors`` and the result have the types of ``wrt``. H is the Hessian of ``output`` with respect to ``wrt``. If
    ``wrt`` holds both x and y = f(x), a change of x changes y too, as in ``gradient`` and ``jvp``.
    B. Pearlmutter, "Fast exact multiplication by the Hessian", 1994.
    """
    gradients = gradient(output, wrt)
    products = jvp(gradients, vectors, wrt)
    return [zeros_like(v) if t is None else t for v, t in zip(wrt, products, strict=True)]


def _between(outputs: Sequence[Value], wrt: Sequence[Value]) -> list[Node]:
    """The nodes that ``outputs`` and ``wrt`` need, in topological order.

    The walk stops at nodes older than every value of ``wrt``, which cannot depend on any of them.
    """
    return topological((*outputs, *wrt), since=min((value.node.serial for value in wrt), default=0))


def _depends_on(nodes: Sequence[Node], wrt: Sequence[Value]) -> set[Value]:
    """The float values among ``nodes`` that depend on ``wrt``."""
    active = set(wrt)
    for node in nodes:
        if any(value in active for value in node.inputs):
            active.update(value for value in node.outputs if value.type.is_float)
    return active


def _context(node: Node, needs: tuple[bool, ...]) -> Context:
    """The context of the derivative rule of ``node``, which treats the inputs of ``node`` as independent."""
    return Context(node, needs, partial(vjp, independent=True))


def _derivative(node: Node) -> Derivative:
    assert isinstance(node.op, Op)
    if node.op.derivative is None:
        raise GraphError(f"op {node.op.name!r} has no derivative rule; give its record one, or NO_GRADIENT")
    return node.op.derivative
