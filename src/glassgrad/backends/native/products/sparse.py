"""Products with an A that is mostly one number, its background: pixels that are black, classes that a row is not of.

A is background + the rest, so A @ B is a row that all rows of C begin with (the background times the sums of B's
columns), and the rest @ B, in which only what differs from the background counts. Before the product, a bit for each
row of tiles and each k tells whether any element of A there differs; a tile goes from one such k to the next. Low
tiles pass over most: of MNIST's images, 19 % of whose pixels are not black, a row of tiles needs 39 % of all k where
it is 4 rows high, 46 % where it is 8; in the product for the gradient, whose rows are pixels, 22 % where it is 2.

With a background of zero, what is passed over are products with zero: the sums are the same where B is finite. In the
product for a gradient, where B is the first to become Inf or NaN, the row that C begins with says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg, vector
from glassgrad.backends.native.plan.tiling import BYTES, SIDE, WORD, ProductPlan, ceil
from glassgrad.backends.native.products.operands import AddTerm, Operands
from glassgrad.backends.native.products.packing import section

LINE = 64  # bytes
SUMS = 2  # sums of a column that do not wait for one another


def emit_bits(
    f: Function, plan: ProductPlan, operands: Operands, first: Reg | int, last: Reg | int, start: int
) -> None:
    """The pieces ``first`` .. ``last`` of the packing, of which those from ``start`` on are the bits."""
    bits = f.at(operands.scratch, "i8", plan.bits_start)
    with section(f, first, last, start, start + plan.bit_units) as unit:
        if plan.product.a_transposed:
            _strip_bits(f, plan, operands, bits, unit)
        else:
            _row_bits(f, plan, operands, bits, unit)


def _row_bits(f: Function, plan: ProductPlan, operands: Operands, bits: Reg, group: Reg) -> None:
    """The bits of one row of tiles, whose rows of A are contiguous."""
    product, element = plan.product, plan.product.element
    first = f.mul(group, plan.rows)
    target = f.at(bits, "i64", f.mul(group, plan.words))

    def emit(rows: int) -> None:
        if operands.row_addresses is None:
            starts = [f.at(operands.a, element, f.mul(f.add(first, i), product.k)) for i in range(rows)]
        else:
            starts = [_entry(f, operands.row_addresses, f.add(first, i)) for i in range(rows)]

        def store_word(w: Reg, columns: int) -> None:
            here = [f.at(start, element, f.mul(w, WORD)) for start in starts]
            total = f.number("i64", 0)
            for offset, lanes in _parts(columns, plan.lanes):
                differs = _differs(f, operands, f.at(here[0], element, offset), element, lanes)
                for other in here[1:]:
                    differs = f.or_(
                        differs, _differs(f, operands, f.at(other, element, offset), element, lanes)
                    )
                total = f.or_(total, f.shl(_mask(f, differs), offset))
            f.store(total, f.at(target, "i64", w), 8)

        _each_word(f, product.k, store_word)

    _each_or_last(f, group, product.m, plan.rows, emit)


def _strip_bits(f: Function, plan: ProductPlan, operands: Operands, bits: Reg, unit: Reg) -> None:
    """The bits of several rows of tiles: A is stored (k, m), and vectors hold one k of all of them.

    First a short word for each k, a bit for each element; then for each row of tiles the words in which its bits are.
    """
    product, element, wide = plan.product, plan.product.element, plan.strip
    short = f"i{wide}"
    column_bits = f.alloca(short, WORD)
    each = plan.lanes * BYTES[element] * 8 // wide  # short words to a vector
    kind = vector(short, each)
    target = f.at(bits, "i64", f.mul(unit, wide // plan.rows * plan.words))

    def emit(exist: int) -> None:
        def store_words(w: Reg, count: int) -> None:
            if count < WORD:
                f.clear(column_bits, WORD * wide // 8)
            with f.loop(count) as i:
                p = f.add(f.mul(w, WORD), i)
                row = (
                    f.at(operands.a, element, f.mul(p, product.m))
                    if operands.row_addresses is None
                    else _entry(f, operands.row_addresses, p)
                )
                here, total = f.at(row, element, f.mul(unit, wide)), f.number(short, 0)
                for offset, lanes in _parts(exist, plan.lanes):
                    flags = _mask(
                        f, _differs(f, operands, f.at(here, element, offset), element, lanes), short
                    )
                    total = f.or_(total, f.shl(flags, offset))
                f.store(total, f.at(column_bits, short, i), 1)
            vectors = [
                f.load(kind, f.at(column_bits, short, i), plan.lanes * BYTES[element])
                for i in range(0, WORD, each)
            ]
            for group in range(wide // plan.rows):
                mine = (1 << plan.rows) - 1 << group * plan.rows
                total = f.number("i64", 0)
                for n, value in enumerate(vectors):
                    there = f.compare("ne", f.and_(value, mine), 0)
                    total = f.or_(total, f.shl(_mask(f, there), n * each))
                f.store(total, f.at(target, "i64", f.add(w, group * plan.words)), 8)

        _each_word(f, product.k, store_words)

    _each_or_last(f, unit, product.m, wide, emit)


def _entry(f: Function, table: Reg, index: Reg) -> Reg:
    return f.load("ptr", f.at(table, "ptr", index), 8)


def _each_word(f: Function, k: int, emit: Callable[[Reg, int], None]) -> None:
    """``emit`` for every word of bits, and how many of them there are."""
    full, left = divmod(k, WORD)
    if full:
        with f.loop(full) as w:
            emit(w, WORD)
    if left:
        emit(f.number("i64", full), left)


def _each_or_last(f: Function, index: Reg, total: int, size: int, emit: Callable[[int], None]) -> None:
    """``emit`` for a piece of ``size``, and for a smaller one if the last of ``total`` is."""
    full, rest = divmod(total, size)
    if full:
        with f.when(f.compare("ult", index, full)) if rest else nullcontext():
            emit(size)
    if rest:
        with f.when(f.compare("eq", index, full)) if full else nullcontext():
            emit(rest)


def _parts(count: int, lanes: int) -> Iterator[tuple[int, int]]:
    """``count`` as offsets and lanes of vectors, the last ones shorter: nothing behind them is read."""
    offset = 0
    while offset < count:
        while lanes > count - offset:
            lanes //= 2
        yield offset, lanes
        offset += lanes


def _differs(f: Function, operands: Operands, address: Reg, element: str, lanes: int) -> Reg:
    """Whether elements of A differ from the background; NaN does."""
    values = f.load(vector(element, lanes), address)
    return f.compare(
        "une", values, 0.0 if operands.background is None else f.splat(operands.background, lanes)
    )


def _mask(f: Function, flags: Reg, kind: str = "i64") -> Reg:
    """Flags as the lowest bits of a number."""
    if flags.lanes == 1:
        return f.cast("zext", flags, kind)
    bits = f.emit(f"i{flags.lanes}", f"bitcast {flags.type} {flags.text} to i{flags.lanes}")
    return bits if bits.type == kind else f.cast("zext", bits, kind)


def emit_base(
    f: Function, plan: ProductPlan, operands: Operands, first: Reg | int, last: Reg | int, start: int
) -> None:
    """The pieces from ``start`` on: the row that C begins with, the background times the sums of B's columns."""
    assert operands.background is not None
    product, element = plan.product, plan.product.element
    base, kind = f.at(operands.scratch, "i8", plan.base_start), vector(element, plan.lanes)
    rounds, rest = divmod(product.k, SUMS)
    final = f.number("i64", (product.n - 1) // plan.lanes * plan.lanes)
    with section(f, first, last, start, start + plan.base_units) as unit:
        # Behind the last vector there is none: that one is then summed again.
        columns = [
            f.intrinsic("umin", f.add(f.mul(unit, SIDE * plan.lanes), i * plan.lanes), final)
            for i in range(SIDE)
        ]
        starts = [operands.column(f, plan, column)[0] for column in columns]
        _, step = operands.column(f, plan, columns[0])

        def add(sums: list[Reg], p: Reg, count: int) -> None:
            for i in range(count):
                row = f.mul(f.add(p, i), step)
                for j, here in enumerate(starts, start=i * SIDE):
                    sums[j] = f.fadd(sums[j], f.load(kind, f.at(here, element, row)))

        sums = [f.number(kind, 0)] * (SUMS * SIDE)
        if rounds:
            with f.loop_with(sums, rounds * SUMS, 0, SUMS) as (p, sums):
                add(sums, p, SUMS)
        add(sums, f.number("i64", rounds * SUMS), rest)
        for j, column in enumerate(columns):
            low, high = sums[j::SIDE]
            total = f.fmul(f.fadd(low, high), f.splat(operands.background, plan.lanes))
            f.store(total, f.at(base, element, column))


def emit_fetch(f: Function, plan: ProductPlan, table: Reg, row: Reg, column: Reg) -> None:
    """Ask memory for a piece of the next batch: what a product for a gradient reads is at hand, so there is time."""
    product = plan.product
    lines = ceil(product.m * BYTES[product.element], LINE)  # of a row of the batch
    tiles = plan.tall * plan.columns
    each = next(n for n in range(1, lines + 1) if product.k * ceil(lines, n) <= tiles or n == lines)
    pieces = ceil(lines, each)
    tile = f.add(f.mul(f.binary("udiv", row, plan.rows), plan.columns), f.binary("udiv", column, plan.width))
    which = f.intrinsic("umin", f.binary("udiv", tile, pieces), f.number("i64", product.k - 1))
    start = f.at(
        _entry(f, table, f.add(which, product.k)), "i8", f.mul(f.binary("urem", tile, pieces), each * LINE)
    )
    f.declared.add("declare void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)")
    for i in range(each):
        f.raw(f"call void @llvm.prefetch.p0(ptr {f.at(start, 'i8', i * LINE).text}, i32 0, i32 2, i32 1)")


def emit_sums(
    f: Function,
    plan: ProductPlan,
    row: Reg,
    begin: list[Reg],
    add_term: AddTerm,
    bits: Reg,
) -> list[Reg]:
    """The sums of a tile: ``add_term`` for each k at which A differs from its background, from ``begin`` on."""
    mine = f.at(bits, "i64", f.mul(f.binary("udiv", row, plan.rows), plan.words))
    with f.loop_with(begin, plan.words) as (w, sums):
        word = f.load("i64", f.at(mine, "i64", w), 8)
        with f.each_bit(word, sums) as (bit, inner):
            inner[:] = add_term(f.add(f.mul(w, WORD), bit), 0, inner)
        sums[:] = inner
    return sums
