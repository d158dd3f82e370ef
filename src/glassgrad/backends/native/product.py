"""Matrix products: C = A @ B in register tiles, with the caller's epilogue on every finished tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

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
    pack_a: bool  # A is first copied into panels as high as a tile (only where it is stored transposed)
    pack_b: bool  # B is first copied into panels as wide as a tile
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

    @property
    def piece(self) -> int:
        """Lanes in 16 bytes, at most those of a vector: what a transposition moves at once."""
        return min(self.lanes, 16 // BYTES[self.product.element])

    @property
    def depth(self) -> int:
        """Rows of a panel of B: k, and what the last pieces write beyond it."""
        whole = self.piece if self.product.b_transposed else 1
        return _blocks(self.product.k, whole) * whole

    @property
    def b_panels(self) -> int:
        """Packed panels of B."""
        return _blocks(self.product.n, self.width) if self.pack_b else 0

    @property
    def a_step(self) -> int:
        """Elements from row to row of a packed panel of A."""
        if self.rows < self.lanes:
            return 1 << (self.rows - 1).bit_length()
        return _blocks(self.rows, self.lanes) * self.lanes

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory, a multiple of 64."""
        a_panels = _blocks(self.product.m, self.rows) if self.pack_a else 0
        elements = self.b_panels * self.width * self.depth + a_panels * self.a_step * self.product.k
        return _blocks(elements * BYTES[self.product.element], 64) * 64

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
        packed = " and ".join(name for name, used in (("A", self.pack_a), ("B", self.pack_b)) if used)
        packing = f"{packed} packed" if packed else "unpacked"
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
    return Plan(product, lanes, rows, vectors, False, product.b_transposed, 16, 4)


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
    product = plan.product
    if plan.pack_a:
        target = f.at(scratch, product.element, plan.b_panels * plan.width * plan.depth)
        _copy_panels(f, plan, a, target, product.m, plan.rows, plan.a_step)
    if plan.pack_b and product.b_transposed:
        _turn_panels(f, plan, b, scratch)
    elif plan.pack_b:
        _copy_panels(f, plan, b, scratch, product.n, plan.width, plan.width)


def _copy_panels(f: Function, plan: Plan, source: Reg, target: Reg, columns: int, width: int, step: int) -> None:
    """A matrix (k, columns) as panels of ``width`` columns, each (k, step) without gaps."""
    element, k = plan.product.element, plan.product.k
    lanes = min(plan.lanes, step)
    kind = vector(element, lanes)

    def panel(j: Reg, valid: int) -> None:
        here, there = f.at(source, element, f.mul(j, width)), f.at(target, element, f.mul(j, k * step))
        with f.loop(k) as p:
            row, packed = f.at(here, element, f.mul(p, columns)), f.at(there, element, f.mul(p, step))
            for offset in range(0, valid, lanes):
                f.store(f.load(kind, f.at(row, element, offset)), f.at(packed, element, offset))

    full, rest = divmod(columns, width)
    if full:
        with f.loop(full) as j:
            panel(j, width)
    if rest:
        panel(Reg(str(full), "i64"), rest)


def _turn_panels(f: Function, plan: Plan, source: Reg, target: Reg) -> None:
    """A matrix (n, k) as panels (depth, width) of its transpose."""
    element, n, k = plan.product.element, plan.product.n, plan.product.k
    lanes, width, depth = plan.lanes, plan.width, plan.depth
    kind = vector(element, plan.piece)

    def strip(v: Reg, valid: int) -> None:
        """The ``lanes`` columns of vector ``v``."""
        here = f.at(source, element, f.mul(v, lanes * k))
        j, part = f.binary("udiv", v, plan.vectors), f.binary("urem", v, plan.vectors)
        there = f.at(target, element, f.add(f.mul(j, depth * width), f.mul(part, lanes)))
        with f.loop(k, step=plan.piece) as p:
            rows, packed = f.at(here, element, p), f.at(there, element, f.mul(p, width))
            pieces = [f.load(kind, f.at(rows, element, min(i, valid - 1) * k)) for i in range(lanes)]
            for i, value in enumerate(_turn(f, pieces)):
                f.store(value, f.at(packed, element, i * width))

    full, rest = divmod(n, lanes)
    if full:
        with f.loop(full) as v:
            strip(v, lanes)
    if rest:
        strip(Reg(str(full), "i64"), rest)


def _turn(f: Function, pieces: list[Reg]) -> list[Reg]:
    """The transpose of ``pieces`` (short vectors, at most 16 bytes each): as many vectors as a piece has lanes.

    Machines shuffle cheaply inside 16 bytes only: so row i goes to the 16-byte part i // size of register
    i % size, and what is left are transposes of squares inside of each part.
    """
    size, parts = pieces[0].lanes, len(pieces) // pieces[0].lanes
    block = [_join(f, pieces[i::size]) for i in range(size)]

    def halves(a: Reg, b: Reg, unit: int) -> list[Reg]:
        """The low halves of all parts, interleaved in runs of ``unit`` lanes, and the high ones."""
        found = []
        for start in (0, size // 2):
            order = []
            for part in range(parts):
                for run in range(0, size // 2, unit):
                    first = part * size + start + run
                    order += [*range(first, first + unit), *range(a.lanes + first, a.lanes + first + unit)]
            found.append(f.shuffle(a, order, b))
        return found

    if size == 2:
        block = halves(block[0], block[1], 1)
    elif size == 4:
        (a, b), (c, d) = halves(block[0], block[1], 1), halves(block[2], block[3], 1)
        block = halves(a, c, 2) + halves(b, d, 2)
    return block


def _join(f: Function, parts: list[Reg]) -> Reg:
    """Short vectors (a power of two of them) one after the other, as one."""
    while len(parts) > 1:
        parts = [
            f.shuffle(low, range(2 * low.lanes), high) for low, high in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


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
        values = _multiply(f, plan, a, b, scratch, row, rows, column, vectors)
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


def _last(f: Function, blocks: int, index: Reg) -> contextmanager:  # type: ignore
    return nullcontext() if blocks == 1 else f.when(f.compare("eq", index, blocks - 1))


def _multiply(
    f: Function,
    plan: Plan,
    a: Reg,
    b: Reg,
    scratch: Reg,
    row: Reg,
    rows: int,
    column: Reg,
    vectors: list[tuple[int, int, int]],
) -> list[list[Reg]]:
    """The sums of one tile, over all of k."""
    product = plan.product
    element, k = product.element, product.k
    if plan.pack_b:
        b, b_step = f.at(scratch, element, f.mul(column, plan.depth)), plan.width
    else:
        b, b_step = f.at(b, element, column), product.n
    if plan.pack_a:
        a = f.at(scratch, element, plan.b_panels * plan.width * plan.depth)
        a = f.at(a, element, f.mul(f.binary("udiv", row, plan.rows), k * plan.a_step))
        a_step, row_step = plan.a_step, 1
    else:
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
            wide = {lanes: f.splat(scalar, lanes) for lanes in {value.lanes for value in columns}}
            for j, value in enumerate(columns):
                at = base + i * len(vectors) + j
                sums[at] = f.muladd(wide[value.lanes], value, sums[at])

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
