"""Means, maxima, running sums, softmax and log-sum-exp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.graph.node import Graph, Type, Value
from glassgrad.ops.custom import custom_op
from glassgrad.ops.elementwise import equal, exp, is_finite, log, logical_and, logical_not, select
from glassgrad.ops.op import NO_GRADIENT, Context, Maybe, Op, Rule, expect, record
from glassgrad.ops.structure import (
    Linear,
    convert,
    infer_along_axis,
    infer_reduction,
    normalize_axes,
    reduce_sum,
    reshape,
    reverse,
    spread,
    stop_gradient,
)


def _max_reverse(
    ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
) -> Sequence[Maybe]:
    """The cotangent goes to the maximum. Equal maxima share it evenly."""
    (ct,), (y,), (x,) = cotangents, outputs, inputs
    assert ct is not None
    axes = ctx.attributes["axes"]
    top = spread(y, x, axes)
    winners = reduce_sum(convert(equal(x, top), x.dtype), axes)
    # Select instead of multiplying by 0 or 1: infinity * 0 would be NaN.
    return [select(x < top, 0.0, spread(ct / winners, x, axes))]


MAX = record(Op("max", infer_reduction, lambda x, axes: np.max(x, axis=axes), Rule(_max_reverse)))


def reduce_max(x: Value, axes: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
    """The maximum over ``axes`` (all if None)."""
    axes = normalize_axes(len(x.shape), axes)
    result = MAX(x, axes=axes) if axes else x
    return reshape(result, [1 if a in axes else n for a, n in enumerate(x.shape)]) if keepdims else result


def reduce_min(x: Value, axes: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
    """The minimum over ``axes`` (all if None)."""
    return -reduce_max(-x, axes, keepdims=keepdims)


def reduce_mean(x: Value, axes: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
    """The mean over ``axes`` (all if None)."""
    axes = normalize_axes(len(x.shape), axes)
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    return reduce_sum(x, axes, keepdims=keepdims) * (1.0 / count)


ARGMAX = record(
    Op(
        "argmax",
        lambda t, a, r: (Type(infer_reduction(t, {"axes": (a["axis"],)}, r)[0].shape, "int32"),),
        lambda x, axis: np.argmax(x, axis=axis).astype(np.int32),
        NO_GRADIENT,
    )
)


def argmax(x: Value, axis: int = -1) -> Value:
    """The int32 index of the first maximum along ``axis``, which disappears."""
    (axis,) = normalize_axes(len(x.shape), axis)
    return ARGMAX(x, axis=axis)


def _infer_cumsum(
    types: Sequence[Type], attributes: Mapping[str, Any], regions: Sequence[Graph]
) -> tuple[Type, ...]:
    expect(types[0].dtype != "bool", "convert bool first")
    return infer_along_axis(types, attributes, regions)


CUMSUM = record(
    Op(
        "cumsum",
        _infer_cumsum,
        lambda x, axis: np.cumsum(x, axis=axis, dtype=x.dtype),
        Linear(
            lambda ctx, ct, inputs: [
                reverse(
                    cumsum(reverse(ct, ctx.attributes["axis"]), ctx.attributes["axis"]),
                    ctx.attributes["axis"],
                )
            ]
        ),
    )
)


def cumsum(x: Value, axis: int) -> Value:
    """The running sum along ``axis``, of the shape of ``x``."""
    (axis,) = normalize_axes(len(x.shape), axis)
    return CUMSUM(x, axis=axis)


def _difference(x: Value, top: Value) -> Value:
    """x - top, and 0 where both are the same infinity."""
    both_infinite = logical_and(equal(x, top), logical_not(is_finite(top)))
    return select(both_infinite, 0.0, x - top)


# The derivative is that of x - top everywhere, including where x and top are the same infinity.
_below_maximum = custom_op(
    _difference,
    derivative=lambda ctx, cotangents, outputs, inputs: [cotangents[0], None],
    name="difference_from_maximum",
)


def _below(x: Value, axis: int) -> tuple[Value, Value]:
    """x minus its maximum along ``axis``, and that maximum, through which no gradient passes."""
    top = stop_gradient(reduce_max(x, axis, keepdims=True))
    shifted: Value = _below_maximum(x, top)
    return shifted, top


def logsumexp(x: Value, axis: int = -1, *, keepdims: bool = False) -> Value:
    """log(sum(exp(x))) along ``axis``. The maximum is subtracted first, so exp does not overflow."""
    shifted, top = _below(x, axis)
    result = log(reduce_sum(exp(shifted), axis, keepdims=True)) + top
    return result if keepdims else reshape(result, _without(x, axis))


def log_softmax(x: Value, axis: int = -1) -> Value:
    """Log-probabilities along ``axis``: x - logsumexp(x)."""
    shifted, _ = _below(x, axis)
    return shifted - log(reduce_sum(exp(shifted), axis, keepdims=True))


def softmax(x: Value, axis: int = -1) -> Value:
    """Probabilities along ``axis``: exp(x) / sum(exp(x))."""
    exponentials = exp(_below(x, axis)[0])
    return exponentials / reduce_sum(exponentials, axis, keepdims=True)


def _without(x: Value, axis: int) -> list[int]:
    """The shape of ``x`` without ``axis``."""
    (removed,) = normalize_axes(len(x.shape), axis)
    return [n for a, n in enumerate(x.shape) if a != removed]
