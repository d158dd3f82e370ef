"""Kernels of one op with a loop nest of its own: gathers, selections, sums over any axes, random numbers; moves."""

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
    """The row that an index names, clipped into the table, as i64."""
    raw = load(f, address(f, index, position), "int32", 1)
    raw = f.select(f.compare("slt", raw, 0), f.number("i32", 0), raw)
    raw = f.select(f.compare("sgt", raw, rows - 1), f.number("i32", rows - 1), raw)
    return f.cast("zext", raw, "i64")


def _gather_rows(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    f, (table, index) = t.f, inputs
    rows, *row_shape = node.inputs[0].type.shape  # the buffer may have another shape: reshapes share memory
    size = math.prod(row_shape)
    with f.loop(index.type.size) as i:
        row = _clipped(f, index, i, rows)
        there, here = address(f, outputs[0], f.mul(i, size)), address(f, table, f.mul(row, size))
        f.copy(there, here, size * SIZE[table.type.dtype])


def _scatter_add_rows(
    t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]
) -> None:
    f, (index, values), (out,) = t.f, inputs, outputs
    size, dtype = math.prod(out.type.shape[1:]), out.type.dtype
    lanes = t.lanes(dtype)
    full, rest = divmod(size, lanes)
    f.clear(address(f, out), out.size)
    with f.loop(index.type.size) as i:
        row = f.mul(_clipped(f, index, i, out.type.shape[0]), size)
        given = f.mul(i, size)

        def piece(column: Reg, count: int) -> None:
            where = address(f, out, f.add(row, column))
            more = load(f, address(f, values, f.add(given, column)), dtype, lanes)
            before = load(f, where, dtype, lanes)
            total = f.fadd(before, more) if out.type.is_float else f.add(before, more)
            store(f, total, where, dtype, count)

        if full:
            with f.loop(full * lanes, step=lanes) as column:
                piece(column, lanes)
        if rest:
            piece(Reg(str(full * lanes), "i64"), rest)


