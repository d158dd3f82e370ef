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

from glassgrad.backends.native import sparse
from glassgrad.backends.native.ir import Function, Reg, vector
from glassgrad.backends.native.layout import TICKETS_PER_KERNEL
from glassgrad.backends.native.packing import copy_panel, section, turn_strip

BYTES = {"float": 4, "double": 8}
BUSY = 8  # independent sums that keep two multiply-add units of four cycles each at work
PAGE = 4096  # rows this far apart share a few lines of the first cache
SKIPPING = 4  # vectors in a row of C, from which on it pays to look where A is its background
LARGE = 1 << 20  # bytes that the second cache may not hold
UNIT = 1 << 18  # multiply-adds that are worth a unit of their own
BLOCK = 512 << 10  # bytes of A that the tiles of a unit read again and again, from the second cache

Vectors = list[tuple[int, int, int]]  # (offset from the tile's first column, lanes, lanes that exist)


@dataclass(frozen=True)
class Product:
    """C (m, n) = A (m, k) @ B (k, n), all row-major and contiguous.

    ``a_transposed``: A is stored (k, m). ``b_transposed``: B is stored (n, k). ``background``: the number that most
    elements of A are, where there is one (see ``sparse``).
    """

    m: int
    n: int
    k: int
    element: str = "float"
    a_transposed: bool = False
    b_transposed: bool = False
    background: float | None = None


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


