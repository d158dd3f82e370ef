"""Kernels of rows: elementwise work and reductions over rows and columns, in explicit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import ELEMENT, Reg, vector
from glassgrad.backends.native.kernels.evaluator import Evaluator, Row, Segment
from glassgrad.backends.native.kernels.memory_access import Locate, address, load, store
from glassgrad.backends.native.kernels.reductions import combine, identity
from glassgrad.backends.native.kernels.short_rows import ShortRows
from glassgrad.backends.native.plan.fusion import (
    Group,
    Kind,
    canonical,
    is_reduction,
    look_through,
)
from glassgrad.backends.native.plan.memory import memory_of
from glassgrad.backends.native.plan.row_layout import RowLayout
from glassgrad.graph.node import Node, Value

FLAT_UNROLL = 2
_TRANSPOSED = 1000  # number of the first accumulator of transposed blocks


class RowKernel:
    """The code of a kernel of rows: elementwise work and reductions over the rows and columns of a group."""

    def __init__(
        self, f: Function, group: Group, layout: RowLayout, locate: Locate, outputs: Sequence[Value]
    ) -> None:
        self.f, self.layout = f, layout
        self.group = Group(group.kind, (layout.columns,), group.nodes) if layout.flat else group
        self.kinds = {node: group.kind_of(node) for node in group.nodes}
        self.readers = {node: self._reader(group, node) for node in group.nodes}
        # A flat kernel has one long row. Values of kind m and full reductions have the same kinds in it.
        kind: type[Evaluator] = _FlatEvaluator if layout.flat else Evaluator
        self.evaluator = kind(f, self.group, locate, outputs)
        self.outputs = outputs
        self.slots: dict[tuple[Node, int], Reg] = {}

    @staticmethod
    def _reader(group: Group, node: Node) -> Kind | None:
        return group.kind_of_shape(canonical(node.inputs[0].shape)) if is_reduction(node) else None

    # --- accumulators --------------------------------------------------------------------------------

    def _slot(self, node: Node, position: int, lanes: int) -> Reg:
        """The accumulator number ``position`` of a reduction (there may be one per column)."""
        key = (node, position)
        if key not in self.slots:
            self.slots[key] = self.f.alloca(vector(ELEMENT[node.types[0].dtype], lanes))
        return self.slots[key]

    def _clear(self, node: Node, position: int, lanes: int) -> None:
        slot = self._slot(node, position, lanes)
        self.f.store(identity(self.f, node, vector(ELEMENT[node.types[0].dtype], lanes)), slot, 64)

    def _accumulate(self, node: Node, position: int, value: Reg, count: int) -> None:
        """Add the first ``count`` lanes of ``value`` to an accumulator."""
        f = self.f
        if count < value.lanes:
            value = f.select(f.lane_mask(value.lanes, count), value, identity(f, node, value.type))
        slot = self._slot(node, position, value.lanes)
        total = f.load(value.type, slot, 64)
        f.store(combine(f, node, total, value), slot, 64)

    def _folded(self, node: Node, position: int, lanes: int) -> Reg:
        """All lanes of an accumulator combined into a scalar."""
        f = self.f
        total = f.load(vector(ELEMENT[node.types[0].dtype], lanes), self._slot(node, position, lanes), 64)
        return f.fold_lanes(total, lambda a, b: combine(f, node, a, b))

    # --- the loops -----------------------------------------------------------------------------------

    def emit(self, first: Reg, last: Reg) -> None:
        """Emit the kernel: units ``first`` to ``last`` (exclusive) of the group's space."""
        f, layout = self.f, self.layout
        self.evaluator.hoist()
        lanes = layout.lanes
        full, rest = divmod(layout.columns, lanes)
        totals = [node for node in self.group.nodes if self.kinds[node] == "s" and is_reduction(node)]
        sums = [node for node in self.group.nodes if self.kinds[node] == "c"]
        for node in totals:
            self._clear(node, 0, lanes if self.readers[node] == "m" else 1)
        for node in sums:
            if layout.in_registers:
                for position in range(full + (rest > 0)):
                    self._clear(node, position, lanes)
            else:
                self.f.clear(
                    address(f, self.evaluator.locate(node.outputs[0])),
                    self.evaluator.locate(node.outputs[0]).size,
                )
        if layout.flat:
            self._flat(first, last, full, rest)
        else:
            begin: Reg | int
            end: Reg | int
            begin, end = (0, layout.rows) if layout.units == 1 else self._span(first, last, layout.rows)
            if layout.transposed:
                begin = self._blocks(totals, sums, begin, end)
            if not (layout.transposed and layout.rows % lanes == 0):
                any_left = f.when(f.compare("ult", begin, end)) if isinstance(begin, Reg) else nullcontext()
                with any_left, f.loop(end, begin) as row:
                    self._row(Row(row), full, rest)
        for node in totals:
            self._store_total(node)
        if layout.in_registers:
            for node in sums:
                self._store_sum(node, full, rest)

    def _blocks(
        self, totals: Sequence[Node], sums: Sequence[Node], begin: Reg | int, end: Reg | int
    ) -> Reg | int:
        """Emit all whole blocks of rows between ``begin`` and ``end``; returns the end of the last one."""
        f, lanes = self.f, self.layout.lanes
        blocks_end = end // lanes * lanes if isinstance(end, int) else f.and_(end, -lanes)
        for node in (*totals, *sums):
            for column in range(self.layout.columns if node in sums else 1):
                self._clear(node, _TRANSPOSED + column, lanes)
        with f.loop(blocks_end, begin, lanes) as start:
            ShortRows(self.evaluator, start, lanes).run(
                self.kinds,
                self.readers,
                lambda node, j, value: self._accumulate(node, _TRANSPOSED + j, value, lanes),
            )
        return blocks_end

    def _span(self, first: Reg, last: Reg, stop: int) -> tuple[Reg, Reg]:
        """The begin and the end of the rows (if flat: elements) of units ``first`` to ``last``, out of ``stop``."""
        f, block = self.f, self.layout.block
        end = f.select(f.compare("eq", last, self.layout.units), f.number("i64", stop), f.mul(last, block))
        return f.mul(first, block), end

    def _flat(self, first: Reg, last: Reg, full: int, rest: int) -> None:
        f, layout, lanes = self.f, self.layout, self.layout.lanes
        row = Row(Reg("0", "i64"))
        if layout.units > 1:
            # Blocks are whole vectors; the last vector may write into the slack behind the buffers.
            begin, end = self._span(first, last, layout.columns)
            with f.loop(end, begin, step=lanes) as column:
                self._segments(row, [Segment(row, column, lanes, lanes)])
            return
        reduces = any(is_reduction(node) for node in self.group.nodes)
        if rest and not reduces:
            full, rest = full + 1, 0  # the last vector may write into the slack
        unroll = FLAT_UNROLL if full >= FLAT_UNROLL else 1
        unrolled = full // unroll * unroll
        if unrolled:
            with f.loop(unrolled * lanes, step=unroll * lanes) as column:
                segments = [Segment(row, column, lanes, lanes, right=i * lanes) for i in range(unroll)]
                self._segments(row, segments)
        tail = [Segment(row, Reg(str(i * lanes), "i64"), lanes, lanes) for i in range(unrolled, full)]
        if rest:
            tail.append(Segment(row, Reg(str(full * lanes), "i64"), lanes, rest))
        if tail:
            self._segments(row, tail)

    def _row(self, row: Row, full: int, rest: int) -> None:
        f, lanes = self.f, self.layout.lanes
        if self.layout.in_registers:
            positions = [(i, lanes) for i in range(full)] + ([(full, rest)] if rest else [])
            segments = [Segment(row, Reg(str(i * lanes), "i64"), lanes, count) for i, count in positions]
            self._segments(row, segments)
            return
        nodes_before, nodes_after = self._split_rows()
        for node in nodes_before:
            self.evaluator.compute_row(node, row)
            self.evaluator.save_row(node.outputs[0], row)
        row_reductions = [n for n in self.group.nodes if self.kinds[n] == "r" and self.readers[n] == "m"]
        for node in row_reductions:
            self._clear(node, 0, lanes)
        if full:
            with f.loop(full * lanes, step=lanes) as column:
                self._segment_in_loop(row, Segment(row, column, lanes, lanes))
        if rest:
            self._segment_in_loop(row, Segment(row, Reg(str(full * lanes), "i64"), lanes, rest))
        for node in row_reductions:
            row.values[node.outputs[0]] = self._folded(node, 0, lanes)
            self.evaluator.save_row(node.outputs[0], row)
        for node in nodes_after:
            self._row_node(node, row)

    def _split_rows(self) -> tuple[list[Node], list[Node]]:
        """The nodes on row values that come before the columns of a long row, and those that come after."""
        before: list[Node] = []
        after: list[Node] = []
        row_reductions = {n for n in self.group.nodes if self.kinds[n] == "r" and self.readers[n] == "m"}
        for node in self.group.nodes:
            if self.kinds[node] == "r" and node not in row_reductions:
                producers = [look_through(value).value.node for value in node.inputs]
                needs_row_end = any(p in row_reductions or p in after for p in producers)
                (after if needs_row_end else before).append(node)
            elif self.kinds[node] == "s" and self.readers[node] == "r":
                after.append(node)
        return before, after

    def _row_node(self, node: Node, row: Row) -> None:
        if is_reduction(node):  # reduces a row value over all rows
            self._accumulate(node, 0, self.evaluator.read(node.inputs[0], "r", row, None), 1)
        else:
            self.evaluator.compute_row(node, row)
            self.evaluator.save_row(node.outputs[0], row)

    def _segment_in_loop(self, row: Row, segment: Segment) -> None:
        f = self.f
        values_before = dict(row.values)  # registers from inside the loop must not be used after it
        for node in self.group.nodes:
            kind = self.kinds[node]
            if kind == "m":
                self.evaluator.compute(node, row, segment)
                self.evaluator.save(node.outputs[0], row, segment)
            elif self.readers[node] == "m":
                value = self.evaluator.read(node.inputs[0], "m", row, segment)
                if kind == "c":
                    pointer = address(f, self.evaluator.locate(node.outputs[0]), segment.column)
                    total = combine(f, node, load(f, pointer, node.types[0].dtype, segment.lanes), value)
                    store(f, total, pointer, node.types[0].dtype, segment.count)
                else:
                    self._accumulate(node, 0, value, segment.count)
        row.values.clear()
        row.values.update(values_before)

    def _segments(self, row: Row, segments: Sequence[Segment]) -> None:
        """All nodes, in order, on the segments of a whole row (or of a part of the one flat row)."""
        f = self.f
        for node in self.group.nodes:
            kind = self.kinds[node]
            if kind == "m" or (kind == "s" and not is_reduction(node)):
                for segment in segments:
                    self.evaluator.compute(node, row, segment)
                    self.evaluator.save(node.outputs[0], row, segment)
            elif self.readers[node] == "m" and kind == "r":
                parts = []
                for segment in segments:
                    value = self.evaluator.read(node.inputs[0], "m", row, segment)
                    if segment.count < segment.lanes:
                        value = f.select(
                            f.lane_mask(segment.lanes, segment.count), value, identity(f, node, value.type)
                        )
                    parts.append(value)
                row.values[node.outputs[0]] = self._row_reduced(node, parts)
                self.evaluator.save_row(node.outputs[0], row)
            elif self.readers[node] == "m":
                for position, segment in enumerate(segments):
                    value = self.evaluator.read(node.inputs[0], "m", row, segment)
                    self._accumulate(node, position if kind == "c" else 0, value, segment.count)
            else:
                self._row_node(node, row)

    def _row_reduced(self, node: Node, parts: Sequence[Reg]) -> Reg:
        f, total = self.f, parts[0]
        for part in parts[1:]:
            total = combine(f, node, total, part)
        return f.fold_lanes(total, lambda a, b: combine(f, node, a, b))

    # --- results of the whole kernel -------------------------------------------------------------------

    def _store_total(self, node: Node) -> None:
        (value,) = node.outputs
        lanes = self.layout.lanes if self.readers[node] == "m" else 1
        total = self._folded(node, 0, lanes)
        if self.layout.transposed:
            total = combine(self.f, node, self._folded(node, _TRANSPOSED, self.layout.lanes), total)
        store(self.f, total, address(self.f, self.evaluator.locate(value)), value.dtype, 1)

    def _store_sum(self, node: Node, full: int, rest: int) -> None:
        f, (value,), lanes = self.f, node.outputs, self.layout.lanes
        kind = vector(ELEMENT[value.dtype], lanes)
        for position in range(full + (rest > 0)):
            total = f.load(kind, self._slot(node, position, lanes), 64)
            if self.layout.transposed:
                for lane in range(lanes if position < full else rest):
                    transposed = self._folded(node, _TRANSPOSED + position * lanes + lane, lanes)
                    added = combine(f, node, transposed, f.shuffle(total, [lane]))
                    store(
                        f,
                        added,
                        address(f, self.evaluator.locate(value), position * lanes + lane),
                        value.dtype,
                        1,
                    )
                continue
            pointer = address(f, self.evaluator.locate(value), position * lanes)
            store(f, total, pointer, value.dtype, lanes if position < full else rest)


class _FlatEvaluator(Evaluator):
    """The evaluator of a flat kernel: values are scalars, or of kind m and read at their own position."""

    def read(self, value: Value, reader: Kind, row: Row, segment: Segment | None) -> Reg:
        assert segment is not None
        f, source = self.f, self.source(value)
        if source.number is not None:
            return f.number(vector(ELEMENT[value.dtype], segment.lanes), source.number)
        origin = source.value
        if not source.kept and origin not in self.inside:
            return f.splat(self.scalar(origin), segment.lanes)
        if origin not in segment.values:
            buffer = self.locate(memory_of(origin))
            segment.values[origin] = load(
                f, self.segment_address(buffer, segment), origin.dtype, segment.lanes
            )
        return segment.values[origin]
