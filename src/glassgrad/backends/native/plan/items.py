"""What a schedule is made of: kernels, kernels that threads share, copies, loops; and the schedule itself."""

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
    """A kernel to be emitted: a group, and the values that it leaves in memory.

    In a chain, ``blocks`` > 0, unit t has the rows from ``t * block`` on (the last unit all that are left), and
    ``scratch`` is its own. ``layout`` tells how a kernel of rows or with a product is computed; the schedule sets it.
    """

    group: Group
    outputs: list[Value]
    block: int = 0
    blocks: int = 0
    scratch: Buffer | None = None
    layout: RowLayout | ProductPlan | None = None


@dataclass(eq=False)
class Chain:
    """Kernels on the same rows, each block of rows through all of them."""

    items: list[PlannedKernel]
    units: int


@dataclass(eq=False)
class Spread:
    """Kernels that do not depend on one another."""

    items: list[PlannedKernel]


@frozen
class Copy:
    """``size`` bytes from one buffer to another; strides (bytes per turn) count the turns of the loop around."""

    target: Buffer
    source: Buffer
    size: int
    target_stride: int = 0
    source_stride: int = 0


@dataclass(eq=False)
class Loop:
    """The body of a scan: its items, ``length`` times."""

    length: int
    backwards: bool
    items: list[Item] = field(default_factory=list)

    def kernels(self) -> Iterator[PlannedKernel]:
        """Every kernel in the loop."""
        return kernels_of(self.items)


Item = PlannedKernel | Copy | Loop | Chain | Spread


@dataclass(eq=False)
class Schedule:
    """Everything that code is made from: items, buffers by value, and the size of the arena."""

    graph: Graph
    items: list[Item]
    replacements: list[Item]  # at the end of the step, once the outputs are out
    buffers: dict[Value, Buffer]
    constants: dict[Value, Buffer]
    outputs: list[Buffer]
    size: int
    scratch: Buffer | None = None
    groups: list[Group] = field(default_factory=list)
    tables: dict[Buffer, Buffer] = field(default_factory=dict)
    """For data whose rows are read where they lie: the addresses of the batch's, then of the next batch's."""
    unrolled: list[tuple[Buffer, Buffer]] = field(default_factory=list)
    """What lies in panels, for the schedule of the probes: where it is to lie row by row, and where it is."""

    def kernels(self) -> Iterator[PlannedKernel]:
        """Every kernel, loops included."""
        return kernels_of(self.items)

    def buffer(self, value: Value) -> Buffer:
        """Where ``value`` lies."""
        return self.buffers[memory_of(value)]

    def touched(self, item: Item) -> set[Buffer]:
        """The buffers that ``item`` reads or writes."""
        return touched(item, self.buffers)


def kernels_of(items: Sequence[Item]) -> Iterator[PlannedKernel]:
    """Every kernel, loops included."""
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
    """The values that ``node`` may read from memory: what it names, and what lies behind broadcasts and reshapes."""
    from_memory = []
    for value in reads(node):
        from_memory.append(value)
        behind = value
        while behind.node.op.name in ("broadcast", "reshape"):
            behind = behind.node.inputs[0]
            from_memory.append(behind)
    return from_memory
