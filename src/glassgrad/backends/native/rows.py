"""Stage 3, the common kernel: elementwise work and reductions over rows and columns, in explicit vectors.

Also the epilogue of a matrix product, which is the same work on a tile that is still in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from glassgrad.backends.native.elements import ELEMENT, ELEMENTWISE, SIZE, convert
from glassgrad.backends.native.fusion import ROW_VECTORS, Group, Kind, Source, access, canonical, look_through
from glassgrad.backends.native.ir import Function, Reg, vector
from glassgrad.backends.native.memory import Buffer, memory_of
from glassgrad.graph.node import DType, Node, Value

ARENA = Reg("%arena", "ptr")
FLAT_UNROLL = 2
BLOCK = 8192  # elements that one unit of work has at least

Locate = Callable[[Value], Buffer]


@dataclass(eq=False)
class Row:
    """One row: its number, and the row values computed or loaded so far."""

    index: Reg
    values: dict[Value, Reg] = field(default_factory=dict)


@dataclass(eq=False)
class Cell:
    """One vector of a row: its first column, its lanes, how many of them exist, and the values so far."""

    row: Row
    column: Reg
    lanes: int
    count: int
    values: dict[Value, Reg] = field(default_factory=dict)
    columns: dict[Value, Reg] = field(default_factory=dict)  # column values, shared by the rows of a tile
    index: Reg | None = None


def address(f: Function, buffer: Buffer, index: Reg | int | None = None) -> Reg:
    """The address of element ``index`` of ``buffer``."""
    base = f.at(ARENA, "i8", buffer.offset)
    if index is None:
        return base
    return f.at(base, "i8" if buffer.type.dtype == "bool" else ELEMENT[buffer.type.dtype], index)


def load(f: Function, where: Reg, dtype: DType, lanes: int) -> Reg:
    """``lanes`` elements from memory; a bool is a byte there and a bit in a register."""
    if dtype != "bool":
        return f.load(vector(ELEMENT[dtype], lanes), where, SIZE[dtype])
    return f.compare("ne", f.load(vector("i8", lanes), where, 1), 0)


def store(f: Function, value: Reg, where: Reg, dtype: DType, count: int) -> None:
    """The first ``count`` lanes of ``value`` to memory."""
    if dtype == "bool":
        value = f.cast("zext", value, "i8")
    if count == value.lanes:
        f.store(value, where, SIZE[dtype])
    else:
        f.masked_store(value, where, f.lane_mask(value.lanes, count), SIZE[dtype])


class Evaluator:
    """Computes the nodes of a group, cell by cell."""

    def __init__(self, f: Function, group: Group, locate: Locate, outputs: Sequence[Value]) -> None:
        self.f, self.group, self.locate = f, group, locate
        self.outputs = outputs
        self.inside = {value for node in group.nodes for value in node.outputs}
        self.scalars: dict[Value, Reg] = {}
        self.sources: dict[Value, Source] = {}

    def hoist(self, skip: Sequence[Value] = ()) -> None:
        """Load every scalar that the group reads, before the loops."""
        for node in self.group.nodes:
            for value in node.inputs if node.op.name != "matmul" else ():
                source = self.source(value)
                memory = source.value
                if source.number is None and memory not in self.inside and not source.kept:
                    self.scalar(memory)

    def source(self, value: Value) -> Source:
        if value not in self.sources:
            self.sources[value] = look_through(value)
        return self.sources[value]

    def scalar(self, value: Value) -> Reg:
        if value not in self.scalars:
            buffer = self.locate(memory_of(value))
            self.scalars[value] = load(self.f, address(self.f, buffer), value.dtype, 1)
        return self.scalars[value]

    # --- reading -------------------------------------------------------------------------------------

    def read(self, value: Value, reader: Kind, row: Row, cell: Cell | None) -> Reg:
        """``value`` as a node of kind ``reader`` sees it: a vector for m, a scalar for r."""
        f, source = self.f, self.source(value)
        lanes = cell.lanes if reader == "m" and cell is not None else 1
        if source.number is not None:
            return f.number(vector(ELEMENT[value.dtype], lanes), source.number)
        found = source.value
        kind = access(self.group, reader, source)
        if kind == "s":
            return f.splat(self.scalar(found), lanes)
        if kind == "r":
            if found not in row.values:
                buffer = self.locate(memory_of(found))
                row.values[found] = load(f, address(f, buffer, row.index), found.dtype, 1)
            return f.splat(row.values[found], lanes)
        assert cell is not None
        if kind == "c":
            if found not in cell.columns:
                buffer = self.locate(memory_of(found))
                cell.columns[found] = load(f, address(f, buffer, cell.column), found.dtype, lanes)
            return cell.columns[found]
        if found not in cell.values:
            buffer = self.locate(memory_of(found))
            cell.values[found] = load(f, address(f, buffer, self.index(cell)), found.dtype, lanes)
        return cell.values[found]

    def index(self, cell: Cell) -> Reg:
        """The position of a cell's first element."""
        if cell.index is None:
            columns = self.group.columns
            if self.group.rows == 1:
                cell.index = cell.column
            else:
                cell.index = self.f.add(self.f.mul(cell.row.index, columns), cell.column)
        return cell.index

    # --- computing -----------------------------------------------------------------------------------

    def compute(self, node: Node, row: Row, cell: Cell) -> None:
        """An m node in one cell."""
        f = self.f
        (value,) = node.outputs
        if node.op.name == "one_hot":
            index = self.read(node.inputs[0], "r", row, None)
            same = f.compare("eq", f.splat(index, cell.lanes), self.column_numbers(cell))
            cell.values[value] = convert(f, same, "bool", value.dtype)
        elif node.op.name == "iota":
            cell.values[value] = convert(f, self.column_numbers(cell), "int32", value.dtype)
        else:
            arguments = [self.read(item, "m", row, cell) for item in node.inputs]
            cell.values[value] = ELEMENTWISE[node.op.name](f, node, arguments)

    def compute_row(self, node: Node, row: Row) -> None:
        """An r node."""
        arguments = [self.read(item, "r", row, None) for item in node.inputs]
        row.values[node.outputs[0]] = ELEMENTWISE[node.op.name](self.f, node, arguments)

    def column_numbers(self, cell: Cell) -> Reg:
        """The column of every lane, int32."""
        f = self.f
        first = f.cast("trunc", cell.column, "i32")
        return f.add(f.splat(first, cell.lanes), f.iota("i32", cell.lanes))

    def save(self, value: Value, row: Row, cell: Cell) -> None:
        """Store an m value of one cell where it is needed in memory."""
        if value in self.outputs:
            where = address(self.f, self.locate(value), self.index(cell))
            store(self.f, cell.values[value], where, value.dtype, cell.count)

    def save_row(self, value: Value, row: Row) -> None:
        """Store an r value."""
        if value in self.outputs:
            where = address(self.f, self.locate(value), row.index)
            store(self.f, row.values[value], where, value.dtype, 1)


