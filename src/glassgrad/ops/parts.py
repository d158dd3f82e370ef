"""Slices, padding and concatenation. All are linear, and their transposes are built from each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Shape, Type, Value
from glassgrad.ops.op import Context, Maybe, Op, expect, record
from glassgrad.ops.structure import Linear, normalize_axes

Attributes = Mapping[str, Any]
Types = Sequence[Type]
Regions = Sequence[Graph]


def _infer_slice(types: Types, attributes: Attributes, _: Regions) -> tuple[Type, ...]:
    starts, stops, steps = attributes["starts"], attributes["stops"], attributes["steps"]
    shape = types[0].shape
    expect(len(starts) == len(stops) == len(steps) == len(shape), "one start, stop and step per axis")
    for extent, start, stop, step in zip(shape, starts, stops, steps, strict=True):
        expect(0 <= start < stop <= extent and step >= 1, f"{start}:{stop}:{step} does not lie in 0:{extent}")
    ranges = zip(starts, stops, steps, strict=True)
    return (Type(tuple(len(range(*item)) for item in ranges), types[0].dtype),)


def _unslice(ctx: Context, ct: Value, inputs: Sequence[Value]) -> Sequence[Maybe]:
    a = ctx.attributes
    before, between = a["starts"], [step - 1 for step in a["steps"]]
    after = [
        extent - start - (n - 1) * step - 1
        for extent, start, n, step in zip(inputs[0].shape, a["starts"], ct.shape, a["steps"], strict=True)
    ]
    return [pad(ct, before, after, between)]


SLICE = record(
    Op(
        "slice",
        _infer_slice,
        lambda x, starts, stops, steps: x[
            tuple(slice(*item) for item in zip(starts, stops, steps, strict=True))
        ],
        Linear(_unslice),
    )
)


def slice_of(
    x: Value, starts: Sequence[int], stops: Sequence[int], steps: Sequence[int] | None = None
) -> Value:
    """``x[starts[0]:stops[0]:steps[0], ...]``, with one start, stop and step per axis."""
    steps = tuple(steps) if steps is not None else (1,) * len(x.shape)
    if x.shape == tuple(stops) and not any(starts) and set(steps) <= {1}:
        return x
    return SLICE(x, starts=tuple(starts), stops=tuple(stops), steps=steps)


def slice_axis(x: Value, axis: int, start: int, stop: int) -> Value:
    """``x[start:stop]`` along ``axis``."""
    (axis,) = normalize_axes(len(x.shape), axis)
    starts = [start if a == axis else 0 for a in range(len(x.shape))]
    return slice_of(x, starts, [stop if a == axis else n for a, n in enumerate(x.shape)])


def _padded(before: int, extent: int, after: int, inner: int) -> int:
    return before + extent + (extent - 1) * inner + after


def _infer_pad(types: Types, attributes: Attributes, _: Regions) -> tuple[Type, ...]:
    before, after, inner = attributes["before"], attributes["after"], attributes["inner"]
    shape = types[0].shape
    expect(len(before) == len(after) == len(inner) == len(shape), "one entry per axis")
    expect(min((*before, *after, *inner, 0)) >= 0, "padding cannot be negative")
    return (Type(tuple(map(_padded, before, shape, after, inner)), types[0].dtype),)


def _pad(x: np.ndarray, before: Shape, after: Shape, inner: Shape) -> np.ndarray:
    result = np.zeros(tuple(map(_padded, before, x.shape, after, inner)), x.dtype)
    positions = [
        slice(b, b + (n - 1) * (i + 1) + 1, i + 1) for b, n, i in zip(before, x.shape, inner, strict=True)
    ]
    result[tuple(positions)] = x
    return result


PAD = record(
    Op(
        "pad",
        _infer_pad,
        _pad,
        Linear(
            lambda ctx, ct, inputs: [
                slice_of(
                    ct,
                    ctx.attributes["before"],
                    [n - after for n, after in zip(ct.shape, ctx.attributes["after"], strict=True)],
                    [inner + 1 for inner in ctx.attributes["inner"]],
                )
            ]
        ),
    )
)


def pad(x: Value, before: Sequence[int], after: Sequence[int], inner: Sequence[int] | None = None) -> Value:
    """``x`` with ``before`` and ``after`` zeros at the ends of each axis, and ``inner`` zeros between elements."""
    inner = tuple(inner) if inner is not None else (0,) * len(x.shape)
    if not any((*before, *after, *inner)):
        return x
    return PAD(x, before=tuple(before), after=tuple(after), inner=inner)


def _infer_concatenate(types: Types, attributes: Attributes, _: Regions) -> tuple[Type, ...]:
    axis, first = attributes["axis"], types[0]
    expect(0 <= axis < len(first.shape), f"axis {axis} does not exist")
    for item in types:
        other_axes = [a for a in range(len(first.shape)) if a != axis]
        expect(
            item.dtype == first.dtype
            and len(item.shape) == len(first.shape)
            and all(item.shape[a] == first.shape[a] for a in other_axes),
            "dtypes and all other axes must be equal",
        )
    total = sum(item.shape[axis] for item in types)
    return (Type((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype),)


def _unconcatenate(ctx: Context, ct: Value, inputs: Sequence[Value]) -> Sequence[Maybe]:
    axis, start, parts = ctx.attributes["axis"], 0, []
    for value in inputs:
        stop = start + value.shape[axis]
        parts.append(slice_axis(ct, axis, start, stop))
        start = stop
    return parts


CONCATENATE = record(
    Op(
        "concatenate",
        _infer_concatenate,
        lambda *arrays, axis: np.concatenate(arrays, axis),
        Linear(_unconcatenate),
    )
)


def concatenate(values: Sequence[Value], axis: int) -> Value:
    """The values joined along ``axis``. Raises GraphError if there are none, or if other axes or dtypes differ."""
    if not values:
        raise GraphError("concatenate needs at least one value")
    (axis,) = normalize_axes(len(values[0].shape), axis)
    return values[0] if len(values) == 1 else CONCATENATE(*values, axis=axis)
