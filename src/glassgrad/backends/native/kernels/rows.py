"""Stage 3, the common kernel: elementwise work and reductions over rows and columns, in explicit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import ELEMENT, Reg, vector
from glassgrad.backends.native.kernels.evaluator import (
    Cell,
    Evaluator,
    Locate,
    Row,
    address,
    combine,
    identity,
    load,
    store,
)
from glassgrad.backends.native.kernels.short_rows import Block
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
_TURNED = 1000  # the accumulators of turned blocks are numbered from here


def emit_rows(
    f: Function,
    group: Group,
    layout: RowLayout,
    locate: Locate,
    outputs: Sequence[Value],
    first: Reg,
    last: Reg,
) -> None:
    """The whole kernel: units ``first`` to ``last`` of the group's space."""
    _Rows(f, group, layout, locate, outputs).emit(first, last)


class _Rows:
    def __init__(
        self, f: Function, group: Group, layout: RowLayout, locate: Locate, outputs: Sequence[Value]
    ) -> None:
        self.f, self.layout = f, layout
        self.group = Group(group.kind, (layout.columns,), group.nodes) if layout.flat else group
        self.kinds = {node: group.kind_of(node) for node in group.nodes}
        self.readers = {node: self._reader(group, node) for node in group.nodes}
        # If flat, every m and the one full reduction keep their kinds in the single long row.
        evaluator: type[Evaluator] = _FlatEvaluator if layout.flat else Evaluator
        self.ev = evaluator(f, self.group, locate, outputs)
        self.outputs = outputs
        self.slots: dict[tuple[Node, int], Reg] = {}

    @staticmethod
    def _reader(group: Group, node: Node) -> Kind | None:
        return group.kind_of_shape(canonical(node.inputs[0].shape)) if is_reduction(node) else None

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
        totals = [node for node in self.group.nodes if self.kinds[node] == "s" and is_reduction(node)]
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
        else:
            begin: Reg | int
            end: Reg | int
            begin, end = (0, layout.rows) if layout.units == 1 else self._span(first, last, layout.rows)
            if layout.turned:
                begin = self._blocks(totals, sums, begin, end)
            if not (layout.turned and layout.rows % lanes == 0):
                left = f.when(f.compare("ult", begin, end)) if isinstance(begin, Reg) else nullcontext()
                with left, f.loop(end, begin) as row:
                    self._row(Row(row), full, rest)
        for node in totals:
            self._store_total(node)
        if layout.in_registers:
            for node in sums:
                self._store_sum(node, full, rest)

    def _blocks(
        self, totals: Sequence[Node], sums: Sequence[Node], begin: Reg | int, end: Reg | int
    ) -> Reg | int:
        """As many whole blocks of rows as there are from ``begin`` on; returns their end."""
        f, lanes = self.f, self.layout.lanes
        done = end // lanes * lanes if isinstance(end, int) else f.and_(end, -lanes)
        for node in (*totals, *sums):
            for column in range(self.layout.columns if node in sums else 1):
                self._clear(node, _TURNED + column, lanes)
        with f.loop(done, begin, lanes) as start:
            Block(self.ev, start, lanes).run(
                self.kinds,
                self.readers,
                lambda node, j, given: self._accumulate(node, _TURNED + j, given, lanes),
            )
        return done

    def _span(self, first: Reg, last: Reg, stop: int) -> tuple[Reg, Reg]:
        f, block = self.f, self.layout.block
        end = f.select(f.compare("eq", last, self.layout.units), f.number("i64", stop), f.mul(last, block))
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
        reduces = any(is_reduction(node) for node in self.group.nodes)
        if rest and not reduces:
            full, rest = full + 1, 0  # into the slack as well
        unroll = FLAT_UNROLL if full >= FLAT_UNROLL else 1
        whole = full // unroll * unroll
        if whole:
            with f.loop(whole * lanes, step=unroll * lanes) as column:
                cells = [Cell(row, column, lanes, lanes, right=i * lanes) for i in range(unroll)]
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
        if is_reduction(node):  # of a row value, over all rows
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
            if kind == "m" or (kind == "s" and not is_reduction(node)):
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
                row.values[node.outputs[0]] = self._row_reduced(node, parts)
                self.ev.save_row(node.outputs[0], row)
            elif self.readers[node] == "m":
                for place, cell in enumerate(cells):
                    given = self.ev.read(node.inputs[0], "m", row, cell)
                    self._accumulate(node, place if kind == "c" else 0, given, cell.count)
            else:
                self._row_node(node, row)

    def _row_reduced(self, node: Node, parts: Sequence[Reg]) -> Reg:
        f, total = self.f, parts[0]
        for part in parts[1:]:
            total = combine(f, node, total, part)
        return f.fold_lanes(total, lambda a, b: combine(f, node, a, b))

    # --- results of whole kernels ----------------------------------------------------------------------

    def _store_total(self, node: Node) -> None:
        (value,) = node.outputs
        lanes = self.layout.lanes if self.readers[node] == "m" else 1
        total = self._folded(node, 0, lanes)
        if self.layout.turned:
            total = combine(self.f, node, self._folded(node, _TURNED, self.layout.lanes), total)
        store(self.f, total, address(self.f, self.ev.locate(value)), value.dtype, 1)

    def _store_sum(self, node: Node, full: int, rest: int) -> None:
        f, (value,), lanes = self.f, node.outputs, self.layout.lanes
        kind = vector(ELEMENT[value.dtype], lanes)
        for place in range(full + (rest > 0)):
            total = f.load(kind, self._slot(node, place, lanes), 64)
            if self.layout.turned:
                for lane in range(lanes if place < full else rest):
                    turned = self._folded(node, _TURNED + place * lanes + lane, lanes)
                    added = combine(f, node, turned, f.shuffle(total, [lane]))
                    store(f, added, address(f, self.ev.locate(value), place * lanes + lane), value.dtype, 1)
                continue
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
            cell.values[found] = load(f, self.place(buffer, cell), found.dtype, cell.lanes)
        return cell.values[found]
