"""Custom ops: a user's own function of values, with or without the user's own derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Operand, Type, Value
from glassgrad.graph.rebuild import inline
from glassgrad.ops.loops import trace
from glassgrad.ops.op import Context, Maybe, Op, Reverse, Rule, as_value, record
from glassgrad.ops.structure import RESHAPE


def _infer_call(types: Sequence[Type], _: Mapping[str, Any], regions: Sequence[Graph]) -> tuple[Type, ...]:
    return tuple(value.type for value in regions[0].outputs)


def _call_reference(*arrays: Any, regions: Sequence[Callable[..., Any]], label: str) -> Any:
    return tuple(regions[0](*arrays))


def _inline_reverse(
    ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
) -> Sequence[Maybe]:
    """Without a rule of the user's: the chain rule through the body."""
    return ctx.vjp(inline(ctx.node.regions[0], inputs), cotangents, inputs)


def _per_input(rule: Reverse) -> Reverse:
    """``rule``, called with a value of its own for each input, and with its result checked.

    In f(x, x) both inputs are the same value, and a derivative by it would be the sum of both. A reshape to the
    same shape is a node of its own that computes nothing; the clean-up passes remove it.
    """

    def reverse(
        ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        separate = list(inputs)
        for i, value in enumerate(inputs):
            if value in inputs[:i]:
                separate[i] = RESHAPE(value, shape=value.shape)
        back = rule(ctx, cotangents, outputs, separate)
        label = ctx.attributes["label"]
        if not isinstance(back, (list, tuple)) or len(back) != len(inputs):
            count = f"{len(back)} cotangents" if isinstance(back, (list, tuple)) else type(back).__name__
            raise GraphError(
                f"the derivative of {label!r} must give a list of {len(inputs)}, one per input, not {count}"
            )
        for item in back:
            if not (item is None or isinstance(item, Value)):
                raise GraphError(
                    f"the derivative of {label!r} must give values of the graph or None, "
                    f"not {type(item).__name__}"
                )
        return back

    return reverse


CALL = record(Op("call", _infer_call, _call_reference, Rule(_per_input(_inline_reverse)), outputs=None))


def custom_op(
    function: Callable[..., Value | Sequence[Value]],
    *,
    derivative: Reverse | None = None,
    name: str | None = None,
) -> Callable[..., Any]:
    """``function`` (values in, one value or several out) as an op of its own.

    It runs on every backend, since it is made of ops that each backend has. With ``derivative``, a rule
    ``(ctx, cotangents, outputs, inputs) -> one cotangent (or None) per input``, that rule replaces the chain
    rule through the body: for a better-conditioned formula, a straight-through estimator, a clipped gradient.
    ``glassgrad.check_derivative`` compares the rule with central differences.

    The op also takes Python numbers, at least one operand being a value of the graph: a number becomes a constant
    of shape () and of the dtype of the first float operand, or of the first value where none is a float.
    """
    label = name or str(getattr(function, "__name__", "custom"))
    op = (
        CALL
        if derivative is None
        else Op("call", _infer_call, _call_reference, Rule(_per_input(derivative)), outputs=None)
    )

    def build(*operands: Operand) -> Any:
        inputs = _values(label, operands)
        several = False

        def body(*values: Value) -> Sequence[Value]:
            nonlocal several
            given = function(*values)
            several = not isinstance(given, Value)
            return [given] if isinstance(given, Value) else given

        region = trace(body, [value.type for value in inputs])
        outputs = op.apply(inputs, {"label": label}, [region])
        return outputs if several else outputs[0]

    build.__name__ = build.__qualname__ = label
    build.__doc__ = function.__doc__
    return build


def _values(label: str, operands: Sequence[Operand]) -> list[Value]:
    """The operands as values, Python numbers as constants."""
    values = [item for item in operands if isinstance(item, Value)]
    if operands and not values:
        raise GraphError(f"{label} needs at least one value of the graph, not only Python numbers")
    like = next((value for value in values if value.type.is_float), values[0]) if values else None
    return values if like is None else [as_value(item, like) for item in operands]