@dataclass(frozen=True)
class Plan:
    """How a product is computed: C in tiles of ``rows`` x ``vectors`` registers, one column of tiles to a unit."""

    product: Product
    lanes: int
    rows: int
    vectors: int
    pack_a: bool = False  # A (stored transposed) is first copied into panels as high as a tile
    pack_b: bool = False  # B is first copied, or turned, into panels as wide as a tile
    row_block: int = 1  # tiles of a unit, one below the other
    blocks: int = 0  # units one below the other, where that is asked for
    is_sparse: bool = False  # goes only where A differs from its background

    @property
    def width(self) -> int:
        """Columns of a tile."""
        return self.vectors * self.lanes

    @property
    def columns(self) -> int:
        """Tiles side by side."""
        return _ceil(self.product.n, self.width)

    @property
    def row_blocks(self) -> int:
        """Units one below the other; the last one has all rows that are left."""
        return self.blocks or max(1, _ceil(self.product.m // self.rows, self.row_block))

    @property
    def units(self) -> int:
        """Independent pieces of C, fixed by the shapes."""
        return self.row_blocks * self.columns

    @property
    def folded(self) -> bool:
        """C is one column and A's rows are contiguous: the lanes run along k and are folded at the end."""
        return self.product.n == 1 and self.lanes > 1 and not self.product.a_transposed

    @property
    def upright(self) -> bool:
        """C is one column and A's columns are contiguous: the lanes run along the rows of C."""
        return self.product.n == 1 and self.lanes > 1 and self.product.a_transposed

    # --- scratch memory: the panels of B, then those of A ----------------------------------------------

    @property
    def piece(self) -> int:
        """Lanes that a transposition moves at once: 16 bytes, at most a vector."""
        return min(self.lanes, 16 // BYTES[self.product.element])

    @property
    def depth(self) -> int:
        """Rows of a panel of B: k, rounded up to whole pieces."""
        return _ceil(self.product.k, self.piece) * self.piece if self.product.b_transposed else self.product.k

    @property
    def b_size(self) -> int:
        """Elements of the packed B."""
        return self.columns * self.width * self.depth if self.pack_b else 0

    @property
    def a_step(self) -> int:
        """Elements from row to row of a packed panel of A."""
        if self.rows < self.lanes:
            return 1 << (self.rows - 1).bit_length()
        return _ceil(self.rows, self.lanes) * self.lanes

    @property
    def a_panels(self) -> int:
        """Packed panels of A."""
        return _ceil(self.product.m, self.rows) if self.pack_a else 0

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory, a multiple of 64; it must start at one."""
        base = _ceil(self.product.n * BYTES[self.product.element], 64) * 64 + 64
        return self.base_start + (base if self.is_sparse and self.product.background else 0)

    @property
    def bits_start(self) -> int:
        """Bytes before the bits of a sparse A."""
        elements = self.b_size + self.a_panels * self.a_step * self.product.k
        return _ceil(elements * BYTES[self.product.element], 64) * 64

    @property
    def base_start(self) -> int:
        """Bytes before the row that C begins with, where A is sparse."""
        return self.bits_start + (_ceil(sparse.bit_bytes(self), 64) * 64 if self.is_sparse else 0)

    @property
    def b_pack_units(self) -> int:
        """Independent pieces of the packing of B: strips of one vector where it is turned, else panels."""
        if not self.pack_b:
            return 0
        return _ceil(self.product.n, self.lanes) if self.product.b_transposed else self.columns

    @property
    def pack_units(self) -> int:
        """Independent pieces of the packing; 0 where there is none."""
        units = self.b_pack_units + self.a_panels
        return units + sparse.bit_units(self) + sparse.base_units(self) if self.is_sparse else units

    def __str__(self) -> str:
        p = self.product
        form = "NT"[p.a_transposed] + "NT"[p.b_transposed]
        if self.folded or self.upright:
            how = f"{self.rows} rows at a time, lanes along {'k' if self.folded else 'the rows'}"
        else:
            packed = " and ".join(name for name, used in (("A", self.pack_a), ("B", self.pack_b)) if used)
            how = f"tiles of {self.rows} rows x {self.vectors} vectors of {self.lanes}"
            how += f", {packed} packed ({self.scratch_bytes} bytes)" if packed else ""
            how += f", only where A is not {self.product.background:g}" if self.is_sparse else ""
        units = (
            f"{self.units} unit{'s' * (self.units > 1)} of {self.row_block} tile{'s' * (self.row_block > 1)}"
        )
        return f"{form} {p.m} x {p.k} x {p.n} {p.element}: {how}, {units}"


def _ceil(count: int, size: int) -> int:
    return -(-count // size)


# --- choosing --------------------------------------------------------------------------------------------


def plan(product: Product, vector_bytes: int, height: int = 0, blocks: int = 0) -> Plan:
    """The plan for ``product`` on a machine with vectors of ``vector_bytes``: by the shapes alone.

    With ``blocks`` there are so many units one below the other, each (but the last) of ``height`` rows, a multiple
    of 16.
    """
    m, n, k, size = product.m, product.n, product.k, BYTES[product.element]
    lanes = max(1, vector_bytes // size)
    if product.background is not None and not blocks and _skips(product, lanes):
        return _sparse_plan(product, vector_bytes, lanes)
    if n == 1 and lanes > 1:
        rows, vectors = min(m, 8, lanes if product.a_transposed else 8), 1
    else:
        rows, vectors = _tile(product, lanes, vector_bytes, height)
    pack_a, pack_b = (False, False) if n == 1 and lanes > 1 else _packs(product, size)
    if blocks:
        return Plan(product, lanes, rows, vectors, pack_a, pack_b, height // rows, blocks)
    tiles = max(1, m // rows)
    block = min(tiles, max(1, BLOCK // (rows * k * size)))
    block = _ceil(tiles, _ceil(tiles, block))
    columns = _ceil(n, vectors * lanes)
    while block > 1 and _ceil(tiles, block) * columns < 8 and block * rows * vectors * lanes * k >= 2 * UNIT:
        block = _ceil(block, 2)
    return Plan(product, lanes, rows, vectors, pack_a, pack_b, block)


def _skips(product: Product, lanes: int) -> bool:
    """Whether it pays to look where A differs from its background."""
    return product.n >= max(2, SKIPPING * lanes) and not product.b_transposed


def _sparse_plan(product: Product, vector_bytes: int, lanes: int) -> Plan:
    """Low tiles of few vectors. Wider ones would read less of A, but threads then meet one another's columns of B."""
    m, n, size = product.m, product.n, BYTES[product.element]
    rows, vectors = 2 if product.a_transposed else 4, min(4 if vector_bytes == 64 else 2, _ceil(n, lanes))
    columns = _ceil(n, vectors * lanes)
    pack_b = product.a_transposed and columns > 1 and n * size % (PAGE // 2) == 0
    block = _ceil(_ceil(m, rows), max(1, TICKETS_PER_KERNEL // columns))
    return Plan(product, lanes, rows, vectors, pack_b=pack_b, row_block=block, is_sparse=True)


def _packs(product: Product, size: int) -> tuple[bool, bool]:
    """Whether A and B are packed: whether copying ``size`` bytes an element costs less than reading as it is."""
    m, n, k = product.m, product.n, product.k
    far = (k >= 128 and m * size % PAGE == 0) or (m * k * size >= LARGE and m * size % (PAGE // 2) == 0)
    pack_a = product.a_transposed and n >= 64 and far
    far = (k >= 128 and n * size % PAGE == 0) or (n * k * size >= 3 * LARGE and m >= 256)
    pack_b = k > 1 if product.b_transposed else m >= 64 and far
    return pack_a, pack_b


def _tile(product: Product, lanes: int, vector_bytes: int, height: int) -> tuple[int, int]:
    """Rows and vectors of a tile: the cheapest of those that fit the registers, and divide ``height``."""
    registers = 32 if vector_bytes == 64 else 16
    spare = 1 if vector_bytes >= 32 else 2  # without a fused multiply-add, the product needs one too
    choices = [
        (_cost(product, lanes, rows, vectors), rows, vectors)
        for vectors in range(1, min(8, _ceil(product.n, lanes)) + 1)
        for rows in range(1, min(product.m, 8 if product.m > 14 and vectors > 1 else 16) + 1)
        if rows * vectors + vectors + spare <= registers and height % rows == 0
    ]
    return min(choices)[1:]


def _cost(product: Product, lanes: int, rows: int, vectors: int) -> float:
    """Estimated cycles: two multiply-adds or two loads a cycle, dearer for B, and something for every tile.

    Every further body of code counts for a few percent, since it has to be compiled.
    """
    width = vectors * lanes
    heights = [(rows, product.m // rows), (product.m % rows, 1)]
    widths = [(vectors, product.n // width), (_ceil(product.n % width, lanes), 1)]
    cycles, bodies = 0.0, 0
    for r, down in heights:
        for v, across in widths:
            if r * v * down * across:
                bodies += 1
                turn = max(r * v, r + v) / 2 + 0.05 * r + 0.5 * v
                cycles += down * across * (turn * product.k + r * v + 10)
    return cycles * (1 + 0.05 * bodies)


# --- code ------------------------------------------------------------------------------------------------


def emit_pack(
    f: Function,
    plan: Plan,
    a: Reg,
    b: Reg,
    scratch: Reg,
    *,
    first: Reg | int = 0,
    last: Reg | int | None = None,
    table: Reg | None = None,
) -> None:
    """Inline code for the pieces ``first`` .. ``last`` (all by default) of ``plan.pack_units``.

    All must be done before a unit of the product starts. Nothing where the plan packs nothing.
    """
    product, lanes, k = plan.product, plan.lanes, plan.product.k
    element = product.element
    last = plan.pack_units if last is None else last
    if plan.pack_b and product.b_transposed:
        piece = vector(element, plan.piece)

        def strip(v: Reg, valid: int) -> None:
            panel, part = f.binary("udiv", v, plan.vectors), f.binary("urem", v, plan.vectors)
            place = f.add(f.mul(panel, plan.depth * plan.width), f.mul(part, lanes))
            target = f.at(scratch, element, place)
            turn_strip(f, piece, b, target, f.mul(v, lanes), k=k, rows=lanes, valid=valid, step=plan.width)

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
            copy_panel(f, kind, b, scratch, j, k=k, columns=product.n, width=plan.width, step=plan.width)
    if plan.pack_a:
        kind = vector(element, min(lanes, plan.a_step))
        target = f.at(scratch, element, plan.b_size)
        with section(f, first, last, plan.b_pack_units, plan.pack_units) as i:
            copy_panel(f, kind, a, target, i, k=k, columns=product.m, width=plan.rows, step=plan.a_step)
    if plan.is_sparse:
        start = plan.b_pack_units
        sparse.emit_bits(f, plan, a, table, f.at(scratch, "i8", plan.bits_start), first, last, start)
        if product.background:
            start += sparse.bit_units(plan)
            sparse.emit_base(f, plan, b, f.at(scratch, "i8", plan.base_start), first, last, start)


def emit(
    f: Function,
    plan: Plan,
    a: Reg,
    b: Reg,
    scratch: Reg,
    finish: Callable[[Tile], None],
    *,
    first: Reg | int = 0,
    last: Reg | int | None = None,
    table: Reg | None = None,
) -> None:
    """Inline code for the units ``first`` .. ``last`` (exclusive; all by default).

    ``finish`` emits the rest for each tile: the epilogue and the stores. It is called once for every distinct
    body: the whole tile and, where the shapes leave one, the remainders. Up to 64 bytes behind A and B are read.
    ``table`` holds the address of each row of A as it is stored, where they do not lie one behind the other.
    """
    _Units(f, plan, a, b, scratch, finish, table).emit(first, plan.units if last is None else last)


class _Units:
    """The code of a product's units."""

    def __init__(
        self,
        f: Function,
        plan: Plan,
        a: Reg,
        b: Reg,
        scratch: Reg,
        finish: Callable[[Tile], None],
        table: Reg | None,
    ) -> None:
        self.f, self.plan, self.finish, self.table = f, plan, finish, table
        self.a, self.b, self.scratch = a, b, scratch
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
        if self.table is not None and self.plan.is_sparse and self.plan.product.a_transposed:
            sparse.emit_fetch(f, self.plan, self.table, row, column)
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
        if self.table is not None and not product.a_transposed:
            starts = [f.load("ptr", f.at(f.at(self.table, "ptr", row), "ptr", i), 8) for i in range(rows)]
            return lambda p, u: [f.at(f.at(start, element, p), element, u) for start in starts]
        if self.table is not None:
            table = self.table

            def behind(p: Reg, u: int) -> list[Reg]:
                start = f.at(f.load("ptr", f.at(f.at(table, "ptr", p), "ptr", u), 8), element, row)
                return [f.at(start, element, i) for i in range(rows)]

            return behind
        if plan.pack_a:
            step, row_step = plan.a_step, 1
            panel = f.mul(f.binary("udiv", row, plan.rows), product.k * step)
            a = f.at(self.scratch, element, f.add(panel, plan.b_size))
        else:
            step, row_step = (product.m, 1) if product.a_transposed else (1, product.k)
            a = f.at(self.a, element, f.mul(row, row_step))
        return lambda p, u: [
            f.at(f.at(f.at(a, element, f.mul(p, step)), element, u * step), element, i * row_step)
            for i in range(rows)
        ]

    def _sums(self, row: Reg, rows: int, column: Reg, vectors: Vectors) -> list[list[Reg]]:
        """Every element of A times every vector of B, over all of k."""
        f, plan, element = self.f, self.plan, self.element
        if plan.pack_b:
            b, step = f.at(self.scratch, element, f.mul(column, plan.depth)), plan.width
        else:
            b, step = f.at(self.b, element, column), plan.product.n
        elements = self._elements(row, rows)
        kinds = [vector(element, lanes) for _, lanes, _ in vectors]

        def turn(p: Reg, u: int, sums: list[Reg]) -> list[Reg]:
            there = f.at(f.at(b, element, f.mul(p, step)), element, u * step)
            columns = [
                f.load(kind, f.at(there, element, offset))
                for kind, (offset, _, _) in zip(kinds, vectors, strict=True)
            ]
            made: list[Reg] = []
            for place in elements(p, u):
                scalar = f.load(element, place)
                if plan.is_sparse and plan.product.background:
                    scalar = f.fsub(scalar, plan.product.background)
                wide = {lanes: f.splat(scalar, lanes) for lanes in {value.lanes for value in columns}}
                made += [
                    f.muladd(wide[value.lanes], value, total)
                    for value, total in zip(columns, sums[len(made) :], strict=False)
                ]
            return made

        if plan.is_sparse:
            bits = f.at(self.scratch, "i8", plan.bits_start)
            base = f.at(f.at(self.scratch, "i8", plan.base_start), element, column)
            begin = [
                f.load(kind, f.at(base, element, offset)) if plan.product.background else f.number(kind, 0)
                for kind, (offset, _, _) in zip(kinds, vectors, strict=True)
            ]
            sums = sparse.emit_sums(f, plan, row, begin * rows, turn, bits)
        else:
            sums = self._over(
                plan.product.k, [f.number(kind, 0) for _ in range(rows) for kind in kinds], turn
            )
        return [sums[i * len(vectors) : (i + 1) * len(vectors)] for i in range(rows)]

    def _folded(self, row: Reg, rows: int) -> list[list[Reg]]:
        """Rows of A times the one column of B, vector by vector along k."""
        f, element, lanes, k = self.f, self.element, self.plan.lanes, self.plan.product.k
        kind = vector(element, lanes)
        a = f.at(self.a, element, f.mul(row, k))

        def turn(p: Reg, u: int, sums: list[Reg], mask: Reg | None = None) -> list[Reg]:
            here, there = (
                f.at(f.at(start, element, f.mul(p, lanes)), element, u * lanes) for start in (a, self.b)
            )

            def load(address: Reg) -> Reg:
                value = f.load(kind, address)
                return value if mask is None else f.select(mask, value, 0)  # what lies behind may be NaN

            column = load(there)
            return [f.muladd(load(f.at(here, element, i * k)), column, total) for i, total in enumerate(sums)]

        full, rest = divmod(k, lanes)
        sums = self._over(full, [f.number(kind, 0)] * rows, turn)
        if rest:
            sums = turn(f.number("i64", full), 0, sums, f.lane_mask(lanes, rest))
        return [[f.fold_lanes(total, f.fadd)] for total in sums]

    def _upright(self, row: Reg, rows: int) -> list[list[Reg]]:
        """Columns of A times the one column of B, vector by vector along the rows of C."""
        f, element = self.f, self.element
        lanes = 1 << (rows - 1).bit_length()
        kind = vector(element, lanes)
        a = f.at(self.a, element, row)

        def turn(p: Reg, u: int, sums: list[Reg]) -> list[Reg]:
            here, there = (
                f.at(f.at(start, element, f.mul(p, step)), element, u * step)
                for start, step in ((a, self.plan.product.m), (self.b, 1))
            )
            return [f.muladd(f.splat(f.load(element, there), lanes), f.load(kind, here), sums[0])]

        (total,) = self._over(self.plan.product.k, [f.number(kind, 0)], turn)
        return [[f.shuffle(total, [i]) if lanes > 1 else total] for i in range(rows)]

    def _over(
        self, turns: int, zeros: list[Reg], turn: Callable[[Reg, int, list[Reg]], list[Reg]]
    ) -> list[Reg]:
        """The sums over all turns p + u; few sums are split into several sets, so that none waits for another."""
        f, count = self.f, len(zeros)
        sets = max(1, min(turns, _ceil(BUSY, count)))

        def some(p: Reg, sums: list[Reg], many: int) -> None:
            for u in range(many):
                sums[u * count : (u + 1) * count] = turn(p, u, sums[u * count : (u + 1) * count])

        rounds, rest = divmod(turns, sets)
        sums = zeros * sets
        if rounds:
            with f.loop_with(sums, rounds * sets, 0, sets) as (p, sums):
                some(p, sums, sets)
        some(f.number("i64", rounds * sets), sums, rest)
        while sets > 1:
            half = _ceil(sets, 2)
            for i in range((sets - half) * count):
                sums[i] = f.fadd(sums[i], sums[half * count + i])
            sets = half
        return sums[:count]
