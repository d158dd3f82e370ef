"""Short rows, many at a time: one lane per row, one register per column.

Row by row, a softmax over ten classes fills ten of sixteen lanes, and its sum has to be folded across lanes.
Transposed, sixteen rows fill all lanes of ten registers. A sum over the row is then nine additions, and a row value
is a full vector. Shuffles transpose the rows after the loads and before the stores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from glassgrad.backends.native.ir.transpose import transpose, transpose_back
from glassgrad.backends.native.ir.types import ELEMENT, SIZE, Reg, vector
from glassgrad.backends.native.kernels.elementwise import ELEMENTWISE, convert
from glassgrad.backends.native.kernels.evaluator import Evaluator
from glassgrad.backends.native.kernels.memory_access import address, load, store
from glassgrad.backends.native.kernels.reductions import combine
from glassgrad.backends.native.math.functions import FUNCTIONS
from glassgrad.backends.native.plan.fusion import Kind, access
from glassgrad.backends.native.plan.memory import Buffer, memory_of
from glassgrad.graph.node import Node, Value

LOOPED = 4  # columns from which on the code of a function is emitted once, in a loop
Accumulate = Callable[[Node, int, Reg], None]


class ShortRows:
    """The code of a group on ``lanes`` rows, from row ``start`` on."""

    def __init__(self, evaluator: Evaluator, start: Reg, lanes: int) -> None:
        self.evaluator, self.start, self.lanes = evaluator, start, lanes
        self.f, self.group = evaluator.f, evaluator.group
        self.columns = self.group.columns
        self.matrices: dict[Value, list[Reg]] = {}  # by column
        self.rows: dict[Value, Reg] = {}

    def run(
        self,
        kinds: Mapping[Node, Kind | None],
        readers: Mapping[Node, Kind | None],
        accumulate: Accumulate,
    ) -> None:
        """Emit all nodes of the group; sums over rows go to ``accumulate(node, column, vector)``."""
        for node in self.group.nodes:
            (value,) = node.outputs
            kind, reader = kinds[node], readers[node]
            if kind == "m":
                self.matrices[value] = self._computed(node)
                if value in self.evaluator.outputs:
                    self._store(value)
            elif kind == "r" and reader == "m":
                parts = [self._read(node.inputs[0], "m", j) for j in range(self.columns)]
                self.rows[value] = self._reduced(node, parts)
                self._store_row(value)
            elif kind == "r":
                arguments = [self._read(item, "r", 0) for item in node.inputs]
                self.rows[value] = ELEMENTWISE[node.op.name](self.f, node, arguments)
                self._store_row(value)
            elif kind == "c":
                for j in range(self.columns):
                    accumulate(node, j, self._read(node.inputs[0], "m", j))
            elif reader == "m":
                parts = [self._read(node.inputs[0], "m", j) for j in range(self.columns)]
                accumulate(node, 0, self._reduced(node, parts))
            else:
                accumulate(node, 0, self._read(node.inputs[0], "r", 0))

    def _computed(self, node: Node) -> list[Reg]:
        """All columns of an m node. A function such as exp is emitted once, in a loop, to save code."""
        columns = range(self.columns)
        if node.op.name not in FUNCTIONS or len(node.inputs) > 1 or self.columns < LOOPED:
            return [self._compute(node, j) for j in columns]
        f, arguments = self.f, [self._read(node.inputs[0], "m", j) for j in columns]
        kind, align = arguments[0].type, self.lanes * SIZE[node.types[0].dtype]
        slots = f.alloca(kind, self.columns)
        for j in columns:
            f.store(arguments[j], f.at(slots, kind, j), align)
        with f.loop(self.columns) as column:
            slot = f.at(slots, kind, column)
            f.store(ELEMENTWISE[node.op.name](f, node, [f.load(kind, slot, align)]), slot, align)
        return [f.load(kind, f.at(slots, kind, j), align) for j in columns]

    def _compute(self, node: Node, column: int) -> Reg:
        f = self.f
        if node.op.name == "one_hot":
            same = f.compare("eq", self._read(node.inputs[0], "r", 0), column)
            return convert(f, same, "bool", node.types[0].dtype)
        if node.op.name == "iota":
            number = f.number(f"<{self.lanes} x i32>", column)
            return convert(f, number, "int32", node.types[0].dtype)
        return ELEMENTWISE[node.op.name](f, node, [self._read(item, "m", column) for item in node.inputs])

    def _reduced(self, node: Node, parts: list[Reg]) -> Reg:
        """All columns combined, as a balanced tree."""
        while len(parts) > 1:
            pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
            parts = [combine(self.f, node, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return parts[0]

    # --- loads ---------------------------------------------------------------------------------------------

    def _read(self, value: Value, reader: Kind, column: int) -> Reg:
        f, source = self.f, self.evaluator.source(value)
        if source.number is not None:
            return f.number(f"<{self.lanes} x {ELEMENT[value.dtype]}>", source.number)
        origin = source.value
        kind = access(self.group, reader, source)
        if kind == "s":
            return f.splat(self.evaluator.scalar(origin), self.lanes)
        if kind == "r":
            if origin not in self.rows:
                pointer = address(f, self.evaluator.locate(memory_of(origin)), self.start)
                self.rows[origin] = load(f, pointer, origin.dtype, self.lanes)
            return self.rows[origin]
        if kind == "c":
            pointer = address(f, self.evaluator.locate(memory_of(origin)), column)
            return f.splat(load(f, pointer, origin.dtype, 1), self.lanes)
        if origin not in self.matrices:
            self.matrices[origin] = self._load(origin)
        return self.matrices[origin][column]

    def _load(self, value: Value) -> list[Reg]:
        """The block of a matrix in memory, transposed: lane i of column j is element i * columns + j.

        The block is loaded and transposed in pieces of 16 bytes. The last piece of a row may reach past the end of
        the row. Bools are transposed as the bytes that they are in memory: LLVM shuffles bits slowly, and at level 1
        sometimes wrongly.
        """
        f, buffer = self.f, self.evaluator.locate(memory_of(value))
        size, is_bool = self._piece_lanes(value), value.dtype == "bool"
        kind = vector("i8" if is_bool else ELEMENT[value.dtype], size)
        columns: list[Reg] = []
        for j in range(0, self.columns, size):
            pointers = [self._element_address(buffer, i, j) for i in range(self.lanes)]
            columns += transpose(f, [f.load(kind, pointer, SIZE[value.dtype]) for pointer in pointers])
        del columns[self.columns :]
        return [f.compare("ne", column, 0) for column in columns] if is_bool else columns

    def _piece_lanes(self, value: Value) -> int:
        """The lanes of a piece."""
        return min(self.lanes, 16 // SIZE[value.dtype] if value.dtype != "bool" else 4)

    def _element_address(self, buffer: Buffer, row: int, column: int) -> Reg:
        """The address of element (``row``, ``column``) of the block."""
        first = self.f.mul(self.start, self.columns)
        return address(self.f, buffer, first, row * self.columns + column)

    # --- stores --------------------------------------------------------------------------------------------

    def _store(self, value: Value) -> None:
        f, buffer, size = self.f, self.evaluator.locate(value), self._piece_lanes(value)
        columns = self.matrices[value]
        if value.dtype == "bool":
            columns = [f.cast("zext", column, "i8") for column in columns]
        for j in range(0, self.columns, size):
            part = columns[j : j + size]
            valid = len(part)
            pieces = transpose_back(f, part + part[-1:] * (size - valid))
            for i, piece in enumerate(pieces):
                lanes = piece if valid == size else f.shuffle(piece, range(valid))
                f.store(lanes, self._element_address(buffer, i, j), SIZE[value.dtype])

    def _store_row(self, value: Value) -> None:
        if value in self.evaluator.outputs:
            pointer = address(self.f, self.evaluator.locate(value), self.start)
            store(self.f, self.rows[value], pointer, value.dtype, self.lanes)
