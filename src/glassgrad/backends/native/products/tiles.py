"""Matrix products: C = A @ B in register tiles, with the caller's epilogue on every finished tile.

A tile is a few rows x a few vectors of C. It stays in registers while the loop over k adds (one element of A in every
lane) x (a vector of B). The measurements (``benchmarks/products.py``) are from one core with 32 registers of 16
floats, 48 KiB + 1 MiB of cache, and a peak of 235 GFLOP/s for multiply-adds alone. Sizes are m x k x n:

- 8 rows x 2 vectors keep the multipliers busy (97 % at 32 x 64 x 32 and 64 x 784 x 128), divide the usual sizes, so
  that one body of code suffices, and compile in half the time of larger tiles. 12 or 14 rows are not faster, and much
  slower if rows of A lie 4096 bytes apart (they compete for the same few cache lines). 4 x 4 reads B too often.
- Copying B or A into panels costs 3-5 % of a large product. It pays if rows lie a multiple of 4096 bytes apart, or B
  is larger than the second cache (512 x 1024 x 1024: from 125 to 185 GFLOP/s, the peak at that moment).
- A transposed B is always packed by shuffles: 12 % of the time at 32 x 64 x 64, 3 % at 512 x 1024 x 1024.
- Blocking over k, with partial sums in memory, was not faster than panels that are read sequentially.
- The sum of an element runs over k in order; in a tile with few sums, over several interleaved subsets of k.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg, vector
from glassgrad.backends.native.plan.tiling import ProductPlan, ceil
from glassgrad.backends.native.products import sparse
from glassgrad.backends.native.products.operands import AddTerm, Operands
from glassgrad.backends.native.products.packing import (
    PanelShape,
    StripShape,
    copy_panel,
    section,
    transpose_strip,
)
from glassgrad.ops.op import ZERO

BUSY = 8  # independent sums that keep two multiply-add units with a latency of four cycles busy

Vectors = list[tuple[int, int, int]]  # (offset from the tile's first column, lanes, valid lanes)


@dataclass
class Tile:
    """A finished tile of C: ``values[i][j]`` belongs to row ``row + i`` and to ``vectors[j]``.

    ``vectors`` are (offset from ``column``, lanes, mask). Lanes outside of a mask are undefined and must be neither
    stored nor summed.
    """

    row: Reg
    rows: int
    column: Reg
    vectors: list[tuple[int, int, Reg | None]]
    values: list[list[Reg]]


def emit_pack(
    f: Function, plan: ProductPlan, operands: Operands, *, first: Reg | int = 0, last: Reg | int | None = None
) -> None:
    """Emit inline code for the units ``first`` .. ``last`` (exclusive; all by default) of ``plan.pack_units``.

    All of them must be finished before a unit of the product starts. Emits nothing if the plan packs nothing.
    """
    product, lanes, k = plan.product, plan.lanes, plan.product.k
    a, b, scratch, element = operands.a, operands.b, operands.scratch, product.element
    last = plan.pack_units if last is None else last
    if plan.pack_b and product.b_transposed:
        piece = vector(element, plan.piece)

        def strip(v: Reg, valid: int) -> None:
            panel, vector_in_panel = f.binary("udiv", v, plan.vectors), f.binary("urem", v, plan.vectors)
            offset = f.add(f.mul(panel, plan.depth * plan.width), f.mul(vector_in_panel, lanes))
            target = f.at(scratch, element, offset)
            shape = StripShape(k, lanes, valid, plan.width)
            transpose_strip(f, piece, b, target, f.mul(v, lanes), shape)

        full, rest = divmod(product.n, lanes)
        if full:
            with section(f, first, last, 0, full) as v:
                strip(v, lanes)
        if rest:
            with section(f, first, last, full, full + 1):
                strip(f.number("i64", full), rest)
    elif plan.pack_b:
        kind = vector(element, lanes)
        with section(f, first, last, 0, plan.columns) as j:
            copy_panel(f, kind, b, scratch, j, PanelShape(k, product.n, plan.width, plan.width))
    if plan.pack_a:
        kind = vector(element, min(lanes, plan.a_step))
        target = f.at(scratch, element, plan.b_size)
        with section(f, first, last, plan.b_pack_units, plan.pack_units) as i:
            copy_panel(f, kind, a, target, i, PanelShape(k, product.m, plan.rows, plan.a_step))
    if plan.is_sparse:
        start = plan.b_pack_units
        sparse.emit_bits(f, plan, operands, first, last, start)
        if operands.background is not None:
            sparse.emit_base(f, plan, operands, first, last, start + plan.bit_units)


def emit_product(
    f: Function,
    plan: ProductPlan,
    operands: Operands,
    finish: Callable[[Tile], None],
    *,
    first: Reg | int = 0,
    last: Reg | int | None = None,
) -> None:
    """Emit inline code for the units ``first`` .. ``last`` (exclusive; all by default).

    ``finish`` emits the epilogue and the stores of a tile. It is called once for each distinct body of code: the
    whole tile, and the remainders if the shapes leave any. The code reads up to 64 bytes past the end of A and B.
    """
    _Units(f, plan, operands, finish).emit(first, plan.units if last is None else last)


class _Units:
    """The code of a product's units."""

    def __init__(
        self, f: Function, plan: ProductPlan, operands: Operands, finish: Callable[[Tile], None]
    ) -> None:
        self.f, self.plan, self.operands, self.finish = f, plan, operands, finish
        self.element = plan.product.element

    def emit(self, first: Reg | int, last: Reg | int) -> None:
        f, plan = self.f, self.plan
        lanes, (full, rest) = plan.lanes, divmod(plan.product.n, plan.width)
        full_tile = [(i * lanes, lanes, lanes) for i in range(plan.vectors)]
        with section(f, first, last, 0, plan.units) as unit:
            # In column order, so that a thread works on the same columns of the weights in every step. In a chain, a
            # unit is a block of rows.
            if plan.blocks:
                block, j = self._divided(unit, plan.row_blocks, plan.columns)
            else:
                j, block = self._divided(unit, plan.columns, plan.row_blocks)
            if full:
                with f.when(f.compare("ult", j, full)) if rest else nullcontext():
                    self._column(block, f.mul(j, plan.width), full_tile)
            if rest:
                last_tile = [item for item in full_tile if item[0] + lanes <= rest]
                valid = rest % lanes
                if valid:
                    last_tile.append((rest - valid, 1 << (valid - 1).bit_length(), valid))
                with f.when(f.compare("eq", j, full)) if full else nullcontext():
                    self._column(block, f.number("i64", full * plan.width), last_tile)

    def _divided(self, unit: Reg, outer: int, inner: int) -> tuple[Reg, Reg]:
        """``unit`` as (index of ``outer`` runs, index of the ``inner`` units of a run)."""
        f, zero = self.f, self.f.number("i64", 0)
        if inner == 1:
            return unit, zero
        return (f.binary("udiv", unit, inner), f.binary("urem", unit, inner)) if outer > 1 else (zero, unit)

    def _column(self, block: Reg, column: Reg, vectors: Vectors) -> None:
        """The tiles of one unit, from top to bottom."""
        f, plan = self.f, self.plan
        full, rest = divmod(plan.product.m, plan.rows)
        if full:
            start = f.mul(block, plan.row_block)
            last_count = full - (plan.row_blocks - 1) * plan.row_block
            count: Reg | int = last_count
            if plan.row_blocks > 1 and last_count != plan.row_block:
                last = f.compare("eq", block, plan.row_blocks - 1)
                count = f.select(last, f.number("i64", last_count), plan.row_block)
            with f.loop(count) as i:
                self._tile(f.mul(f.add(start, i), plan.rows), plan.rows, column, vectors)
        if rest:
            with (
                f.when(f.compare("eq", block, plan.row_blocks - 1)) if plan.row_blocks > 1 else nullcontext()
            ):
                self._tile(f.number("i64", full * plan.rows), rest, column, vectors)

    def _tile(self, row: Reg, rows: int, column: Reg, vectors: Vectors) -> None:
        f = self.f
        if self.operands.row_addresses is not None and self.plan.fetches:
            sparse.emit_fetch(f, self.plan, self.operands.row_addresses, row, column)
        if self.plan.folded:
            values = self._folded(row, rows)
        elif self.plan.upright:
            values = self._upright(row, rows)
        else:
            values = self._sums(row, rows, column, vectors)
        masked_vectors = [
            (offset, lanes, None if valid == lanes else f.lane_mask(lanes, valid))
            for offset, lanes, valid in vectors
        ]
        self.finish(Tile(row, rows, column, masked_vectors, values))

    def _elements(self, row: Reg, rows: int) -> Callable[[Reg, int], list[Reg]]:
        """A function of p and u: the addresses of the elements of A in the rows of a tile, at k = p + u."""
        f, plan, element = self.f, self.plan, self.element
        product = plan.product
        if self.operands.row_addresses is not None and not product.a_transposed:
            starts = [
                f.load("ptr", f.at(f.at(self.operands.row_addresses, "ptr", row), "ptr", i), 8)
                for i in range(rows)
            ]
            return lambda p, u: [f.at(f.at(start, element, p), element, u) for start in starts]
        if self.operands.row_addresses is not None:
            table = self.operands.row_addresses

            def from_table(p: Reg, u: int) -> list[Reg]:
                start = f.at(f.load("ptr", f.at(f.at(table, "ptr", p), "ptr", u), 8), element, row)
                return [f.at(start, element, i) for i in range(rows)]

            return from_table
        if plan.pack_a:
            step, row_step = plan.a_step, 1
            panel = f.mul(f.binary("udiv", row, plan.rows), product.k * step)
            a = f.at(self.operands.scratch, element, f.add(panel, plan.b_size))
        else:
            step, row_step = (product.m, 1) if product.a_transposed else (1, product.k)
            a = f.at(self.operands.a, element, f.mul(row, row_step))
        return lambda p, u: [
            f.at(f.at(f.at(a, element, f.mul(p, step)), element, u * step), element, i * row_step)
            for i in range(rows)
        ]

    def _sums(self, row: Reg, rows: int, column: Reg, vectors: Vectors) -> list[list[Reg]]:
        """The sums over k of (element of A) x (vector of B), for all rows and vectors of a tile."""
        f, plan, element = self.f, self.plan, self.element
        if plan.pack_b:
            b, step = f.at(self.operands.scratch, element, f.mul(column, plan.depth)), plan.width
        else:
            b, step = self.operands.column(f, plan, column)
        elements = self._elements(row, rows)
        kinds = [vector(element, lanes) for _, lanes, _ in vectors]

        def add_term(p: Reg, u: int, sums: list[Reg]) -> list[Reg]:
            b_row = f.at(f.at(b, element, f.mul(p, step)), element, u * step)
            columns = [
                f.load(kind, f.at(b_row, element, offset))
                for kind, (offset, _, _) in zip(kinds, vectors, strict=True)
            ]
            new_sums: list[Reg] = []
            for pointer in elements(p, u):
                scalar = f.load(element, pointer)
                if self.operands.background is not None and plan.product.background != ZERO:
                    scalar = f.fsub(scalar, self.operands.background)
                splats = {lanes: f.splat(scalar, lanes) for lanes in {value.lanes for value in columns}}
                new_sums += [
                    f.muladd(splats[value.lanes], value, total)
                    for value, total in zip(columns, sums[len(new_sums) :], strict=False)
                ]
            return new_sums

        if plan.is_sparse:
            bits = f.at(self.operands.scratch, "i8", plan.bits_start)
            base = f.at(f.at(self.operands.scratch, "i8", plan.base_start), element, column)
            begin = [
                f.load(kind, f.at(base, element, offset)) if plan.has_base else f.number(kind, 0)
                for kind, (offset, _, _) in zip(kinds, vectors, strict=True)
            ]
            sums = sparse.emit_sums(f, plan, row, begin * rows, add_term, bits)
        else:
            sums = self._sum_over(
                plan.product.k, [f.number(kind, 0) for _ in range(rows) for kind in kinds], add_term
            )
        return [sums[i * len(vectors) : (i + 1) * len(vectors)] for i in range(rows)]

    def _folded(self, row: Reg, rows: int) -> list[list[Reg]]:
        """Rows of A times the only column of B, vector by vector along k."""
        f, element, lanes, k = self.f, self.element, self.plan.lanes, self.plan.product.k
        kind = vector(element, lanes)
        a = f.at(self.operands.a, element, f.mul(row, k))

        def add_term(p: Reg, u: int, sums: list[Reg], mask: Reg | None = None) -> list[Reg]:
            a_pointer, b_pointer = (
                f.at(f.at(start, element, f.mul(p, lanes)), element, u * lanes)
                for start in (a, self.operands.b)
            )

            def load(address: Reg) -> Reg:
                value = f.load(kind, address)
                return value if mask is None else f.select(mask, value, 0)  # memory past the end may be NaN

            column = load(b_pointer)
            return [
                f.muladd(load(f.at(a_pointer, element, i * k)), column, total) for i, total in enumerate(sums)
            ]

        full, rest = divmod(k, lanes)
        sums = self._sum_over(full, [f.number(kind, 0)] * rows, add_term)
        if rest:
            sums = add_term(f.number("i64", full), 0, sums, f.lane_mask(lanes, rest))
        return [[f.fold_lanes(total, f.fadd)] for total in sums]

    def _upright(self, row: Reg, rows: int) -> list[list[Reg]]:
        """Columns of A times the only column of B, vector by vector along the rows of C."""
        f, element = self.f, self.element
        lanes = 1 << (rows - 1).bit_length()
        kind = vector(element, lanes)
        a = f.at(self.operands.a, element, row)

        def add_term(p: Reg, u: int, sums: list[Reg]) -> list[Reg]:
            a_pointer, b_pointer = (
                f.at(f.at(start, element, f.mul(p, step)), element, u * step)
                for start, step in ((a, self.plan.product.m), (self.operands.b, 1))
            )
            return [f.muladd(f.splat(f.load(element, b_pointer), lanes), f.load(kind, a_pointer), sums[0])]

        (total,) = self._sum_over(self.plan.product.k, [f.number(kind, 0)], add_term)
        return [[f.shuffle(total, [i]) if lanes > 1 else total] for i in range(rows)]

    def _sum_over(self, iterations: int, zeros: list[Reg], add_term: AddTerm) -> list[Reg]:
        """The sums over all ``iterations`` p + u. A few sums are split into several independent sets."""
        f, count = self.f, len(zeros)
        sets = max(1, min(iterations, ceil(BUSY, count)))

        def add_terms(p: Reg, sums: list[Reg], terms: int) -> None:
            for u in range(terms):
                sums[u * count : (u + 1) * count] = add_term(p, u, sums[u * count : (u + 1) * count])

        rounds, rest = divmod(iterations, sets)
        sums = zeros * sets
        if rounds:
            with f.loop_with(sums, rounds * sets, 0, sets) as (p, sums):
                add_terms(p, sums, sets)
        add_terms(f.number("i64", rounds * sets), sums, rest)
        while sets > 1:
            half = ceil(sets, 2)
            for i in range((sets - half) * count):
                sums[i] = f.fadd(sums[i], sums[half * count + i])
            sets = half
        return sums[:count]