def combine(f: Function, node: Node, a: Reg, b: Reg) -> Reg:
    """One step of a reduction."""
    if node.op.name == "sum":
        return f.fadd(a, b) if node.types[0].is_float else f.add(a, b)
    if node.types[0].is_float:
        return f.select(f.or_(f.compare("ogt", a, b), f.compare("uno", a, a)), a, b)
    return f.select(f.compare("sgt" if node.types[0].dtype == "int32" else "ugt", a, b), a, b)


def identity(f: Function, node: Node, kind: str) -> Reg:
    """What a reduction starts from."""
    if node.op.name == "sum":
        return f.number(kind, 0)
    starts = {"float32": -float("inf"), "float64": -float("inf"), "int32": -(2**31), "uint32": 0}
    return f.number(kind, starts[node.types[0].dtype])


def group_lanes(group: Group, vector_bytes: int) -> int:
    """The lanes of a group's vectors: a full vector of its widest number."""
    widest = 4
    for node in group.nodes:
        for value in (*node.outputs, *(node.inputs if node.op.name != "matmul" else ())):
            widest = max(widest, SIZE[value.dtype])
    return vector_bytes // widest


@dataclass(frozen=True)
class Layout:
    """How the space of a group is walked."""

    rows: int
    columns: int
    lanes: int
    flat: bool
    in_registers: bool
    units: int
    block: int  # rows (or, if flat, elements) in one unit


