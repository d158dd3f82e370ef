"""Kernels of single ops with their own loop nests: gathers, selections, sums over any axes, random numbers, moves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import ELEMENT, SIZE, Reg, vector
from glassgrad.backends.native.kernels.elementwise import convert
from glassgrad.backends.native.kernels.loop_nests import Emit, EmitContext, dot, nest, strides_of
from glassgrad.backends.native.kernels.memory_access import address, load, store
from glassgrad.backends.native.kernels.moves import MOVES
from glassgrad.backends.native.kernels.reductions import combine, identity
from glassgrad.backends.native.plan.memory import Buffer
from glassgrad.graph.node import DType, Node
from glassgrad.ops.random import PARITY, ROTATIONS

# --- by index -----------------------------------------------------------------------------------------


def _clipped(f: Function, index: Buffer, position: Reg, rows: int) -> Reg:
    """The row number at ``position`` of ``index``, clipped to 0 ... ``rows`` - 1, as i64."""
    row = load(f, address(f, index, position), "int32", 1)
    row = f.select(f.compare("slt", row, 0), f.number("i32", 0), row)
    row = f.select(f.compare("sgt", row, rows - 1), f.number("i32", rows - 1), row)
    return f.cast("zext", row, "i64")


def _gather_rows(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    f, (table, index) = t.f, inputs
    rows, *row_shape = node.inputs[0].type.shape  # the buffer may have another shape: reshapes share memory
    size = math.prod(row_shape)
    with f.loop(index.type.size) as i:
        row = _clipped(f, index, i, rows)
        target, source = address(f, outputs[0], f.mul(i, size)), address(f, table, f.mul(row, size))
        f.copy(target, source, size * SIZE[table.type.dtype])


def _scatter_add_rows(
    t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]
) -> None:
    f, (index, values), (out,) = t.f, inputs, outputs
    size, dtype = math.prod(out.type.shape[1:]), out.type.dtype
    lanes = t.lanes(dtype)
    full, rest = divmod(size, lanes)
    f.clear(address(f, out), out.size)
    with f.loop(index.type.size) as i:
        target_start = f.mul(_clipped(f, index, i, out.type.shape[0]), size)
        source_start = f.mul(i, size)

        def add_vector(column: Reg, count: int) -> None:
            pointer = address(f, out, f.add(target_start, column))
            addend = load(f, address(f, values, f.add(source_start, column)), dtype, lanes)
            old = load(f, pointer, dtype, lanes)
            total = f.fadd(old, addend) if out.type.is_float else f.add(old, addend)
            store(f, total, pointer, dtype, count)

        if full:
            with f.loop(full * lanes, step=lanes) as column:
                add_vector(column, lanes)
        if rest:
            add_vector(Reg(str(full * lanes), "i64"), rest)


def _one_hot(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    f, classes, dtype = t.f, node.attributes["classes"], node.types[0].dtype
    with nest(f, [inputs[0].type.size, classes]) as (i, j):
        index = load(f, address(f, inputs[0], i), "int32", 1)
        same = f.compare("eq", index, f.cast("trunc", j, "i32"))
        position = f.add(f.mul(i, classes), j)
        store(f, convert(f, same, "bool", dtype), address(f, outputs[0], position), dtype, 1)


def _is_larger(f: Function, a: Reg, b: Reg, dtype: DType) -> Reg:
    """Whether ``a`` is larger than ``b``; NaN counts as larger than every number."""
    if dtype in ("int32", "uint32"):
        return f.compare("sgt" if dtype == "int32" else "ugt", a, b)
    nan = f.and_(f.compare("uno", a, a), f.compare("ord", b, b))
    return f.or_(f.compare("ogt", a, b), nan)


def _argmax(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    f, axis, shape = t.f, node.attributes["axis"], node.inputs[0].shape
    dtype, strides = node.inputs[0].dtype, strides_of(shape)
    outer_axes = [a for a in range(len(shape)) if a != axis]
    out = strides_of([shape[a] for a in outer_axes])
    best, best_index = f.alloca(ELEMENT[dtype]), f.alloca("i32")
    with nest(f, [shape[a] for a in outer_axes]) as indices:
        base = dot(f, indices, [strides[a] for a in outer_axes])
        f.store(load(f, address(f, inputs[0], base), dtype, 1), best)
        f.store(f.number("i32", 0), best_index)
        with f.loop(shape[axis]) as j:
            position = f.add(base, f.mul(j, strides[axis]))
            x, best_value = load(f, address(f, inputs[0], position), dtype, 1), f.load(ELEMENT[dtype], best)
            is_new_best = _is_larger(f, x, best_value, dtype)
            f.store(f.select(is_new_best, x, best_value), best)
            f.store(f.select(is_new_best, f.cast("trunc", j, "i32"), f.load("i32", best_index)), best_index)
        store(f, f.load("i32", best_index), address(f, outputs[0], dot(f, indices, out)), "int32", 1)


def _top_k(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    """k passes; each selects the largest element that comes after the last one selected. NaN counts as largest."""
    f, k, shape, dtype = t.f, node.attributes["k"], node.inputs[0].shape, node.inputs[0].dtype
    columns, kind = shape[-1], ELEMENT[node.inputs[0].dtype]
    best, best_index = f.alloca(kind), f.alloca("i32")
    last, last_index = f.alloca(kind), f.alloca("i32")

    def larger(a: Reg, b: Reg) -> Reg:
        return f.and_(f.compare("ord", b, b), f.compare("ugt", a, b))

    with f.loop(math.prod(shape[:-1])) as row:
        f.store(f.number(kind, math.nan), last)
        f.store(f.number("i32", -1), last_index)
        with f.loop(k) as rank:
            f.store(f.number(kind, 0.0), best)
            f.store(f.number("i32", -1), best_index)  # -1: none yet
            with f.loop(columns) as j:
                x = load(f, address(f, inputs[0], f.add(f.mul(row, columns), j)), dtype, 1)
                number, limit = f.cast("trunc", j, "i32"), f.load(kind, last)
                smaller = larger(limit, x)
                tied = f.xor(f.or_(smaller, larger(x, limit)), 1)
                later = f.and_(tied, f.compare("sgt", number, f.load("i32", last_index)))
                old, old_index = f.load(kind, best), f.load("i32", best_index)
                is_new_best = f.and_(
                    f.or_(smaller, later), f.or_(larger(x, old), f.compare("slt", old_index, 0))
                )
                f.store(f.select(is_new_best, x, old), best)
                f.store(f.select(is_new_best, number, old_index), best_index)
            position = f.add(f.mul(row, k), rank)
            store(f, f.load(kind, best), address(f, outputs[0], position), dtype, 1)
            store(f, f.load("i32", best_index), address(f, outputs[1], position), "int32", 1)
            f.store(f.load(kind, best), last)
            f.store(f.load("i32", best_index), last_index)


# --- sums and random numbers -----------------------------------------------------------------------------


def _cumsum(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    f, axis, shape, dtype = t.f, node.attributes["axis"], node.inputs[0].shape, node.inputs[0].dtype
    strides = strides_of(shape)
    outer_axes = [a for a in range(len(shape)) if a != axis]
    total = f.alloca(ELEMENT[dtype])
    with nest(f, [shape[a] for a in outer_axes]) as indices:
        base = dot(f, indices, [strides[a] for a in outer_axes])
        f.store(f.number(ELEMENT[dtype], 0), total)
        with f.loop(shape[axis]) as j:
            position = f.add(base, f.mul(j, strides[axis]))
            x, old_total = load(f, address(f, inputs[0], position), dtype, 1), f.load(ELEMENT[dtype], total)
            new_total = f.fadd(old_total, x) if node.types[0].is_float else f.add(old_total, x)
            f.store(new_total, total)
            store(f, new_total, address(f, outputs[0], position), dtype, 1)


def _reduce(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    """A sum or a maximum over any axes; vectors run along the last axis if it is not reduced."""
    f, shape, dtype = t.f, node.inputs[0].shape, node.inputs[0].dtype
    strides, reduced_axes = strides_of(shape), node.attributes["axes"]
    kept_axes = [a for a in range(len(shape)) if a not in reduced_axes]
    out = strides_of([shape[a] for a in kept_axes])
    is_vectorized = bool(kept_axes) and kept_axes[-1] == len(shape) - 1
    lanes = t.lanes(dtype) if is_vectorized else 1
    outer_axes = kept_axes[:-1] if is_vectorized else kept_axes
    kind = vector(ELEMENT[dtype], lanes)
    slot = f.alloca(kind)
    with nest(f, [shape[a] for a in outer_axes]) as indices:
        base = dot(f, indices, [strides[a] for a in outer_axes])
        target_start = dot(f, indices, out[: len(outer_axes)])

        def reduce_vector(column: Reg, count: int) -> None:
            f.store(identity(f, node, kind), slot, 64)
            with nest(f, [shape[a] for a in reduced_axes]) as inner:
                position = f.add(f.add(base, dot(f, inner, [strides[a] for a in reduced_axes])), column)
                value = load(f, address(f, inputs[0], position), dtype, lanes)
                f.store(combine(f, node, f.load(kind, slot, 64), value), slot, 64)
            store(
                f, f.load(kind, slot, 64), address(f, outputs[0], f.add(target_start, column)), dtype, count
            )

        full, rest = divmod(shape[kept_axes[-1]], lanes) if is_vectorized else (1, 0)
        if full:
            with f.loop(full * lanes, step=lanes) as column:
                reduce_vector(column, lanes)
        if rest:
            reduce_vector(Reg(str(full * lanes), "i64"), rest)


def _threefry(f: Function, key: tuple[Reg, Reg], counter: tuple[Reg, Reg]) -> tuple[Reg, Reg]:
    """Threefry-2x32-20 on registers of any width; see ``ops.random``."""
    keys = (key[0], key[1], f.xor(f.xor(key[0], key[1]), PARITY))
    a, b = f.add(counter[0], keys[0]), f.add(counter[1], keys[1])
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            a = f.add(a, b)
            b = f.or_(f.shl(b, rotation), f.lshr(b, 32 - rotation))
            b = f.xor(b, a)
        a = f.add(a, keys[(group + 1) % 3])
        b = f.add(f.add(b, keys[(group + 2) % 3]), group + 1)
    return a, b


def _random_bits(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    f, (seed, step, rows), (out,) = t.f, inputs, outputs
    elements = math.prod(node.attributes["shape"])
    half, lanes = -(-elements // 2), t.lanes("uint32")
    seeds = (load(f, address(f, seed), "uint32", 1), load(f, address(f, seed, 1), "uint32", 1))
    key = _threefry(
        f, seeds, (f.number("i32", node.attributes["stream"]), load(f, address(f, step), "uint32", 1))
    )
    keys = (f.splat(key[0], lanes), f.splat(key[1], lanes))
    with f.loop(rows.type.size) as row:
        number = f.splat(load(f, address(f, rows, row), "uint32", 1), lanes)
        start = f.mul(row, elements)

        def fill_vectors(column: Reg, first: int, second: int) -> None:
            """Store ``first`` words of the first half from ``column`` on, and ``second`` words of the second half."""
            count = f.add(f.splat(f.cast("trunc", column, "i32"), lanes), f.iota("i32", lanes))
            a, b = _threefry(f, keys, (number, count))
            store(f, a, address(f, out, f.add(start, column)), "uint32", first)
            if second > 0:
                second_start = f.add(f.add(start, column), half)
                store(f, b, address(f, out, second_start), "uint32", second)

        # The second half has one word less if the number of elements is odd.
        full = (elements - half) // lanes
        if full:
            with f.loop(full * lanes, step=lanes) as column:
                fill_vectors(column, lanes, lanes)
        for column_number in range(full * lanes, half, lanes):
            fill_vectors(
                Reg(str(column_number), "i64"),
                min(half - column_number, lanes),
                min(elements - half - column_number, lanes),
            )


SINGLE_OPS: dict[str, Emit] = {
    **MOVES,
    "gather_rows": _gather_rows,
    "scatter_add_rows": _scatter_add_rows,
    "one_hot": _one_hot,
    "argmax": _argmax,
    "top_k": _top_k,
    "cumsum": _cumsum,
    "sum": _reduce,
    "max": _reduce,
    "random_bits": _random_bits,
}
