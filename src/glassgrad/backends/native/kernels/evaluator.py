"""Reading, computing and storing the values of a group, a vector at a time; the epilogue of a product is this too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.panels import in_panel
from glassgrad.backends.native.ir.types import ELEMENT, SIZE, Reg, vector
from glassgrad.backends.native.kernels.elementwise import ELEMENTWISE, convert
from glassgrad.backends.native.math.functions import FUNCTIONS
from glassgrad.backends.native.plan.fusion import Group, Kind, Source, access, look_through
from glassgrad.backends.native.plan.memory import Buffer, memory_of
from glassgrad.graph.node import DType, Node, Value

LONG = 8  # operations of an epilogue from which on the rows of a tile are done in a loop
FUNCTION_WORK = 8  # operations that a function such as exp counts for, at least

ARENA = Reg("%arena", "ptr")

Locate = Callable[[Value], Buffer]


@dataclass(eq=False)
class Row:
    """One row: its number (``below`` more than ``index``), and the row values computed or loaded so far."""

    index: Reg
    values: dict[Value, Reg] = field(default_factory=dict)
    below: int = 0


@dataclass(eq=False)
class Cell:
    """One vector of a row: its first column, its lanes, how many of them exist, and the values so far.

    The column is ``right`` more than ``column``. The cells of a tile differ in numbers that are known only, so that
    the tile has one address in each matrix, and its cells lie at fixed distances from it.
    """

    row: Row
    column: Reg
    lanes: int
    count: int
    values: dict[Value, Reg] = field(default_factory=dict)
    columns: dict[Value, Reg] = field(default_factory=dict)  # column values, shared by the rows of a tile
    right: int = 0


def address(f: Function, buffer: Buffer, index: Reg | int = 0, more: int = 0) -> Reg:
    """The address of element ``index + more`` of ``buffer``."""
    element = "i8" if buffer.type.dtype == "bool" else ELEMENT[buffer.type.dtype]
    return f.at(f.at(f.place(buffer.offset), element, index), element, more)


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

    def hoist(self) -> None:
        """Load every scalar that the group reads, before the loops."""
        for node in self.group.nodes:
            for value in node.inputs if node.op.name != "matmul" else ():
                source = self.source(value)
                memory = source.value
                if source.number is None and memory not in self.inside and not source.kept:
                    self.scalar(memory)

    def source(self, value: Value) -> Source:
        """What ``value`` is read from; looked up once."""
        if value not in self.sources:
            self.sources[value] = look_through(value)
        return self.sources[value]

    def scalar(self, value: Value) -> Reg:
        """A scalar from memory; loaded once."""
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
                row.values[found] = load(f, address(f, buffer, row.index, row.below), found.dtype, 1)
            return f.splat(row.values[found], lanes)
        assert cell is not None
        if kind == "c":
            if found not in cell.columns:
                buffer = self.locate(memory_of(found))
                where = address(f, buffer, cell.column, cell.right)
                cell.columns[found] = load(f, where, found.dtype, lanes)
            return cell.columns[found]
        if found not in cell.values:
            buffer = self.locate(memory_of(found))
            cell.values[found] = load(f, self.place(buffer, cell), found.dtype, lanes)
        return cell.values[found]

    def place(self, buffer: Buffer, cell: Cell) -> Reg:
        """The address of a cell's first element."""
        f, columns, row = self.f, self.group.columns, cell.row
        if self.group.rows == 1:
            return address(f, buffer, cell.column, cell.right)
        if buffer.panel:
            first = f.add(
                in_panel(f, buffer.panel, self.group.rows, cell.column), f.mul(row.index, buffer.panel)
            )
            return address(f, buffer, first, row.below * buffer.panel + cell.right)
        first = f.add(f.mul(row.index, columns), cell.column)
        return address(f, buffer, first, row.below * columns + cell.right)

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
        first = f.cast("trunc", f.add(cell.column, cell.right), "i32")
        return f.add(f.splat(first, cell.lanes), f.iota("i32", cell.lanes))

    def save(self, value: Value, row: Row, cell: Cell) -> None:
        """Store an m value of one cell where it is needed in memory."""
        if value in self.outputs:
            where = self.place(self.locate(value), cell)
            store(self.f, cell.values[value], where, value.dtype, cell.count)

    def save_row(self, value: Value, row: Row) -> None:
        """Store an r value."""
        if value in self.outputs:
            where = address(self.f, self.locate(value), row.index, row.below)
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
    """The epilogue on one tile: ``values[row][vector]``; ``vectors`` are (column offset, lanes, count).

    Everything is read before anything is stored: a load of what a masked store has just touched waits for it.
    """
    nodes, f = evaluator.group.nodes, evaluator.f

    def finish(rows: Sequence[Row], lines: Sequence[Sequence[Reg]]) -> None:
        shared: list[dict[Value, Reg]] = [{} for _ in vectors]
        cells: list[Cell] = []
        for here, line in zip(rows, lines, strict=True):
            for (offset, lanes, count), given, known in zip(vectors, line, shared, strict=True):
                cell = Cell(here, column, lanes, count, {product.outputs[0]: given}, known, offset)
                for node in nodes:
                    if node is not product:
                        evaluator.compute(node, here, cell)
                cells.append(cell)
        for cell in cells:
            for node in nodes:
                evaluator.save(node.outputs[0], cell.row, cell)

    work = sum(FUNCTION_WORK if node.op.name in FUNCTIONS else 1 for node in nodes)
    if work < LONG or len(values) == 1 or any(lanes != count for _, lanes, count in vectors):
        finish([Row(row, below=i) for i in range(len(values))], values)
        return
    # Code for one row is enough, and faster: a tile of so many operations does not fit into the registers anyway.
    kinds = [value.type for value in values[0]]
    kept = [f.alloca(kind, len(values)) for kind in kinds]
    for i, given in enumerate(values):
        for value, place in zip(given, kept, strict=True):
            f.store(value, f.at(place, value.type, i))
    with f.loop(len(values)) as turn:
        line = [f.load(kind, f.at(place, kind, turn)) for kind, place in zip(kinds, kept, strict=True)]
        finish([Row(f.add(row, turn))], [line])
