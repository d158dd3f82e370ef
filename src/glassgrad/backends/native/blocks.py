"""Short rows, many at a time: one lane per row, one register per column.

A softmax over ten classes fills ten of sixteen lanes, and its sum has to be folded across them. Turned by a
quarter, sixteen rows fill every lane of ten registers; a sum over the row is nine additions, and what there is
once per row is a full vector. The turning is done with shuffles, on the way in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from glassgrad.backends.native.cells import Evaluator, address, combine, load, store
from glassgrad.backends.native.elements import ELEMENT, ELEMENTWISE, convert
from glassgrad.backends.native.fusion import Group, Kind, access
from glassgrad.backends.native.ir import Reg
from glassgrad.backends.native.memory import memory_of
from glassgrad.graph.node import Node, Value

MOST_COLUMNS = 16
Accumulate = Callable[[Node, int, Reg], None]


class Block:
    """``lanes`` rows, from row ``start`` on."""

    def __init__(self, evaluator: Evaluator, start: Reg, lanes: int) -> None:
        self.ev, self.start, self.lanes = evaluator, start, lanes
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
        """All nodes of the group; sums over rows go to ``accumulate(node, column, vector)``."""
        for node in self.group.nodes:
            (value,) = node.outputs
            kind, reader = kinds[node], readers[node]
            if kind == "m":
                self.matrices[value] = [self._compute(node, j) for j in range(self.columns)]
                if value in self.ev.outputs:
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
        """All columns combined, in a tree."""
        while len(parts) > 1:
            pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
            parts = [combine(self.f, node, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return parts[0]

    # --- in ------------------------------------------------------------------------------------------------

    def _read(self, value: Value, reader: Kind, column: int) -> Reg:
        f, source = self.f, self.ev.source(value)
        if source.number is not None:
            return f.number(f"<{self.lanes} x {ELEMENT[value.dtype]}>", source.number)
        found = source.value
        kind = access(self.group, reader, source)
        if kind == "s":
            return f.splat(self.ev.scalar(found), self.lanes)
        if kind == "r":
            if found not in self.rows:
                where = address(f, self.ev.locate(memory_of(found)), self.start)
                self.rows[found] = load(f, where, found.dtype, self.lanes)
            return self.rows[found]
        if kind == "c":
            where = address(f, self.ev.locate(memory_of(found)), column)
            return f.splat(load(f, where, found.dtype, 1), self.lanes)
        if found not in self.matrices:
            self.matrices[found] = self._load(found)
        return self.matrices[found][column]

    def _load(self, value: Value) -> list[Reg]:
        """The block of a matrix in memory, turned: lane i of column j is element i * columns + j."""
        f, buffer, lanes = self.f, self.ev.locate(memory_of(value)), self.lanes
        first = f.mul(self.start, self.columns)
        lines = [
            load(f, address(f, buffer, f.add(first, k * lanes)), value.dtype, lanes)
            for k in range(self.columns)
        ]
        return [
            self._pick(lines, [divmod(i * self.columns + j, lanes) for i in range(lanes)])
            for j in range(self.columns)
        ]

    def _pick(self, lines: Sequence[Reg], wanted: Sequence[tuple[int, int]]) -> Reg:
        """A vector of which lane i is lane ``wanted[i][1]`` of register ``wanted[i][0]``."""
        f, lanes = self.f, self.lanes
        first, *others = sorted({line for line, _ in wanted})
        result = f.shuffle(lines[first], [lane if line == first else 0 for line, lane in wanted])
        for other in others:
            order = [lanes + lane if line == other else i for i, (line, lane) in enumerate(wanted)]
            result = f.shuffle(result, order, lines[other])
        return result

    # --- out -----------------------------------------------------------------------------------------------

    def _store(self, value: Value) -> None:
        f, buffer, lanes = self.f, self.ev.locate(value), self.lanes
        first = f.mul(self.start, self.columns)
        for k in range(self.columns):
            spots = [divmod(k * lanes + lane, self.columns) for lane in range(lanes)]
            line = self._pick(self.matrices[value], [(column, row) for row, column in spots])
            store(f, line, address(f, buffer, f.add(first, k * lanes)), value.dtype, lanes)

    def _store_row(self, value: Value) -> None:
        if value in self.ev.outputs:
            where = address(self.f, self.ev.locate(value), self.start)
            store(self.f, self.rows[value], where, value.dtype, self.lanes)


def is_turned(group: Group, rows: int, lanes: int) -> bool:
    """Whether a group is better done by blocks: short rows that are reduced, and enough of them."""
    reduces = any(node.op.name in ("sum", "max") and group.kind_of(node) == "r" for node in group.nodes)
    return reduces and 2 <= group.columns <= MOST_COLUMNS and rows >= lanes > 1
