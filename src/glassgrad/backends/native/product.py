"""Matrix products: C = A @ B in register tiles, with the caller's epilogue on every finished tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

from glassgrad.backends.native.ir import Function, Reg, vector

BYTES = {"float": 4, "double": 8}


@dataclass(frozen=True)
class Product:
    """C (m, n) = A (m, k) @ B (k, n), all row-major and contiguous.

    ``a_transposed``: A is stored (k, m). ``b_transposed``: B is stored (n, k).
    """

    m: int
    n: int
    k: int
    element: str = "float"
    a_transposed: bool = False
    b_transposed: bool = False


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
    """How one product is computed: tiles of ``rows`` x ``vectors`` registers, grouped into units."""

    product: Product
    lanes: int
    rows: int
    vectors: int
    packed: bool  # B is first copied into panels as wide as a tile
    row_block: int  # tiles of a unit
    column_block: int

    @property
    def width(self) -> int:
        """Columns of a tile."""
        return self.vectors * self.lanes

    @property
    def row_blocks(self) -> int:
        """Units along the rows of C."""
        return _blocks(_blocks(self.product.m, self.rows), self.row_block)

    @property
    def column_blocks(self) -> int:
        """Units along the columns of C."""
        return _blocks(_blocks(self.product.n, self.width), self.column_block)

    @property
    def units(self) -> int:
        """Independent pieces of C, fixed by the shapes."""
        return self.row_blocks * self.column_blocks

    @cached_property
    def depth(self) -> int:
        """Rows of a panel of B: k, and what whole transposed blocks write beyond it."""
        whole = self.lanes if self.product.b_transposed else 1
        return _blocks(self.product.k, whole) * whole

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory, a multiple of 64."""
        if not self.packed:
            return 0
        tail = sum(lanes for _, lanes, _ in self.tail)
        columns = self.product.n // self.width * self.width + tail
        return _blocks(columns * self.depth * BYTES[self.product.element], 64) * 64

    @property
    def tail(self) -> list[tuple[int, int, int]]:
        """The vectors beyond the last whole tile, as (offset, lanes, valid lanes)."""
        left = self.product.n % self.width
        found = [(i * self.lanes, self.lanes, self.lanes) for i in range(left // self.lanes)]
        rest = left % self.lanes
        if rest:
            found.append((left - rest, 1 << (rest - 1).bit_length(), rest))
        return found

    def __str__(self) -> str:
        p = self.product
        form = "NT"[p.a_transposed] + "NT"[p.b_transposed]
        packing = "B packed into panels" if self.packed else "unpacked"
        return (
            f"product {form} {p.m}x{p.k}x{p.n} {p.element}: tiles of {self.rows} rows x {self.vectors} vectors "
            f"of {self.lanes}, {packing}, {self.units} units of {self.row_block}x{self.column_block} tiles"
        )


def plan(product: Product, vector_bytes: int) -> Plan:
    """The plan for ``product`` on a machine with vectors of ``vector_bytes``."""
    lanes = max(1, vector_bytes // BYTES[product.element])
    registers = 32 if vector_bytes == 64 else 16
    choices = [
        (_cost(product, lanes, rows, vectors), rows, vectors)
        for vectors in range(1, min(8, _blocks(product.n, lanes)) + 1)
        for rows in range(1, min(28, product.m) + 1)
        if rows * vectors + vectors + 2 <= registers
    ]
    _, rows, vectors = min(choices)
    return Plan(product, lanes, rows, vectors, product.b_transposed, 16, 4)


def _cost(product: Product, lanes: int, rows: int, vectors: int) -> float:
    """Estimated cycles: two multiply-adds or two loads a cycle, and something for every tile and tile body."""
    row_tiles = [(rows, product.m // rows), (product.m % rows, 1)]
    column_tiles = [(vectors, product.n // (vectors * lanes))]
    column_tiles.append((_blocks(product.n % (vectors * lanes), lanes), 1))
    cycles, bodies = 0.0, 0
    for r, many in row_tiles:
        for v, times in column_tiles:
            if r * v * many * times:
                bodies += 1
                step = max(r * v / 2, (r + v) / 2) + 0.1 * (r + v)
                cycles += many * times * (step * product.k + r * v + 10)
    return cycles * (1 + 0.04 * bodies)


def _blocks(count: int, size: int) -> int:
    return -(-count // size)


# --- packing ---------------------------------------------------------------------------------------------


def emit_pack(f: Function, plan: Plan, a: Reg, b: Reg, scratch: Reg) -> None:
    """Copies of what the units will read from ``scratch``; nothing where the plan packs nothing."""
    del a
    if not plan.packed:
        return
    product, width = plan.product, plan.width
    full = product.n // width
    vectors = [(i * plan.lanes, plan.lanes, plan.lanes) for i in range(plan.vectors)]
    if full:
        with f.loop(full) as j:
            _pack_panel(f, plan, b, scratch, f.mul(j, width), vectors)
    if plan.tail:
        _pack_panel(f, plan, b, scratch, Reg(str(full * width), "i64"), plan.tail)


def _pack_panel(
    f: Function, plan: Plan, b: Reg, scratch: Reg, column: Reg, vectors: list[tuple[int, int, int]]
) -> None:
    element, k, n = plan.product.element, plan.product.k, plan.product.n
    width = sum(lanes for _, lanes, _ in vectors)
    panel = f.at(scratch, element, f.mul(column, plan.depth))
    if not plan.product.b_transposed:
        source = f.at(b, element, column)
        with f.loop(k) as p:
            row, target = f.at(source, element, f.mul(p, n)), f.at(panel, element, f.mul(p, width))
            for offset, lanes, _ in vectors:
                value = f.load(vector(element, lanes), f.at(row, element, offset))
                f.store(value, f.at(target, element, offset))
        return
    source = f.at(b, element, f.mul(column, k))
    kind = vector(element, plan.lanes)
    with f.loop(k, step=plan.lanes) as p:
        rows, target = f.at(source, element, p), f.at(panel, element, f.mul(p, width))
        for offset, lanes, valid in vectors:
            block = [f.load(kind, f.at(rows, element, (offset + i) * k)) for i in range(valid)]
            block += [block[-1]] * (plan.lanes - valid)
            for i, value in enumerate(_transpose(f, block)):
                narrow = value if lanes == plan.lanes else f.shuffle(value, range(lanes))
                f.store(narrow, f.at(target, element, i * width + offset))


def _transpose(f: Function, block: list[Reg]) -> list[Reg]:
    """A square block of registers, turned over by halves: shuffles that machines have as instructions."""
    lanes = len(block)
    size = 1
    while size < lanes:
        even = [i for i in range(lanes) if not i & size]
        low = [i + lanes - size if i & size else i for i in range(lanes)]
        high = [i if i & size else i + size for i in range(lanes)]
        high = [i + lanes if i & size else j for i, j in zip(range(lanes), high, strict=True)]
        turned = list(block)
        for i in even:
            turned[i] = f.shuffle(block[i], low, block[i + size])
            turned[i + size] = f.shuffle(block[i], high, block[i + size])
        block, size = turned, size * 2
    return block


# --- units -----------------------------------------------------------------------------------------------


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
) -> None:
    """Inline code for the units ``first`` .. ``last`` (exclusive; all by default).

    ``finish`` emits the rest for each tile: the epilogue and the stores. It is called once for every distinct
    body: the whole tile and, where the shapes leave one, the remainders.
    """
    product = plan.product
    if last is None:
        last = plan.units
    some: Reg | None = None
    if isinstance(first, Reg) or isinstance(last, Reg):
        begin, end = (item if isinstance(item, Reg) else Reg(str(item), "i64") for item in (first, last))
        some = f.compare("ult", begin, end)
    elif first >= last:
        return

    def tile(row: Reg, rows: int, column: Reg, vectors: list[tuple[int, int, int]]) -> None:
        values = _multiply(f, plan, a, scratch if plan.packed else b, row, rows, column, vectors)
        masked = [
            (offset, lanes, None if valid == lanes else f.lane_mask(lanes, valid))
            for offset, lanes, valid in vectors
        ]
        finish(Tile(row, rows, column, masked, values))

    whole = [(i * plan.lanes, plan.lanes, plan.lanes) for i in range(plan.vectors)]
    with f.when(some) if some else nullcontext(), f.loop(last, first) as unit:
        if plan.units == 1:
            i_block = j_block = Reg("0", "i64")
        else:
            i_block = f.binary("urem", unit, plan.row_blocks)
            j_block = f.binary("udiv", unit, plan.row_blocks)

        def rows_of(column: Reg, vectors: list[tuple[int, int, int]]) -> None:
            full, rest = divmod(product.m, plan.rows)
            with _tiles(f, full, rest, plan.row_block, plan.row_blocks, i_block) as i:
                if i:
                    tile(f.mul(i, plan.rows), plan.rows, column, vectors)
            if rest:
                with _last(f, plan.row_blocks, i_block):
                    tile(Reg(str(full * plan.rows), "i64"), rest, column, vectors)

        full, rest = divmod(product.n, plan.width)
        with _tiles(f, full, rest, plan.column_block, plan.column_blocks, j_block) as j:
            if j:
                rows_of(f.mul(j, plan.width), whole)
        if rest:
            with _last(f, plan.column_blocks, j_block):
                rows_of(Reg(str(full * plan.width), "i64"), plan.tail)


@contextmanager
def _tiles(f: Function, full: int, rest: int, block: int, blocks: int, index: Reg) -> Iterator[Reg | None]:
    """A loop over the whole tiles of one block; None where there are none at all."""
    if not full:
        yield None
    elif blocks == 1:
        with f.loop(full) as i:
            yield i
    else:
        start = f.mul(index, block)
        stop = f.add(start, block)
        stop = f.select(f.compare("ult", stop, full), stop, full)
        guard = f.when(f.compare("ult", start, full)) if rest and full % block == 0 else nullcontext()
        with guard, f.loop(stop, start) as i:
            yield i


def _last(f: Function, blocks: int, index: Reg) -> "contextmanager":  # type: ignore
    return nullcontext() if blocks == 1 else f.when(f.compare("eq", index, blocks - 1))


def _multiply(
    f: Function,
    plan: Plan,
    a: Reg,
    b: Reg,
    row: Reg,
    rows: int,
    column: Reg,
    vectors: list[tuple[int, int, int]],
) -> list[list[Reg]]:
    """The sums of one tile, over all of k."""
    product = plan.product
    element, k = product.element, product.k
    if plan.packed:
        b = f.at(b, element, f.mul(column, plan.depth))
        b_step = sum(lanes for _, lanes, _ in vectors)
    else:
        b = f.at(b, element, column)
        b_step = product.n
    a_step, row_step = (product.m, 1) if product.a_transposed else (1, k)
    a = f.at(a, element, f.mul(row, row_step))
    kinds = [vector(element, lanes) for _, lanes, _ in vectors]
    count = rows * len(vectors)
    sets = min(k, max(1, 8 // count))
    zero = [f.number(kind, 0) for _ in range(sets * rows) for kind in kinds]

    def step(sums: list[Reg], a: Reg, b: Reg, p: int) -> None:
        """Adds turn ``p`` to the sums."""
        columns = [
            f.load(kind, f.at(b, element, p * b_step + offset))
            for kind, (offset, _, _) in zip(kinds, vectors, strict=True)
        ]
        base = p % sets * count
        for i in range(rows):
            scalar = f.load(element, f.at(a, element, p * a_step + i * row_step))
            for j, value in enumerate(columns):
                at = base + i * len(vectors) + j
                sums[at] = f.muladd(f.splat(scalar, value.lanes), value, sums[at])

    turns, rest = divmod(k, sets)
    with f.loop_with(zero, turns * sets, 0, sets) as (p, sums):
        here, there = f.at(a, element, f.mul(p, a_step)), f.at(b, element, f.mul(p, b_step))
        for u in range(sets):
            step(sums, here, there, u)
    if rest:
        here, there = f.at(a, element, turns * sets * a_step), f.at(b, element, turns * sets * b_step)
        for u in range(rest):
            step(sums, here, there, u)
    while sets > 1:
        half = _blocks(sets, 2)
        for at in range((sets - half) * count):
            sums[at] = f.fadd(sums[at], sums[half * count + at])
        sets = half
    return [sums[i * len(vectors) : (i + 1) * len(vectors)] for i in range(rows)]
