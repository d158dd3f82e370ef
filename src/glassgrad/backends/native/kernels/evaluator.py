"""Loads, computes and stores the values of a group, one vector of a row at a time. Epilogues use it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.panels import in_panel
from glassgrad.backends.native.ir.types import ELEMENT, Reg, vector
from glassgrad.backends.native.kernels.elementwise import ELEMENTWISE, convert
from glassgrad.backends.native.kernels.memory_access import Locate, address, load, store
from glassgrad.backends.native.plan.fusion import Group, Kind, Source, access, look_through
from glassgrad.backends.native.plan.memory import Buffer, memory_of
from glassgrad.graph.node import Node, Value


@dataclass(eq=False)
class Row:
    """One row: its number is ``index + below``; ``values`` are the row values computed or loaded so far."""

    index: Reg
    values: dict[Value, Reg] = field(default_factory=dict)
    below: int = 0


@dataclass(eq=False)
class Segment:
    """One vector of a row: its first column is ``column + right``, and ``count`` of its ``lanes`` are valid.

    ``values`` are the values computed or loaded so far. The segments of a tile differ only by constants (``below``
    and ``right``), so a tile computes one address per matrix, and its segments lie at constant offsets from it.
    """

    row: Row
    column: Reg
    lanes: int
    count: int
    values: dict[Value, Reg] = field(default_factory=dict)
    columns: dict[Value, Reg] = field(default_factory=dict)  # column values, shared by the rows of a tile
    right: int = 0


class Evaluator:
    """Computes the nodes of a group, segment by segment."""

    def __init__(self, f: Function, group: Group, locate: Locate, outputs: Sequence[Value]) -> None:
        self.f, self.group, self.locate = f, group, locate
        self.outputs = outputs
        self.inside = {value for node in group.nodes for value in node.outputs}
        self.scalars: dict[Value, Reg] = {}
        self.sources: dict[Value, Source] = {}

    def hoist(self) -> None:
        """Load all scalars that the group reads; called before the loops."""
        for node in self.group.nodes:
            for value in node.inputs if node.op.name != "matmul" else ():
                source = self.source(value)
                memory = source.value
                if source.number is None and memory not in self.inside and not source.kept:
                    self.scalar(memory)

    def source(self, value: Value) -> Source:
        """The source that ``value`` is read from, cached."""
        if value not in self.sources:
            self.sources[value] = look_through(value)
        return self.sources[value]

    def scalar(self, value: Value) -> Reg:
        """The scalar ``value``, loaded from memory once."""
        if value not in self.scalars:
            buffer = self.locate(memory_of(value))
            self.scalars[value] = load(self.f, address(self.f, buffer), value.dtype, 1)
        return self.scalars[value]

    # --- reading -------------------------------------------------------------------------------------

    def read(self, value: Value, reader: Kind, row: Row, segment: Segment | None) -> Reg:
        """``value`` as a node of kind ``reader`` reads it: a vector for m, a scalar for r."""
        f, source = self.f, self.source(value)
        lanes = segment.lanes if reader == "m" and segment is not None else 1
        if source.number is not None:
            return f.number(vector(ELEMENT[value.dtype], lanes), source.number)
        origin = source.value
        kind = access(self.group, reader, source)
        if kind == "s":
            return f.splat(self.scalar(origin), lanes)
        if kind == "r":
            if origin not in row.values:
                buffer = self.locate(memory_of(origin))
                row.values[origin] = load(f, address(f, buffer, row.index, row.below), origin.dtype, 1)
            return f.splat(row.values[origin], lanes)
        assert segment is not None
        if kind == "c":
            if origin not in segment.columns:
                buffer = self.locate(memory_of(origin))
                pointer = address(f, buffer, segment.column, segment.right)
                segment.columns[origin] = load(f, pointer, origin.dtype, lanes)
            return segment.columns[origin]
        if origin not in segment.values:
            buffer = self.locate(memory_of(origin))
            segment.values[origin] = load(f, self.segment_address(buffer, segment), origin.dtype, lanes)
        return segment.values[origin]

    def segment_address(self, buffer: Buffer, segment: Segment) -> Reg:
        """The address of a segment's first element."""
        f, columns, row = self.f, self.group.columns, segment.row
        if self.group.rows == 1:
            return address(f, buffer, segment.column, segment.right)
        if buffer.panel:
            index = f.add(
                in_panel(f, buffer.panel, self.group.rows, segment.column), f.mul(row.index, buffer.panel)
            )
            return address(f, buffer, index, row.below * buffer.panel + segment.right)
        index = f.add(f.mul(row.index, columns), segment.column)
        return address(f, buffer, index, row.below * columns + segment.right)

    # --- computing -----------------------------------------------------------------------------------

    def compute(self, node: Node, row: Row, segment: Segment) -> None:
        """Compute an m node in one segment."""
        f = self.f
        (value,) = node.outputs
        if node.op.name == "one_hot":
            index = self.read(node.inputs[0], "r", row, None)
            same = f.compare("eq", f.splat(index, segment.lanes), self.column_numbers(segment))
            segment.values[value] = convert(f, same, "bool", value.dtype)
        elif node.op.name == "iota":
            segment.values[value] = convert(f, self.column_numbers(segment), "int32", value.dtype)
        else:
            arguments = [self.read(item, "m", row, segment) for item in node.inputs]
            segment.values[value] = ELEMENTWISE[node.op.name](f, node, arguments)

    def compute_row(self, node: Node, row: Row) -> None:
        """Compute an r node in one row."""
        arguments = [self.read(item, "r", row, None) for item in node.inputs]
        row.values[node.outputs[0]] = ELEMENTWISE[node.op.name](self.f, node, arguments)

    def column_numbers(self, segment: Segment) -> Reg:
        """The column number of each lane, int32."""
        f = self.f
        first = f.cast("trunc", f.add(segment.column, segment.right), "i32")
        return f.add(f.splat(first, segment.lanes), f.iota("i32", segment.lanes))

    def save(self, value: Value, row: Row, segment: Segment) -> None:
        """Store an m value of one segment, if it is an output of the kernel."""
        if value in self.outputs:
            pointer = self.segment_address(self.locate(value), segment)
            store(self.f, segment.values[value], pointer, value.dtype, segment.count)

    def save_row(self, value: Value, row: Row) -> None:
        """Store an r value of one row, if it is an output of the kernel."""
        if value in self.outputs:
            pointer = address(self.f, self.locate(value), row.index, row.below)
            store(self.f, row.values[value], pointer, value.dtype, 1)