def lay_out(group: Group, vector_bytes: int) -> Layout:
    """Choose how to walk: all elements in one line where no node knows rows from columns."""
    lanes = group_lanes(group, vector_bytes)
    kinds = {group.kind_of(node) for node in group.nodes}
    flat = kinds <= {"m", "s"} and not any(node.op.name in ("one_hot", "iota") for node in group.nodes)
    for node in group.nodes:
        for value in node.inputs:
            source = look_through(value)
            rank = len(canonical(value.shape))
            flat = flat and (source.number is not None or len(source.kept) in (0, rank))
    accumulates = bool(kinds & {"c", "s"} and any(_is_reduction(node) for node in group.nodes))
    rows, columns = (1, group.rows * group.columns) if flat else (group.rows, group.columns)
    span = columns if flat else rows
    block = max(1, -(-BLOCK // lanes) * lanes if flat else -(-BLOCK // columns))
    units = (
        1
        if any(group.kind_of(n) in ("c", "s") and _is_reduction(n) for n in group.nodes) and accumulates
        else -(-span // block)
    )
    return Layout(
        rows, columns, lanes, flat, columns <= ROW_VECTORS * lanes, units, block if units > 1 else span
    )


def _is_reduction(node: Node) -> bool:
    return node.op.name in ("sum", "max")


def emit_rows(
    f: Function, group: Group, layout: Layout, locate: Locate, outputs: Sequence[Value], first: Reg, last: Reg
) -> None:
    """The whole kernel: units ``first`` to ``last`` of the group's space."""
    _Rows(f, group, layout, locate, outputs).emit(first, last)


class _Rows:
    def __init__(
        self, f: Function, group: Group, layout: Layout, locate: Locate, outputs: Sequence[Value]
    ) -> None:
        self.f, self.layout = f, layout
        self.group = Group(group.kind, (layout.columns,), group.nodes) if layout.flat else group
        self.kinds = {node: group.kind_of(node) for node in group.nodes}
        self.readers = {node: self._reader(group, node) for node in group.nodes}
        if layout.flat:  # every m and the one full reduction keep their kinds in the single long row
            self.ev = _FlatEvaluator(f, self.group, locate, outputs)
        else:
            self.ev = Evaluator(f, self.group, locate, outputs)
        self.outputs = outputs
        self.slots: dict[tuple[Node, int], Reg] = {}

    @staticmethod
    def _reader(group: Group, node: Node) -> Kind | None:
        return group.kind_of_shape(canonical(node.inputs[0].shape)) if _is_reduction(node) else None

    # --- accumulators --------------------------------------------------------------------------------

    def _slot(self, node: Node, place: int, lanes: int) -> Reg:
        """The accumulator of a reduction; ``place`` tells those of several columns apart."""
        key = (node, place)
        if key not in self.slots:
            self.slots[key] = self.f.alloca(vector(ELEMENT[node.types[0].dtype], lanes))
        return self.slots[key]

    def _clear(self, node: Node, place: int, lanes: int) -> None:
        slot = self._slot(node, place, lanes)
        self.f.store(identity(self.f, node, vector(ELEMENT[node.types[0].dtype], lanes)), slot, 64)

    def _accumulate(self, node: Node, place: int, given: Reg, count: int) -> None:
        f = self.f
        if count < given.lanes:
            given = f.select(f.lane_mask(given.lanes, count), given, identity(f, node, given.type))
        slot = self._slot(node, place, given.lanes)
        before = f.load(given.type, slot, 64)
        f.store(combine(f, node, before, given), slot, 64)

    def _folded(self, node: Node, place: int, lanes: int) -> Reg:
        f = self.f
        total = f.load(vector(ELEMENT[node.types[0].dtype], lanes), self._slot(node, place, lanes), 64)
        return f.fold_lanes(total, lambda a, b: combine(f, node, a, b))

    # --- the loops -----------------------------------------------------------------------------------

    def emit(self, first: Reg, last: Reg) -> None:
        f, layout = self.f, self.layout
        self.ev.hoist()
        lanes = layout.lanes
        full, rest = divmod(layout.columns, lanes)
        totals = [node for node in self.group.nodes if self.kinds[node] == "s" and _is_reduction(node)]
        sums = [node for node in self.group.nodes if self.kinds[node] == "c"]
        for node in totals:
            self._clear(node, 0, lanes if self.readers[node] == "m" else 1)
        for node in sums:
            if layout.in_registers:
                for place in range(full + (rest > 0)):
                    self._clear(node, place, lanes)
            else:
                self.f.clear(
                    address(f, self.ev.locate(node.outputs[0])), self.ev.locate(node.outputs[0]).size
                )
        if layout.flat:
            self._flat(first, last, full, rest)
        elif layout.units == 1:
            with f.loop(layout.rows) as row:
                self._row(Row(row), full, rest)
        else:
            begin, end = self._span(first, last, layout.rows)
            with f.loop(end, begin) as row:
                self._row(Row(row), full, rest)
        for node in totals:
            self._store_total(node)
        if layout.in_registers:
            for node in sums:
                self._store_sum(node, full, rest)

    def _span(self, first: Reg, last: Reg, stop: int) -> tuple[Reg, Reg]:
        f, block = self.f, self.layout.block
        end = f.mul(last, block)
        end = f.select(f.compare("ult", end, stop), end, stop)
        return f.mul(first, block), end

    def _flat(self, first: Reg, last: Reg, full: int, rest: int) -> None:
        f, layout, lanes = self.f, self.layout, self.layout.lanes
        row = Row(Reg("0", "i64"))
        if layout.units > 1:
            # Blocks are whole vectors; the last one may write into the slack behind the buffers.
            begin, end = self._span(first, last, layout.columns)
            with f.loop(end, begin, step=lanes) as column:
                self._cells(row, [Cell(row, column, lanes, lanes)])
            return
        reduces = any(_is_reduction(node) for node in self.group.nodes)
        if rest and not reduces:
            full, rest = full + 1, 0  # into the slack as well
        unroll = FLAT_UNROLL if full >= FLAT_UNROLL else 1
        whole = full // unroll * unroll
        if whole:
            with f.loop(whole * lanes, step=unroll * lanes) as column:
                cells = [
                    Cell(row, f.add(column, i * lanes) if i else column, lanes, lanes) for i in range(unroll)
                ]
                self._cells(row, cells)
        tail = [Cell(row, Reg(str(i * lanes), "i64"), lanes, lanes) for i in range(whole, full)]
        if rest:
            tail.append(Cell(row, Reg(str(full * lanes), "i64"), lanes, rest))
        if tail:
            self._cells(row, tail)

    def _row(self, row: Row, full: int, rest: int) -> None:
        f, lanes = self.f, self.layout.lanes
        if self.layout.in_registers:
            places = [(i, lanes) for i in range(full)] + ([(full, rest)] if rest else [])
            cells = [Cell(row, Reg(str(i * lanes), "i64"), lanes, count) for i, count in places]
            self._cells(row, cells)
            return
        early, late = self._split_rows()
        for node in early:
            self.ev.compute_row(node, row)
            self.ev.save_row(node.outputs[0], row)
        ends = [n for n in self.group.nodes if self.kinds[n] == "r" and self.readers[n] == "m"]
        for node in ends:
            self._clear(node, 0, lanes)
        if full:
            with f.loop(full * lanes, step=lanes) as column:
                self._cell_in_loop(row, Cell(row, column, lanes, lanes), ends)
        if rest:
            self._cell_in_loop(row, Cell(row, Reg(str(full * lanes), "i64"), lanes, rest), ends)
        for node in ends:
            row.values[node.outputs[0]] = self._folded(node, 0, lanes)
            self.ev.save_row(node.outputs[0], row)
        for node in late:
            self._row_node(node, row)

    def _split_rows(self) -> tuple[list[Node], list[Node]]:
        """The r nodes that can be computed before the columns of a long row, and those that come after."""
        early: list[Node] = []
        late: list[Node] = []
        ended = {n for n in self.group.nodes if self.kinds[n] == "r" and self.readers[n] == "m"}
        for node in self.group.nodes:
            if self.kinds[node] == "r" and node not in ended:
                behind = [look_through(value).value.node for value in node.inputs]
                (late if any(b in ended or b in late for b in behind) else early).append(node)
            elif self.kinds[node] == "s" and self.readers[node] == "r":
                late.append(node)
        return early, late

    def _row_node(self, node: Node, row: Row) -> None:
        if _is_reduction(node):  # of a row value, over all rows
            self._accumulate(node, 0, self.ev.read(node.inputs[0], "r", row, None), 1)
        else:
            self.ev.compute_row(node, row)
            self.ev.save_row(node.outputs[0], row)

    def _cell_in_loop(self, row: Row, cell: Cell, ends: Sequence[Node]) -> None:
        f = self.f
        known = dict(row.values)  # what is loaded inside the loop must not be used behind it
        for node in self.group.nodes:
            kind = self.kinds[node]
            if kind == "m":
                self.ev.compute(node, row, cell)
                self.ev.save(node.outputs[0], row, cell)
            elif self.readers[node] == "m":
                given = self.ev.read(node.inputs[0], "m", row, cell)
                if kind == "c":
                    where = address(f, self.ev.locate(node.outputs[0]), cell.column)
                    total = combine(f, node, load(f, where, node.types[0].dtype, cell.lanes), given)
                    store(f, total, where, node.types[0].dtype, cell.count)
                else:
                    self._accumulate(node, 0, given, cell.count)
        row.values.clear()
        row.values.update(known)

    def _cells(self, row: Row, cells: Sequence[Cell]) -> None:
        """All nodes, in order, on cells that are a whole row (or a part of the one flat row)."""
        f = self.f
        for node in self.group.nodes:
            kind = self.kinds[node]
            if kind == "m" or (kind == "s" and not _is_reduction(node)):
                for cell in cells:
                    self.ev.compute(node, row, cell)
                    self.ev.save(node.outputs[0], row, cell)
            elif self.readers[node] == "m" and kind == "r":
                parts = []
                for cell in cells:
                    given = self.ev.read(node.inputs[0], "m", row, cell)
                    if cell.count < cell.lanes:
                        given = f.select(
                            f.lane_mask(cell.lanes, cell.count), given, identity(f, node, given.type)
                        )
                    parts.append(given)
                total = parts[0]
                for part in parts[1:]:
                    total = combine(f, node, total, part)
                row.values[node.outputs[0]] = f.fold_lanes(total, lambda a, b, n=node: combine(f, n, a, b))
                self.ev.save_row(node.outputs[0], row)
            elif self.readers[node] == "m":
                for place, cell in enumerate(cells):
                    given = self.ev.read(node.inputs[0], "m", row, cell)
                    self._accumulate(node, place if kind == "c" else 0, given, cell.count)
            else:
                self._row_node(node, row)

    # --- results of whole kernels ----------------------------------------------------------------------

    def _store_total(self, node: Node) -> None:
        (value,) = node.outputs
        lanes = self.layout.lanes if self.readers[node] == "m" else 1
        total = self._folded(node, 0, lanes)
        store(self.f, total, address(self.f, self.ev.locate(value)), value.dtype, 1)

    def _store_sum(self, node: Node, full: int, rest: int) -> None:
        f, (value,), lanes = self.f, node.outputs, self.layout.lanes
        kind = vector(ELEMENT[value.dtype], lanes)
        for place in range(full + (rest > 0)):
            total = f.load(kind, self._slot(node, place, lanes), 64)
            where = address(f, self.ev.locate(value), place * lanes)
            store(f, total, where, value.dtype, lanes if place < full else rest)


class _FlatEvaluator(Evaluator):
    """In one long row every m is read at its own position, and there are only scalars beside."""

    def read(self, value: Value, reader: Kind, row: Row, cell: Cell | None) -> Reg:
        assert cell is not None
        f, source = self.f, self.source(value)
        if source.number is not None:
            return f.number(vector(ELEMENT[value.dtype], cell.lanes), source.number)
        found = source.value
        if not source.kept and found not in self.inside:
            return f.splat(self.scalar(found), cell.lanes)
        if found not in cell.values:
            buffer = self.locate(memory_of(found))
            cell.values[found] = load(f, address(f, buffer, cell.column), found.dtype, cell.lanes)
        return cell.values[found]

    def index(self, cell: Cell) -> Reg:
        return cell.column


def tile_evaluator(f: Function, group: Group, locate: Locate, outputs: Sequence[Value]) -> Evaluator:
    """The evaluator of a product's epilogue, with its scalars loaded."""
    evaluator = Evaluator(f, group, locate, outputs)
    evaluator.hoist()
    return evaluator


def finish_tile(
    evaluator: Evaluator,
    product: Node,
    values: Sequence[Sequence[Reg]],
    row: Reg,
    column: Reg,
    vectors: Sequence[tuple[int, int, int]],
) -> None:
    """The epilogue on one tile: ``values[row][vector]``; ``vectors`` are (column offset, lanes, count)."""
    f = evaluator.f
    shared: list[dict[Value, Reg]] = [{} for _ in vectors]
    columns = [f.add(column, offset) if offset else column for offset, _, _ in vectors]
    for i, line in enumerate(values):
        here = Row(f.add(row, i) if i else row)
        for j, ((_, lanes, count), given) in enumerate(zip(vectors, line, strict=True)):
            cell = Cell(here, columns[j], lanes, count, {product.outputs[0]: given}, shared[j])
            for node in evaluator.group.nodes:
                if node is not product:
                    evaluator.compute(node, here, cell)
                evaluator.save(node.outputs[0], here, cell)


def kinds_of(group: Group) -> Mapping[Node, Kind | None]:
    """For ``inspect``: what each node is in the group's space."""
    return {node: group.kind_of(node) for node in group.nodes}
