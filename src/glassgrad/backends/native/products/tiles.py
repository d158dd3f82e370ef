"""Matrix products: C = A @ B in register tiles, with the caller's epilogue on every finished tile.

A tile is a few rows x a few vectors of C, held in registers while the loop over k adds (one element of A in every
lane) x (a vector of B). Measured on one core with 32 registers of 16 floats, 48 KiB + 1 MiB of cache and bare
multiply-adds at 235 GFLOP/s (``benchmarks/products.py``); m x k x n:

- 8 rows x 2 vectors keep the multipliers busy (97 % at 32 x 64 x 32, 64 x 784 x 128), divide the usual sizes, so
  that there is one body of code, and compile in half the time of larger tiles. 12 or 14 rows gain nothing, and lose
  much where rows of A lie 4096 bytes apart (they compete for the same few cache lines). 4 x 4 reads B too often.
- Copying B or A into panels costs 3-5 % of a large product and pays where rows lie a multiple of 4096 bytes apart
  or B is larger than the second cache (512 x 1024 x 1024: from 125 to 185, of a peak of 185 at that moment).
- A transposed B is always turned into panels by shuffles: 12 % of the time at 32 x 64 x 64, 3 % at 512 x 1024 x 1024.
- Blocks over k, with partial sums kept aside, gained nothing over panels that are read from start to end.
- The sums of one element run over k in order; where a tile has few sums, over several interleaved sets of it.
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

BUSY = 8  # independent sums that keep two multiply-add units of four cycles each at work

Vectors = list[tuple[int, int, int]]  # (offset from the tile's first column, lanes, lanes that exist)


@dataclass
class Tile:
    """A finished piece of C: ``values[i][j]`` belongs to row ``row + i`` and to ``vectors[j]``.

    ``vectors`` are (offset from ``column``, lanes, mask): where there is a mask, the lanes outside of it hold
    rubbish and must be neither stored nor summed.
    """

    row: Reg
    rows: int
    column: Reg
    vectors: list[tuple[int, int, Reg | None]]
    values: list[list[Reg]]


def emit_pack(
    f: Function, plan: ProductPlan, operands: Operands, *, first: Reg | int = 0, last: Reg | int | None = None
) -> None:
    """Inline code for the pieces ``first`` .. ``last`` (all by default) of ``plan.pack_units``.

    All must be done before a unit of the product starts. Nothing where the plan packs nothing.
    """
    product, lanes, k = plan.product, plan.lanes, plan.product.k
    a, b, scratch, element = operands.a, operands.b, operands.scratch, product.element
    last = plan.pack_units if last is None else last
    if plan.pack_b and product.b_transposed:
        piece = vector(element, plan.piece)

        def strip(v: Reg, valid: int) -> None:
            panel, part = f.binary("udiv", v, plan.vectors), f.binary("urem", v, plan.vectors)
            place = f.add(f.mul(panel, plan.depth * plan.width), f.mul(part, lanes))
            target = f.at(scratch, element, place)
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
    """Inline code for the units ``first`` .. ``last`` (exclusive; all by default).

    ``finish`` emits the rest for each tile: the epilogue and the stores. It is called once for every distinct
    body: the whole tile and, where the shapes leave one, the remainders. Up to 64 bytes behind A and B are read.
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
        whole = [(i * lanes, lanes, lanes) for i in range(plan.vectors)]
        with section(f, first, last, 0, plan.units) as unit:
            # By columns, so that a thread meets its own part of the weights again; a chain's unit is a block of rows.
            if plan.blocks:
                block, j = self._divided(unit, plan.row_blocks, plan.columns)
            else:
                j, block = self._divided(unit, plan.columns, plan.row_blocks)
            if full:
                with f.when(f.compare("ult", j, full)) if rest else nullcontext():
                    self._column(block, f.mul(j, plan.width), whole)
            if rest:
                part = [item for item in whole if item[0] + lanes <= rest]
                left = rest % lanes
                if left:
                    part.append((rest - left, 1 << (left - 1).bit_length(), left))
                with f.when(f.compare("eq", j, full)) if full else nullcontext():
                    self._column(block, f.number("i64", full * plan.width), part)

    def _divided(self, unit: Reg, outer: int, inner: int) -> tuple[Reg, Reg]:
        """The number of a unit as that of ``outer`` runs, and of the ``inner`` units of a run."""
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
            final = full - (plan.row_blocks - 1) * plan.row_block
            count: Reg | int = final
            if plan.row_blocks > 1 and final != plan.row_block:
                last = f.compare("eq", block, plan.row_blocks - 1)
                count = f.select(last, f.number("i64", final), plan.row_block)
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
        shown = [
            (offset, lanes, None if exist == lanes else f.lane_mask(lanes, exist))
            for offset, lanes, exist in vectors
        ]
        self.finish(Tile(row, rows, column, shown, values))

    def _elements(self, row: Reg, rows: int) -> Callable[[Reg, int], list[Reg]]:
        """For p and u the addresses of the elements of A in the rows of a tile, at k = p + u."""
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

            def behind(p: Reg, u: int) -> list[Reg]:
                start = f.at(f.load("ptr", f.at(f.at(table, "ptr", p), "ptr", u), 8), element, row)
                return [f.at(start, element, i) for i in range(rows)]

            return behind
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
        """Every element of A times every vector of B, over all of k."""
        f, plan, element = self.f, self.plan, self.element
        if plan.pack_b:
            b, step = f.at(self.operands.scratch, element, f.mul(column, plan.depth)), plan.width
        else:
            b, step = self.operands.column(f, plan, column)
        elements = self._elements(row, rows)
        kinds = [vector(element, lanes) for _, lanes, _ in vectors]

        def add_term(p: Reg, u: int, sums: list[Reg]) -> list[Reg]:
            there = f.at(f.at(b, element, f.mul(p, step)), element, u * step)
            columns = [
                f.load(kind, f.at(there, element, offset))
                for kind, (offset, _, _) in zip(kinds, vectors, strict=True)
            ]
            made: list[Reg] = []
            for place in elements(p, u):
                scalar = f.load(element, place)
                if self.operands.background is not None and plan.product.background != ZERO:
                    scalar = f.fsub(scalar, self.operands.background)
                wide = {lanes: f.splat(scalar, lanes) for lanes in {value.lanes for value in columns}}
                made += [
                    f.muladd(wide[value.lanes], value, total)
                    for value, total in zip(columns, sums[len(made) :], strict=False)
                ]
            return made

        if plan.is_sparse:
            bits = f.at(self.operands.scratch, "i8", plan.bits_start)
            base = f.at(f.at(self.operands.scratch, "i8", plan.base_start), element, column)
            begin = [
                f.load(kind, f.at(base, element, offset)) if plan.has_base else f.number(kind, 0)
                for kind, (offset, _, _) in zip(kinds, vectors, strict=True)
            ]
            sums = sparse.emit_sums(f, plan, row, begin * rows, add_term, bits)
        else:
            sums = self._over(
                plan.product.k, [f.number(kind, 0) for _ in range(rows) for kind in kinds], add_term
            )
        return [sums[i * len(vectors) : (i + 1) * len(vectors)] for i in range(rows)]

    def _folded(self, row: Reg, rows: int) -> list[list[Reg]]:
        """Rows of A times the one column of B, vector by vector along k."""
        f, element, lanes, k = self.f, self.element, self.plan.lanes, self.plan.product.k
        kind = vector(element, lanes)
        a = f.at(self.operands.a, element, f.mul(row, k))

        def add_term(p: Reg, u: int, sums: list[Reg], mask: Reg | None = None) -> list[Reg]:
            here, there = (
                f.at(f.at(start, element, f.mul(p, lanes)), element, u * lanes)
                for start in (a, self.operands.b)
            )

            def load(address: Reg) -> Reg:
                value = f.load(kind, address)
                return value if mask is None else f.select(mask, value, 0)  # what lies behind may be NaN

            column = load(there)
            return [f.muladd(load(f.at(here, element, i * k)), column, total) for i, total in enumerate(sums)]

        full, rest = divmod(k, lanes)
        sums = self._over(full, [f.number(kind, 0)] * rows, add_term)
        if rest:
            sums = add_term(f.number("i64", full), 0, sums, f.lane_mask(lanes, rest))
        return [[f.fold_lanes(total, f.fadd)] for total in sums]

    def _upright(self, row: Reg, rows: int) -> list[list[Reg]]:
        """Columns of A times the one column of B, vector by vector along the rows of C."""
        f, element = self.f, self.element
        lanes = 1 << (rows - 1).bit_length()
        kind = vector(element, lanes)
        a = f.at(self.operands.a, element, row)

        def add_term(p: Reg, u: int, sums: list[Reg]) -> list[Reg]:
            here, there = (
                f.at(f.at(start, element, f.mul(p, step)), element, u * step)
                for start, step in ((a, self.plan.product.m), (self.operands.b, 1))
            )
            return [f.muladd(f.splat(f.load(element, there), lanes), f.load(kind, here), sums[0])]

        (total,) = self._over(self.plan.product.k, [f.number(kind, 0)], add_term)
        return [[f.shuffle(total, [i]) if lanes > 1 else total] for i in range(rows)]

    def _over(self, turns: int, zeros: list[Reg], add_term: AddTerm) -> list[Reg]:
        """The sums over all turns p + u; few sums are split into several sets, so that none waits for another."""
        f, count = self.f, len(zeros)
        sets = max(1, min(turns, ceil(BUSY, count)))

        def some(p: Reg, sums: list[Reg], many: int) -> None:
            for u in range(many):
                sums[u * count : (u + 1) * count] = add_term(p, u, sums[u * count : (u + 1) * count])

        rounds, rest = divmod(turns, sets)
        sums = zeros * sets
        if rounds:
            with f.loop_with(sums, rounds * sets, 0, sets) as (p, sums):
                some(p, sums, sets)
        some(f.number("i64", rounds * sets), sums, rest)
        while sets > 1:
            half = ceil(sets, 2)
            for i in range((sets - half) * count):
                sums[i] = f.fadd(sums[i], sums[half * count + i])
            sets = half
        return sums[:count]
