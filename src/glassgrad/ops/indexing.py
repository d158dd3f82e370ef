"""Ops on indices: rows by index, one-hot codes, and the k largest elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glassgrad.graph.node import DType, Graph, Type, Value
from glassgrad.ops.elementwise import select
from glassgrad.ops.op import NO_GRADIENT, Context, Maybe, Op, Rule, expect, record
from glassgrad.ops.structure import Linear, broadcast, reduce_sum


def _infer_gather(types: Sequence[Type], _: Mapping[str, Any], __: Sequence[Graph]) -> tuple[Type, ...]:
    table, index = types
    expect(len(table.shape) >= 1, "the table needs a row axis")
    expect(index.dtype == "int32", "the index must be int32")
    return (Type((*index.shape, *table.shape[1:]), table.dtype),)


def _infer_scatter(
    types: Sequence[Type], attributes: Mapping[str, Any], _: Sequence[Graph]
) -> tuple[Type, ...]:
    index, values = types
    expect(index.dtype == "int32", "the index must be int32")
    expect(values.shape[: len(index.shape)] == index.shape, "one row of values per index")
    return (Type((attributes["rows"], *values.shape[len(index.shape) :]), values.dtype),)


def _scatter(index: np.ndarray, values: np.ndarray, rows: int) -> np.ndarray:
    result = np.zeros((rows, *values.shape[index.ndim :]), values.dtype)
    np.add.at(result, np.clip(index, 0, rows - 1), values)
    return result


GATHER_ROWS = record(
    Op(
        "gather_rows",
        _infer_gather,
        lambda table, index: table[np.clip(index, 0, table.shape[0] - 1)],
        Linear(
            lambda ctx, ct, inputs: [scatter_add_rows(inputs[1], ct, inputs[0].shape[0]), None],
            arguments=(0,),
        ),
    )
)
SCATTER_ADD_ROWS = record(
    Op(
        "scatter_add_rows",
        _infer_scatter,
        _scatter,
        Linear(lambda ctx, ct, inputs: [None, gather_rows(ct, inputs[0])], arguments=(1,)),
    )
)


def gather_rows(table: Value, index: Value) -> Value:
    """``table[index]``: rows of ``table`` by an int32 index of any shape.

    (rows, ...) and (i, j, ...) -> (i, j, ..., ...). An index out of range is clipped.
    """
    return GATHER_ROWS(table, index)


def scatter_add_rows(index: Value, values: Value, rows: int) -> Value:
    """An array of ``rows`` rows: zeros, plus each row of ``values`` added at its int32 index.

    It is the transpose of ``gather_rows``. An index out of range is clipped.
    """
    return SCATTER_ADD_ROWS(index, values, rows=rows)


def _infer_one_hot(
    types: Sequence[Type], attributes: Mapping[str, Any], _: Sequence[Graph]
) -> tuple[Type, ...]:
    expect(types[0].dtype == "int32", "the index must be int32")
    return (Type((*types[0].shape, attributes["classes"]), attributes["dtype"]),)


ONE_HOT = record(
    Op(
        "one_hot",
        _infer_one_hot,
        lambda index, classes, dtype: (index[..., None] == np.arange(classes, dtype=index.dtype)).astype(
            dtype
        ),
        NO_GRADIENT,
    )
)


def one_hot(index: Value, classes: int, dtype: DType = "float32") -> Value:
    """A new last axis of ``classes`` elements: 1 at the index, else 0. An index out of range gives all 0."""
    return ONE_HOT(index, classes=classes, dtype=dtype)


def _infer_top_k(
    types: Sequence[Type], attributes: Mapping[str, Any], _: Sequence[Graph]
) -> tuple[Type, ...]:
    (x,), k = types, attributes["k"]
    expect(x.is_float and len(x.shape) >= 1, "takes floats with at least one axis")
    expect(1 <= k <= x.shape[-1], f"k = {k} is not between 1 and {x.shape[-1]}")
    shape = (*x.shape[:-1], k)
    return (Type(shape, x.dtype), Type(shape, "int32"))


def _top_k(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    index = np.lexsort((-x, ~np.isnan(x)), axis=-1)[..., :k]  # the last key is the primary one
    return np.take_along_axis(x, index, -1), index.astype(np.int32)


def _top_k_reverse(
    ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
) -> Sequence[Maybe]:
    """Each cotangent goes to the element that its value came from: ct @ one_hot(index), without infinity * 0."""
    ct, (_, index), (x,) = cotangents[0], outputs, inputs
    if ct is None:
        return [None]
    rank = len(x.shape)
    selected = one_hot(index, x.shape[-1], "bool")
    return [reduce_sum(select(selected, broadcast(ct, selected.shape, range(rank)), 0.0), rank - 1)]


TOP_K = record(Op("top_k", _infer_top_k, _top_k, Rule(_top_k_reverse), outputs=2))


def top_k(x: Value, k: int) -> tuple[Value, Value]:
    """The ``k`` largest elements along the last axis in descending order, and their int32 indices.

    The first of equal elements comes first; 0.0 and -0.0 are equal. NaN counts as larger than every number, as in
    ``argmax``.
    """
    values, index = TOP_K.apply([x], {"k": k})
    return values, index


IOTA = record(
    Op(
        "iota",
        lambda t, a, r: (Type((a["size"],), a["dtype"]),),
        lambda size, dtype: np.arange(size, dtype=dtype),
        NO_GRADIENT,
    )
)


def iota(size: int, dtype: DType = "int32") -> Value:
    """0, 1, ..., size - 1, as an array of shape (size,)."""
    return IOTA(size=size, dtype=dtype)
