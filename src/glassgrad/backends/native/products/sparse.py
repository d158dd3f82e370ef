"""Products whose operand A is mostly one number, its background: for example black pixels, or one-hot classes.

A is background + difference. So A @ B is a base row, the same for all rows of C (the background times the sums of B's
columns), plus difference @ B, for which only elements of A other than the background count. Before the product, a bit
for each row of tiles and each k is set if any element of A there differs. A tile then visits only these k.

Low tiles skip most. 19 % of the pixels of MNIST's images are not black. A row of tiles then visits 39 % of all k if
it is 4 rows high, and 46 % if it is 8; in the product for the gradient, whose rows are pixels, 22 % if it is 2.

With a background of zero only products with zero are skipped: the sums are the same where B is finite. In the product
for a gradient B may be the first to become Inf or NaN; the base row then carries it into C.
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
SUMS = 2  # independent partial sums of a column


def emit_bits(
    f: Function, plan: ProductPlan, operands: Operands, first: Reg | int, last: Reg | int, start: int
) -> None:
    """Emit the computation of the bits: the units of packing from ``start`` on that lie in ``first`` .. ``last``."""
    bits = f.at(operands.scratch, "i8", plan.bits_start)
    with section(f, first, last, start, start + plan.bit_units) as unit:
        if plan.product.a_transposed:
            _strip_bits(f, plan, operands, bits, unit)
        else:
            _row_bits(f, plan, operands, bits, unit)


def _row_bits(f: Function, plan: ProductPlan, operands: Operands, bits: Reg, group: Reg) -> None:
    """The bits of one row of tiles, if the rows of A are stored as rows."""
    product, element = plan.product, plan.product.element
    first = f.mul(group, plan.rows)
    target = f.at(bits, "i64", f.mul(group, plan.words))

    def emit(rows: int) -> None:
        if operands.row_addresses is None:
            starts = [f.at(operands.a, element, f.mul(f.add(first, i), product.k)) for i in range(rows)]
        else:
            starts = [_entry(f, operands.row_addresses, f.add(first, i)) for i in range(rows)]

        def store_word(w: Reg, columns: int) -> None:
            row_parts = [f.at(start, element, f.mul(w, WORD)) for start in starts]
            word = f.number("i64", 0)
            for offset, lanes in _parts(columns, plan.lanes):
                differs = _differs(f, operands, f.at(row_parts[0], element, offset), element, lanes)
                for row_part in row_parts[1:]:
                    differs = f.or_(
                        differs, _differs(f, operands, f.at(row_part, element, offset), element, lanes)
                    )
                word = f.or_(word, f.shl(_mask(f, differs), offset))
            f.store(word, f.at(target, "i64", w), 8)

        _each_word(f, product.k, store_word)

    _each_or_last(f, group, product.m, plan.rows, emit)


def _strip_bits(f: Function, plan: ProductPlan, operands: Operands, bits: Reg, unit: Reg) -> None:
    """The bits of several rows of tiles (a strip). A is stored (k, m), and a vector holds one k of the whole strip.

    The first pass computes a short word for each k, with a bit for each element. The second pass extracts from these
    the words of each row of tiles.
    """
    product, element, strip = plan.product, plan.product.element, plan.strip
    short = f"i{strip}"
    column_bits = f.alloca(short, WORD)
    words_per_vector = plan.lanes * BYTES[element] * 8 // strip  # short words per vector
    kind = vector(short, words_per_vector)
    target = f.at(bits, "i64", f.mul(unit, strip // plan.rows * plan.words))

    def emit(valid: int) -> None:
        def store_words(w: Reg, count: int) -> None:
            if count < WORD:
                f.clear(column_bits, WORD * strip // 8)
            with f.loop(count) as i:
                p = f.add(f.mul(w, WORD), i)
                row = (
                    f.at(operands.a, element, f.mul(p, product.m))
                    if operands.row_addresses is None
                    else _entry(f, operands.row_addresses, p)
                )
                strip_start, word = f.at(row, element, f.mul(unit, strip)), f.number(short, 0)
                for offset, lanes in _parts(valid, plan.lanes):
                    flags = _mask(
                        f, _differs(f, operands, f.at(strip_start, element, offset), element, lanes), short
                    )
                    word = f.or_(word, f.shl(flags, offset))
                f.store(word, f.at(column_bits, short, i), 1)
            vectors = [
                f.load(kind, f.at(column_bits, short, i), plan.lanes * BYTES[element])
                for i in range(0, WORD, words_per_vector)
            ]
            for group in range(strip // plan.rows):
                group_mask = (1 << plan.rows) - 1 << group * plan.rows
                word = f.number("i64", 0)
                for n, value in enumerate(vectors):
                    differs = f.compare("ne", f.and_(value, group_mask), 0)
                    word = f.or_(word, f.shl(_mask(f, differs), n * words_per_vector))
                f.store(word, f.at(target, "i64", f.add(w, group * plan.words)), 8)

        _each_word(f, product.k, store_words)

    _each_or_last(f, unit, product.m, strip, emit)


def _entry(f: Function, table: Reg, index: Reg) -> Reg:
    return f.load("ptr", f.at(table, "ptr", index), 8)


def _each_word(f: Function, k: int, emit: Callable[[Reg, int], None]) -> None:
    """Call ``emit(index, bits)`` for the full words of ``k`` bits (in a loop), and for a last word of fewer bits."""
    full, rest = divmod(k, WORD)
    if full:
        with f.loop(full) as w:
            emit(w, WORD)
    if rest:
        emit(f.number("i64", full), rest)


def _each_or_last(f: Function, index: Reg, total: int, size: int, emit: Callable[[int], None]) -> None:
    """Call ``emit(size)`` for whole pieces of ``total``, and ``emit`` with the rest for a smaller last piece."""
    full, rest = divmod(total, size)
    if full:
        with f.when(f.compare("ult", index, full)) if rest else nullcontext():
            emit(size)
    if rest:
        with f.when(f.compare("eq", index, full)) if full else nullcontext():
            emit(rest)


def _parts(count: int, lanes: int) -> Iterator[tuple[int, int]]:
    """Split ``count`` elements into vectors (offset, lanes); the last ones are shorter, to read nothing beyond."""
    offset = 0
    while offset < count:
        while lanes > count - offset:
            lanes //= 2
        yield offset, lanes
        offset += lanes


def _differs(f: Function, operands: Operands, address: Reg, element: str, lanes: int) -> Reg:
    """Whether elements of A differ from the background, per lane; true for NaN."""
    values = f.load(vector(element, lanes), address)
    return f.compare(
        "une", values, 0.0 if operands.background is None else f.splat(operands.background, lanes)
    )


def _mask(f: Function, flags: Reg, kind: str = "i64") -> Reg:
    """Flags (i1 per lane) as the lowest bits of an integer."""
    if flags.lanes == 1:
        return f.cast("zext", flags, kind)
    bits = f.emit(f"i{flags.lanes}", f"bitcast {flags.type} {flags.text} to i{flags.lanes}")
    return bits if bits.type == kind else f.cast("zext", bits, kind)


def emit_base(
    f: Function, plan: ProductPlan, operands: Operands, first: Reg | int, last: Reg | int, start: int
) -> None:
    """Emit the base row, the background times the sums of B's columns: the units of packing from ``start`` on."""
    assert operands.background is not None
    product, element = plan.product, plan.product.element
    base, kind = f.at(operands.scratch, "i8", plan.base_start), vector(element, plan.lanes)
    rounds, rest = divmod(product.k, SUMS)
    last_vector = f.number("i64", (product.n - 1) // plan.lanes * plan.lanes)
    with section(f, first, last, start, start + plan.base_units) as unit:
        # Vectors beyond the last one are replaced by it: it is then summed again.
        columns = [
            f.intrinsic("umin", f.add(f.mul(unit, SIDE * plan.lanes), i * plan.lanes), last_vector)
            for i in range(SIDE)
        ]
        starts = [operands.column(f, plan, column)[0] for column in columns]
        _, step = operands.column(f, plan, columns[0])

        def add(sums: list[Reg], p: Reg, count: int) -> None:
            for i in range(count):
                row = f.mul(f.add(p, i), step)
                for j, column_start in enumerate(starts, start=i * SIDE):
                    sums[j] = f.fadd(sums[j], f.load(kind, f.at(column_start, element, row)))

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
    """Prefetch a piece of the next batch. The operands of a gradient's product are in the cache: memory is idle."""
    product = plan.product
    lines = ceil(product.m * BYTES[product.element], LINE)  # cache lines per row of the batch
    tiles = plan.tall * plan.columns
    lines_per_piece = next(
        n for n in range(1, lines + 1) if product.k * ceil(lines, n) <= tiles or n == lines
    )
    pieces_per_row = ceil(lines, lines_per_piece)
    tile = f.add(f.mul(f.binary("udiv", row, plan.rows), plan.columns), f.binary("udiv", column, plan.width))
    batch_row = f.intrinsic("umin", f.binary("udiv", tile, pieces_per_row), f.number("i64", product.k - 1))
    start = f.at(
        _entry(f, table, f.add(batch_row, product.k)),
        "i8",
        f.mul(f.binary("urem", tile, pieces_per_row), lines_per_piece * LINE),
    )
    f.declared.add("declare void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)")
    for i in range(lines_per_piece):
        f.raw(f"call void @llvm.prefetch.p0(ptr {f.at(start, 'i8', i * LINE).text}, i32 0, i32 2, i32 1)")


def emit_sums(
    f: Function,
    plan: ProductPlan,
    row: Reg,
    begin: list[Reg],
    add_term: AddTerm,
    bits: Reg,
) -> list[Reg]:
    """The sums of a tile: ``begin`` plus ``add_term`` for each k at which A differs from its background."""
    tile_bits = f.at(bits, "i64", f.mul(f.binary("udiv", row, plan.rows), plan.words))
    with f.loop_with(begin, plan.words) as (w, sums):
        word = f.load("i64", f.at(tile_bits, "i64", w), 8)
        with f.each_bit(word, sums) as (bit, inner):
            inner[:] = add_term(f.add(f.mul(w, WORD), bit), 0, inner)
        sums[:] = inner
    return sums
