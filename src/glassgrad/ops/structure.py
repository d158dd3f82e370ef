"""Broadcast, sum, reshape and reordering of axes. Each op is linear, and its transpose is another op of this module.

Broadcasting is always an explicit node, so no other op and neither sweep needs a special case for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import GraphError
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import DTYPES, DType, Graph, Operand, Shape, Type, Value
from glassgrad.ops.op import NO_GRADIENT, Context, Maybe, Op, as_value, constant, expect, record

Attributes = Mapping[str, Any]
Types = Sequence[Type]
Regions = Sequence[Graph]


@frozen
class Linear:
    """The derivative of an op that is jointly linear in the inputs with indices ``arguments`` (None: in all).

    ``transpose(ctx, cotangent, inputs)`` returns the cotangents of all inputs. The forward rule is the op itself,
    applied to the tangents.
    """

    transpose: Callable[[Context, Value, Sequence[Value]], Sequence[Maybe]]
    arguments: tuple[int, ...] | None = None

    def reverse(
        self, ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """Apply the transpose."""
        assert cotangents[0] is not None
        return self.transpose(ctx, cotangents[0], inputs)

    def forward(
        self, ctx: Context, tangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """Apply the op to the tangents."""
        linear = range(len(inputs)) if self.arguments is None else self.arguments
        if all(tangents[i] is None for i in linear):
            return [None]
        operands = [
            value if i not in linear else zeros_like(value) if tangent is None else tangent
            for i, (value, tangent) in enumerate(zip(inputs, tangents, strict=True))
        ]
        node = ctx.node
        assert isinstance(node.op, Op)
        return node.op.apply(operands, node.attributes, node.regions)


def full(shape: Shape, value: float, dtype: DType) -> Value:
    """A value of ``shape`` with every element equal to ``value``."""
    return broadcast_to(constant(value, dtype), shape)


def zeros_like(value: Value) -> Value:
    """Zeros of the shape and dtype of ``value``."""
    return full(value.shape, 0, value.dtype)


# --- broadcast and its transpose, the sum ---------------------------------------------------------


def _infer_broadcast(types: Types, attributes: Attributes, _: Regions) -> tuple[Type, ...]:
    (operand,), shape, axes = types, attributes["shape"], attributes["axes"]
    expect(
        len(axes) == len(operand.shape) and list(axes) == sorted(set(axes)),
        "axes must be in ascending order, one per input axis",
    )
    for extent, axis in zip(operand.shape, axes, strict=True):
        expect(
            axis < len(shape) and extent == shape[axis],
            f"an axis of extent {extent} cannot become axis {axis} of {shape}",
        )
    return (Type(shape, operand.dtype),)


def _broadcast(x: np.ndarray, shape: Shape, axes: tuple[int, ...]) -> np.ndarray:
    extents = [1] * len(shape)
    for axis, extent in zip(axes, x.shape, strict=True):
        extents[axis] = extent
    return np.broadcast_to(x.reshape(extents), shape)


BROADCAST = record(
    Op(
        "broadcast",
        _infer_broadcast,
        _broadcast,
        Linear(
            lambda ctx, ct, inputs: [
                reduce_sum(ct, [a for a in range(len(ct.shape)) if a not in ctx.attributes["axes"]])
            ]
        ),
    )
)


def broadcast(x: Value, shape: Sequence[int], axes: Sequence[int]) -> Value:
    """Repeat ``x`` along new axes to ``shape``: axis i of ``x`` becomes axis ``axes[i]`` of the result."""
    shape, axes = tuple(shape), tuple(axes)
    if x.shape == shape:
        return x
    return BROADCAST(x, shape=shape, axes=axes)


def broadcast_to(x: Value, shape: Sequence[int]) -> Value:
    """Broadcast ``x`` to ``shape`` by NumPy's rule: align axes at the right, and repeat axes of extent 1.

    Raises GraphError if the shapes do not fit.
    """
    shape = tuple(shape)
    if x.shape == shape:
        return x
    offset = len(shape) - len(x.shape)
    equal_axes = [a for a, extent in enumerate(x.shape) if offset >= 0 and extent == shape[a + offset]]
    if offset < 0 or any(extent != 1 for a, extent in enumerate(x.shape) if a not in equal_axes):
        raise GraphError(f"a shape of {x.shape} cannot be broadcast to {shape}")
    return broadcast(reshape(x, [x.shape[a] for a in equal_axes]), shape, [a + offset for a in equal_axes])


def as_values(op: str, *operands: Operand) -> list[Value]:
    """The operands as values. Numbers and NumPy arrays become constants with the dtype of the first value.

    Raises GraphError, which names ``op``, if no operand is a value.
    """
    for item in operands:
        if isinstance(item, Value):
            return [as_value(operand, item) for operand in operands]
    raise GraphError(f"{op} needs at least one value of the graph, not only numbers and arrays")


def broadcast_together(op: str, *operands: Operand) -> list[Value]:
    """The operands as values of one shape. Numbers and NumPy arrays become constants; values keep their dtypes."""
    return broadcast_values(op, as_values(op, *operands))


def broadcast_values(op: str, values: Sequence[Value]) -> list[Value]:
    """The values broadcast to one shape. Raises GraphError, which names ``op``, if the shapes do not fit."""
    try:
        shape = tuple(int(n) for n in np.broadcast_shapes(*(item.shape for item in values)))
    except ValueError:
        shapes = " and ".join(str(item.type) for item in values)
        raise GraphError(f"{op}: the shapes of {shapes} cannot be broadcast together") from None
    return [broadcast_to(item, shape) for item in values]


def normalize_axes(rank: int, axes: int | Sequence[int] | None) -> tuple[int, ...]:
    """The axes of an array of ``rank`` axes as a sorted tuple of indices from 0. None means all axes.

    Negative indices count from the last axis. Raises GraphError for an axis that does not exist.
    """
    if axes is None:
        return tuple(range(rank))
    indices = (axes,) if isinstance(axes, int) else tuple(axes)
    if any(not -rank <= axis < rank for axis in indices):
        raise GraphError(f"axes {indices} do not exist in an array of {rank} axes")
    return tuple(sorted({axis % rank for axis in indices}))


def infer_reduction(types: Types, attributes: Attributes, _: Regions) -> tuple[Type, ...]:
    """The shape rule of every reduction: the axes disappear."""
    (operand,), axes = types, attributes["axes"]
    expect(operand.dtype != "bool", "convert bool first")
    expect(all(0 <= axis < len(operand.shape) for axis in axes), f"axes {axes} do not exist")
    return (Type(tuple(n for a, n in enumerate(operand.shape) if a not in axes), operand.dtype),)


def spread(x: Value, like: Value, axes: Sequence[int]) -> Value:
    """Repeat ``x``, the result of a reduction over ``axes``, along these axes to the shape of ``like``."""
    return broadcast(x, like.shape, [a for a in range(len(like.shape)) if a not in axes])


SUM = record(
    Op(
        "sum",
        infer_reduction,
        lambda x, axes: np.sum(x, axis=axes, dtype=x.dtype),
        Linear(lambda ctx, ct, inputs: [spread(ct, inputs[0], ctx.attributes["axes"])]),
    )
)


def reduce_sum(x: Value, axes: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
    """The sum over ``axes`` (all if None)."""
    axes = normalize_axes(len(x.shape), axes)
    result = SUM(x, axes=axes) if axes else x
    return reshape(result, [1 if a in axes else n for a, n in enumerate(x.shape)]) if keepdims else result


# --- shape and order of the elements --------------------------------------------------------------


def _infer_reshape(types: Types, attributes: Attributes, _: Regions) -> tuple[Type, ...]:
    shape = attributes["shape"]
    expect(math.prod(shape) == types[0].size, f"{types[0].size} elements do not fill {shape}")
    return (Type(shape, types[0].dtype),)


RESHAPE = record(
    Op(
        "reshape",
        _infer_reshape,
        np.reshape,
        Linear(lambda ctx, ct, inputs: [reshape(ct, inputs[0].shape)]),
    )
)


def reshape(x: Value, shape: Sequence[int]) -> Value:
    """The elements of ``x`` in row-major order in another shape. One extent may be -1, which is then inferred."""
    shape = tuple(shape)
    if shape.count(-1) == 1:
        known_size = math.prod(n for n in shape if n != -1)
        shape = tuple(x.type.size // max(known_size, 1) if n == -1 else n for n in shape)
    return x if shape == x.shape else RESHAPE(x, shape=shape)


def _infer_transpose(types: Types, attributes: Attributes, _: Regions) -> tuple[Type, ...]:
    order = attributes["order"]
    expect(sorted(order) == list(range(len(types[0].shape))), f"{order} is not a permutation of the axes")
    return (Type(tuple(types[0].shape[a] for a in order), types[0].dtype),)


TRANSPOSE = record(
    Op(
        "transpose",
        _infer_transpose,
        lambda x, order: x.transpose(order),
        Linear(
            lambda ctx, ct, inputs: [transpose(ct, [int(a) for a in np.argsort(ctx.attributes["order"])])]
        ),
    )
)


def transpose(x: Value, order: Sequence[int] | None = None) -> Value:
    """``x`` with its axes in ``order`` (None: reversed): axis i of the result is axis ``order[i]`` of ``x``."""
    order = tuple(range(len(x.shape)))[::-1] if order is None else tuple(order)
    return x if order == tuple(range(len(x.shape))) else TRANSPOSE(x, order=order)


def infer_along_axis(types: Types, attributes: Attributes, _: Regions) -> tuple[Type, ...]:
    """The shape rule of an op that works along one axis and keeps the shape."""
    axis = attributes["axis"]
    expect(0 <= axis < len(types[0].shape), f"axis {axis} does not exist")
    return (types[0],)


REVERSE = record(
    Op(
        "reverse",
        infer_along_axis,
        np.flip,
        Linear(lambda ctx, ct, inputs: [reverse(ct, ctx.attributes["axis"])]),
    )
)


def reverse(x: Value, axis: int) -> Value:
    """``x`` with its elements along ``axis`` in the opposite order."""
    (axis,) = normalize_axes(len(x.shape), axis)
    return REVERSE(x, axis=axis)


# --- dtype and gradient ---------------------------------------------------------------------------


def _infer_convert(types: Types, attributes: Attributes, _: Regions) -> tuple[Type, ...]:
    expect(attributes["dtype"] in DTYPES, f"unknown dtype {attributes['dtype']!r}")
    return (Type(types[0].shape, attributes["dtype"]),)


def _unconvert(ctx: Context, ct: Value, inputs: Sequence[Value]) -> Sequence[Maybe]:
    return [convert(ct, inputs[0].dtype) if inputs[0].type.is_float else None]


def _convert(x: np.ndarray, dtype: DType) -> np.ndarray:
    if x.dtype.kind == "f" and dtype in ("int32", "uint32"):
        # float64 represents every int32 and uint32. NumPy's results for numbers out of range depend on the processor.
        limits = np.iinfo(dtype)
        x = np.clip(np.nan_to_num(x.astype(np.float64), nan=0.0), limits.min, limits.max)
    return x.astype(dtype)


CONVERT = record(Op("convert", _infer_convert, _convert, Linear(_unconvert), elementwise=True))


def convert(x: Value, dtype: DType) -> Value:
    """``x`` with another dtype.

    A float converts to an integer by truncation. A float out of the range of the integer dtype converts to the
    nearest end of that range; NaN converts to 0. Between int32 and uint32 the bits do not change. To bool, 0 converts
    to False and any other number, including NaN, to True. True converts to 1.
    """
    return x if x.dtype == dtype else CONVERT(x, dtype=dtype)


STOP_GRADIENT = record(
    Op("stop_gradient", lambda t, a, r: (t[0],), lambda x: x, NO_GRADIENT, elementwise=True)
)


def stop_gradient(x: Value) -> Value:
    """``x``, with a derivative of zero."""
    return STOP_GRADIENT(x)
