"""The schedule and its items: kernels, regions of kernels that threads share, copies and loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from glassgrad.backends.native.plan.fusion import Group, reads
from glassgrad.backends.native.plan.memory import Buffer, memory_of
from glassgrad.backends.native.plan.row_layout import RowLayout
from glassgrad.backends.native.plan.tiling import ProductPlan
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import Graph, Node, Value


@dataclass(eq=False)
class PlannedKernel:
    """A kernel to be emitted: a group, and the values that it stores in memory.

    In a chain ``blocks`` > 0: unit t computes the rows from ``t * block`` on (the last unit all remaining rows), and
    ``scratch`` is a buffer of this kernel alone. ``layout``, set by the schedule, says how a kernel of rows or of a
    product is computed.
    """

    group: Group
    outputs: list[Value]
    block: int = 0
    blocks: int = 0
    scratch: Buffer | None = None
    layout: RowLayout | ProductPlan | None = None


@dataclass(eq=False)
class Chain:
    """Kernels on the same rows: each unit passes one block of rows through all kernels."""

    items: list[PlannedKernel]
    units: int


@dataclass(eq=False)
class Spread:
    """Kernels that do not depend on one another and run in parallel."""

    items: list[PlannedKernel]


@frozen
class Copy:
    """A copy of ``size`` bytes. Strides are the bytes that an address moves per iteration of the enclosing loop."""

    target: Buffer
    source: Buffer
    size: int
    target_stride: int = 0
    source_stride: int = 0


@dataclass(eq=False)
class Loop:
    """The body of a scan, executed ``length`` times."""

    length: int
    backwards: bool
    items: list[Item] = field(default_factory=list)

    def kernels(self) -> Iterator[PlannedKernel]:
        """All kernels in the loop, nested ones included."""
        return kernels_of(self.items)


Item = PlannedKernel | Copy | Loop | Chain | Spread


@dataclass(eq=False)
class Schedule:
    """The input of code generation: items, the buffer of each value, and the size of the arena in bytes."""

    graph: Graph
    items: list[Item]
    replacements: list[Item]  # executed at the end of the step, after the outputs were copied out
    buffers: dict[Value, Buffer]
    constants: dict[Value, Buffer]
    outputs: list[Buffer]
    size: int
    scratch: Buffer | None = None
    groups: list[Group] = field(default_factory=list)
    tables: dict[Buffer, Buffer] = field(default_factory=dict)
    """For data that is read in place: the table of row addresses, of this batch and then of the next batch."""
    unrolled: list[tuple[Buffer, Buffer]] = field(default_factory=list)
    """In the schedule of probes, for each matrix in panels: a row-major buffer for its copy, and its own buffer."""

    def kernels(self) -> Iterator[PlannedKernel]:
        """All kernels, nested ones included."""
        return kernels_of(self.items)

    def buffer(self, value: Value) -> Buffer:
        """The buffer that holds ``value``."""
        return self.buffers[memory_of(value)]

    def touched(self, item: Item) -> set[Buffer]:
        """The buffers that ``item`` reads or writes."""
        return touched(item, self.buffers)


def kernels_of(items: Sequence[Item]) -> Iterator[PlannedKernel]:
    """All kernels of ``items``, nested ones included."""
    for item in items:
        if isinstance(item, Loop | Chain | Spread):
            yield from kernels_of(item.items)
        elif isinstance(item, PlannedKernel):
            yield item


def touched(item: Item, buffers: Mapping[Value, Buffer]) -> set[Buffer]:
    """The buffers that ``item`` reads or writes."""
    if isinstance(item, Copy):
        return {item.target, item.source}
    if not isinstance(item, PlannedKernel):
        return {buffer for inner in item.items for buffer in touched(inner, buffers)}
    buffers_touched = {buffers[value] for value in item.outputs}
    if item.scratch is not None:
        buffers_touched.add(item.scratch)
    for node in item.group.nodes:
        for value in values_read(node):
            buffer = buffers.get(memory_of(value))
            if buffer is not None:
                buffers_touched.add(buffer)
    return buffers_touched


def values_read(node: Node) -> list[Value]:
    """The values that ``node`` may read from memory: its operands, and those behind broadcasts and reshapes."""
    values = []
    for value in reads(node):
        values.append(value)
        source = value
        while source.node.op.name in ("broadcast", "reshape"):
            source = source.node.inputs[0]
            values.append(source)
    return values