def _one_hot(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    f, classes, dtype = t.f, node.attributes["classes"], node.types[0].dtype
    with nest(f, [inputs[0].type.size, classes]) as (i, j):
        index = load(f, address(f, inputs[0], i), "int32", 1)
        same = f.compare("eq", index, f.cast("trunc", j, "i32"))
        place = f.add(f.mul(i, classes), j)
        store(f, convert(f, same, "bool", dtype), address(f, outputs[0], place), dtype, 1)


def _beats(f: Function, a: Reg, b: Reg, dtype: DType) -> Reg:
    """Whether ``a`` counts as larger than ``b``: NaN is larger than every number."""
    if dtype in ("int32", "uint32"):
        return f.compare("sgt" if dtype == "int32" else "ugt", a, b)
    nan = f.and_(f.compare("uno", a, a), f.compare("ord", b, b))
    return f.or_(f.compare("ogt", a, b), nan)


def _argmax(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    f, axis, shape = t.f, node.attributes["axis"], node.inputs[0].shape
    dtype, strides = node.inputs[0].dtype, strides_of(shape)
    rest = [a for a in range(len(shape)) if a != axis]
    out = strides_of([shape[a] for a in rest])
    best, place = f.alloca(ELEMENT[dtype]), f.alloca("i32")
    with nest(f, [shape[a] for a in rest]) as indices:
        base = dot(f, indices, [strides[a] for a in rest])
        f.store(load(f, address(f, inputs[0], base), dtype, 1), best)
        f.store(f.number("i32", 0), place)
        with f.loop(shape[axis]) as j:
            here = f.add(base, f.mul(j, strides[axis]))
            x, old = load(f, address(f, inputs[0], here), dtype, 1), f.load(ELEMENT[dtype], best)
            wins = _beats(f, x, old, dtype)
            f.store(f.select(wins, x, old), best)
            f.store(f.select(wins, f.cast("trunc", j, "i32"), f.load("i32", place)), place)
        store(f, f.load("i32", place), address(f, outputs[0], dot(f, indices, out)), "int32", 1)


def _top_k(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    """k passes; each takes the largest element that comes after the last one taken. NaN is larger than numbers."""
    f, k, shape, dtype = t.f, node.attributes["k"], node.inputs[0].shape, node.inputs[0].dtype
    columns, kind = shape[-1], ELEMENT[node.inputs[0].dtype]
    best, place = f.alloca(kind), f.alloca("i32")
    last, last_place = f.alloca(kind), f.alloca("i32")

    def larger(a: Reg, b: Reg) -> Reg:
        return f.and_(f.compare("ord", b, b), f.compare("ugt", a, b))

    with f.loop(math.prod(shape[:-1])) as row:
        f.store(f.number(kind, math.nan), last)
        f.store(f.number("i32", -1), last_place)
        with f.loop(k) as turn:
            f.store(f.number(kind, 0.0), best)
            f.store(f.number("i32", -1), place)  # none yet
            with f.loop(columns) as j:
                x = load(f, address(f, inputs[0], f.add(f.mul(row, columns), j)), dtype, 1)
                number, limit = f.cast("trunc", j, "i32"), f.load(kind, last)
                smaller = larger(limit, x)
                tied = f.xor(f.or_(smaller, larger(x, limit)), 1)
                later = f.and_(tied, f.compare("sgt", number, f.load("i32", last_place)))
                old, old_place = f.load(kind, best), f.load("i32", place)
                wins = f.and_(f.or_(smaller, later), f.or_(larger(x, old), f.compare("slt", old_place, 0)))
                f.store(f.select(wins, x, old), best)
                f.store(f.select(wins, number, old_place), place)
            where = f.add(f.mul(row, k), turn)
            store(f, f.load(kind, best), address(f, outputs[0], where), dtype, 1)
            store(f, f.load("i32", place), address(f, outputs[1], where), "int32", 1)
            f.store(f.load(kind, best), last)
            f.store(f.load("i32", place), last_place)


# --- sums and random numbers -----------------------------------------------------------------------------


def _cumsum(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    f, axis, shape, dtype = t.f, node.attributes["axis"], node.inputs[0].shape, node.inputs[0].dtype
    strides = strides_of(shape)
    rest = [a for a in range(len(shape)) if a != axis]
    total = f.alloca(ELEMENT[dtype])
    with nest(f, [shape[a] for a in rest]) as indices:
        base = dot(f, indices, [strides[a] for a in rest])
        f.store(f.number(ELEMENT[dtype], 0), total)
        with f.loop(shape[axis]) as j:
            here = f.add(base, f.mul(j, strides[axis]))
            x, before = load(f, address(f, inputs[0], here), dtype, 1), f.load(ELEMENT[dtype], total)
            after = f.fadd(before, x) if node.types[0].is_float else f.add(before, x)
            f.store(after, total)
            store(f, after, address(f, outputs[0], here), dtype, 1)


def _reduce(t: EmitContext, node: Node, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
    """A sum or a maximum over any axes: vectors along the last axis where it stays."""
    f, shape, dtype = t.f, node.inputs[0].shape, node.inputs[0].dtype
    strides, gone = strides_of(shape), node.attributes["axes"]
    kept = [a for a in range(len(shape)) if a not in gone]
    out = strides_of([shape[a] for a in kept])
    wide = bool(kept) and kept[-1] == len(shape) - 1
    lanes = t.lanes(dtype) if wide else 1
    outer = kept[:-1] if wide else kept
    kind = vector(ELEMENT[dtype], lanes)
    slot = f.alloca(kind)
    with nest(f, [shape[a] for a in outer]) as indices:
        base = dot(f, indices, [strides[a] for a in outer])
        there = dot(f, indices, out[: len(outer)])

        def piece(column: Reg, count: int) -> None:
            f.store(identity(f, node, kind), slot, 64)
            with nest(f, [shape[a] for a in gone]) as inner:
                here = f.add(f.add(base, dot(f, inner, [strides[a] for a in gone])), column)
                given = load(f, address(f, inputs[0], here), dtype, lanes)
                f.store(combine(f, node, f.load(kind, slot, 64), given), slot, 64)
            store(f, f.load(kind, slot, 64), address(f, outputs[0], f.add(there, column)), dtype, count)

        full, rest = divmod(shape[kept[-1]], lanes) if wide else (1, 0)
        if full:
            with f.loop(full * lanes, step=lanes) as column:
                piece(column, lanes)
        if rest:
            piece(Reg(str(full * lanes), "i64"), rest)


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

        def piece(column: Reg, first: int, second: int) -> None:
            count = f.add(f.splat(f.cast("trunc", column, "i32"), lanes), f.iota("i32", lanes))
            a, b = _threefry(f, keys, (number, count))
            store(f, a, address(f, out, f.add(start, column)), "uint32", first)
            if second > 0:
                there = f.add(f.add(start, column), half)
                store(f, b, address(f, out, there), "uint32", second)

        # The second half has one word less where the number of elements is odd.
        full = (elements - half) // lanes
        if full:
            with f.loop(full * lanes, step=lanes) as column:
                piece(column, lanes, lanes)
        for done in range(full * lanes, half, lanes):
            piece(Reg(str(done), "i64"), min(half - done, lanes), min(elements - half - done, lanes))


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
