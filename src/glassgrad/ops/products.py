"""Matrix products."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.common.errors import GraphError
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import OPERATORS, Graph, Operand, Type, Value
from glassgrad.ops.op import Context, Maybe, Op, expect, record
from glassgrad.ops.structure import as_values, broadcast_to, reshape, transpose


@frozen
class Bilinear:
    """The derivative of an op that is linear in each of its two inputs separately.

    ``transposes[i](ctx, cotangent, inputs)`` is the cotangent of input i. The forward rule is the product rule:
    op(da, b) + op(a, db).
    """

    transposes: tuple[Callable[[Context, Value, Sequence[Value]], Value], ...]

    def reverse(
        self, ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """Apply the transpose of each input that needs one."""
        (ct,) = cotangents
        assert ct is not None
        pairs = zip(self.transposes, ctx.needs, strict=True)
        return [rule(ctx, ct, inputs) if needed else None for rule, needed in pairs]

    def forward(
        self, ctx: Context, tangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        """Apply the product rule."""
        op, (a, b), (da, db) = ctx.node.op, inputs, tangents
        assert isinstance(op, Op)
        terms = [op(da, b, **ctx.attributes)] if da is not None else []
        terms += [op(a, db, **ctx.attributes)] if db is not None else []
        return [terms[0] + terms[1] if len(terms) == 2 else terms[0]]


def _infer_matmul(types: Sequence[Type], _: Mapping[str, Any], __: Sequence[Graph]) -> tuple[Type, ...]:
    a, b = types
    expect(a.is_float and a.dtype == b.dtype, "both must have the same float dtype")
    expect(len(a.shape) == len(b.shape) >= 2, "both need the same number of axes, at least two")
    expect(a.shape[:-2] == b.shape[:-2], "the batch axes must be equal")
    expect(a.shape[-1] == b.shape[-2], f"{a.shape[-1]} columns do not match {b.shape[-2]} rows")
    return (Type((*a.shape[:-1], b.shape[-1]), a.dtype),)


def _swap(x: Value) -> Value:
    rank = len(x.shape)
    return transpose(x, [*range(rank - 2), rank - 1, rank - 2])


MATMUL = record(
    Op(
        "matmul",
        _infer_matmul,
        np.matmul,
        Bilinear(
            (
                lambda ctx, ct, inputs: matmul(ct, _swap(inputs[1])),
                lambda ctx, ct, inputs: matmul(_swap(inputs[0]), ct),
            )
        ),
    )
)


def matmul(a: Operand, b: Operand) -> Value:
    """The matrix product (..., m, k) x (..., k, n) -> (..., m, n). Batch axes are broadcast together.

    One operand may be a NumPy array. Raises GraphError for shapes or dtypes that do not fit.
    """
    a, b = as_values("matmul", a, b)
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise GraphError(f"matmul: {a.type} and {b.type} need at least two axes each")
    if len(b.shape) == 2 and len(a.shape) > 2:  # one product with all rows of the batch
        return reshape(MATMUL(reshape(a, (-1, a.shape[-1])), b), (*a.shape[:-1], b.shape[-1]))
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise GraphError(f"matmul: the batch axes of {a.type} and {b.type} differ") from None
    return MATMUL(broadcast_to(a, (*batch, *a.shape[-2:])), broadcast_to(b, (*batch, *b.shape[-2:])))


OPERATORS["matmul"] = matmul
