"""Custom ops: a user's function of values, optionally with a derivative rule of its own."""

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
    """The rule of a custom op without its own: the chain rule through the body."""
    return ctx.vjp(inline(ctx.node.regions[0], inputs), cotangents, inputs)


def _per_input(rule: Reverse) -> Reverse:
    """``rule`` called with a distinct value for each input, and with its result checked.

    In f(x, x) both inputs are the same value, so a derivative with respect to it would be the sum for both. A reshape
    to the same shape gives the second input a separate node, which the clean-up passes remove.
    """

    def reverse(
        ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        separate = list(inputs)
        for i, value in enumerate(inputs):
            if value in inputs[:i]:
                separate[i] = RESHAPE(value, shape=value.shape)
        input_cts = rule(ctx, cotangents, outputs, separate)
        label = ctx.attributes["label"]
        if not isinstance(input_cts, (list, tuple)) or len(input_cts) != len(inputs):
            is_list = isinstance(input_cts, (list, tuple))
            received = f"{len(input_cts)} cotangents" if is_list else type(input_cts).__name__
            raise GraphError(
                f"the derivative of {label!r} must give a list of {len(inputs)}, one per input, not {received}"
            )
        for item in input_cts:
            if not (item is None or isinstance(item, Value)):
                raise GraphError(
                    f"the derivative of {label!r} must give values of the graph or None, "
                    f"not {type(item).__name__}"
                )
        return input_cts

    return reverse


CALL = record(Op("call", _infer_call, _call_reference, Rule(_per_input(_inline_reverse)), outputs=None))


def custom_op(
    function: Callable[..., Value | Sequence[Value]],
    *,
    derivative: Reverse | None = None,
    name: str | None = None,
) -> Callable[..., Any]:
    """Make an op of ``function``, which takes values and returns one value or several.

    The op runs on every backend, because its body consists of ops that every backend has. ``derivative`` is a rule
    ``(ctx, cotangents, outputs, inputs) -> one cotangent (or None) per input``. It replaces the chain rule through
    the body: for a better-conditioned formula, a straight-through estimator or a clipped gradient.
    ``glassgrad.check_derivative`` compares the rule with central differences. ``name`` is the op's name in messages
    and printed graphs; by default it is the name of ``function``.

    Operands may also be Python numbers, if at least one operand is a value. A number becomes a scalar constant with
    the dtype of the first float value, or of the first value if none is a float.
    """
    label = name or str(getattr(function, "__name__", "custom"))
    op = (
        CALL
        if derivative is None
        else Op("call", _infer_call, _call_reference, Rule(_per_input(derivative)), outputs=None)
    )

    def build(*operands: Operand) -> Any:
        inputs = _values(label, operands)
        returns_sequence = False

        def body(*values: Value) -> Sequence[Value]:
            nonlocal returns_sequence
            results = function(*values)
            returns_sequence = not isinstance(results, Value)
            return [results] if isinstance(results, Value) else results

        region = trace(body, [value.type for value in inputs])
        outputs = op.apply(inputs, {"label": label}, [region])
        return outputs if returns_sequence else outputs[0]

    build.__name__ = build.__qualname__ = label
    build.__doc__ = function.__doc__
    return build


def _values(label: str, operands: Sequence[Operand]) -> list[Value]:
    """The operands as values; numbers become constants. Raises GraphError if no operand is a value."""
    values = [item for item in operands if isinstance(item, Value)]
    if operands and not values:
        raise GraphError(f"{label} needs at least one value of the graph, not only Python numbers")
    like = next((value for value in values if value.type.is_float), values[0]) if values else None
    return values if like is None else [as_value(item, like) for item in operands]
