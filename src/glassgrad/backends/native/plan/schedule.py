"""Stage 2, the plan: which kernels run, in which order, and where each value lies.

A schedule is a list of items: a kernel, several that threads share (see ``regions``), copies between buffers, or a
loop (the body of a scan) of items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from glassgrad.backends.native.plan.fusion import (
    Group,
    form_groups,
    look_through,
    operand,
    reads,
    sort_groups,
)
from glassgrad.backends.native.plan.memory import Buffer, memory_of, place_buffers
from glassgrad.backends.native.plan.prepare import prepare
from glassgrad.backends.native.plan.regions import (
    Chain,
    Spread,
    Work,
    cluster,
    form_region,
    is_chain,
    row_wise,
)
from glassgrad.common.errors import GraphError
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import Graph, Node, Type, Value


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

    def works(self) -> Iterator[Work]:
        """Every kernel in the loop."""
        return works(self.items)


Item = Work | Copy | Loop | Chain | Spread


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

    def works(self) -> Iterator[Work]:
        """Every kernel, loops included."""
        return works(self.items)

    def buffer(self, value: Value) -> Buffer:
        """Where ``value`` lies."""
        return self.buffers[memory_of(value)]

    def touched(self, item: Item) -> set[Buffer]:
        """The buffers that ``item`` reads or writes."""
        return touched(item, self.buffers)


Supported = Callable[[Node], bool]
InPlace = Callable[[Work, Node], bool]
Panel = Callable[[Work, Value], int]


class _Builder:
    def __init__(self, vector_bytes: int, supported: Supported, scratch_bytes: Callable[[Work], int]) -> None:
        self.vector_bytes = vector_bytes
        self.supported, self.scratch_bytes = supported, scratch_bytes
        self.buffers: dict[Value, Buffer] = {}
        self.constants: dict[Value, Buffer] = {}
        self.extra: list[Buffer] = []
        self.groups: list[Group] = []

    def region(self, graph: Graph, in_place: dict[Value, Value], batch: int = 0) -> list[Item]:
        """The items of ``graph``, whose inputs have buffers. ``in_place``: results that replace an input.

        ``batch`` is the number of rows of the batch where ``graph`` is a whole step.
        """
        groups = form_groups(graph, self.vector_bytes, batch)
        self._check(groups)
        groups, extra = self._order(groups, in_place)
        given = [v for v in graph.inputs if v.shape[:1] == (batch,) and not self.buffers[v].lasting]
        rows = row_wise(groups, batch, given)
        layers = cluster(groups, rows, extra)
        if not any(is_chain(layer, rows) for layer in layers):
            rows, layers = set(), [[group] for group in groups]
        groups = [group for layer in layers for group in layer]
        self.groups += groups
        # In memory: what is given out, and what another group reads. A group's own nodes pass it in registers.
        wanted = {memory_of(value) for value in graph.outputs}
        for group in groups:
            own = {value for node in group.nodes for value in node.outputs}
            for node in group.nodes:
                # Operands of products are read past transposes, everything else past what is virtual.
                wanted.update({memory_of(value) for value in self._sources(node)} - own)
        items: list[Item] = []
        for layer in layers:
            works: list[Work] = []
            for group in layer:
                for node in group.nodes:
                    for value in self._sources(node):
                        self._constant(value)
                outputs = [v for node in group.nodes for v in node.outputs if v in wanted]
                for value in outputs:
                    replaced = in_place.get(value)
                    self.buffers[value] = (
                        self.buffers[replaced] if replaced is not None else Buffer(value.type)
                    )
                if group.nodes[0].op.name == "scan":
                    items += self._scan(group.nodes[0])
                else:
                    works.append(Work(group, outputs))
            items += form_region(works, layer[0] in rows, batch, self.scratch_bytes) if rows else works
            self.extra += [work.scratch for work in works if work.scratch is not None]
        for value in graph.outputs:
            self._constant(value)
        return items

    def _constant(self, value: Value) -> None:
        value = memory_of(operand(value)[0])
        if value.node.op.name == "constant" and value not in self.buffers:
            self.buffers[value] = self.constants[value] = Buffer(value.type, lasting=True)

    @staticmethod
    def _sources(node: Node) -> list[Value]:
        from_memory = []
        for value in reads(node):
            from_memory.append(value)
            behind = value
            while behind.node.op.name in ("broadcast", "reshape"):
                behind = behind.node.inputs[0]
                from_memory.append(behind)
        return from_memory

    def _check(self, groups: Sequence[Group]) -> None:
        for group in groups:
            for node in group.nodes:
                if not self.supported(node):
                    raise GraphError(f"the native backend has no lowering for op {node.op.name!r}")

    def _order(
        self, groups: list[Group], in_place: dict[Value, Value]
    ) -> tuple[list[Group], list[tuple[Group, Group]]]:
        """Put readers of an old value before the group that replaces it; give up where that cannot be.

        Returns the groups in order, and the pairs (first, then) that this asks for.
        """
        home = {value: group for group in groups for node in group.nodes for value in node.outputs}
        readers: dict[Value, list[tuple[Group, Node]]] = {}
        for group in groups:
            for node in group.nodes:
                for value in self._sources(node):
                    readers.setdefault(memory_of(value), []).append((group, node))
        pairs: dict[Value, list[tuple[Group, Group]]] = {}
        for new, old in list(in_place.items()):
            target, seen = home.get(new), readers.get(old, [])
            if target is None or not self._may_replace(target, new, old, seen):
                del in_place[new]
            else:
                pairs[new] = [(reader, target) for reader, _ in seen if reader is not target]
        extra = [pair for found in pairs.values() for pair in found]
        try:
            return sort_groups(groups, extra), extra
        except ValueError:
            pass
        extra = []  # some have to give way: find them one by one
        for new, found in pairs.items():
            try:
                sort_groups(groups, [*extra, *found])
                extra += found
            except ValueError:
                del in_place[new]
        return sort_groups(groups, extra), extra

    @staticmethod
    def _may_replace(group: Group, new: Value, old: Value, readers: list[tuple[Group, Node]]) -> bool:
        """Whether ``group`` reads ``old`` at most element by element where it writes ``new``."""
        if group.kind == "single" or group.kind_of(new.node) != "m" or old.type != new.type:
            return False
        inside = [node for reader, node in readers if reader is group]
        return all(
            node.op.name != "matmul"
            and all(v.shape == new.shape for v in node.inputs if memory_of(v) is old)
            and group.kind_of(node) == "m"
            and not any(
                v.node.op.name in ("broadcast", "reshape") and memory_of(v) is old for v in node.inputs
            )
            for node in inside
        )

    # --- scan ------------------------------------------------------------------------------------------

    def _scan(self, node: Node) -> list[Item]:
        a, (body,) = node.attributes, node.regions
        carries, sequences = a["carries"], a["sequences"]
        body = prepare(body)
        given = [self.buffers[memory_of(value)] for value in node.inputs]
        for value, buffer in zip(
            body.inputs[carries + sequences :], given[carries + sequences :], strict=True
        ):
            self.buffers[value] = buffer
        inner = [self._new(value) for value in body.inputs[: carries + sequences]]
        loop = Loop(a["length"], a["backwards"])
        before: list[Item] = [
            Copy(target, source, target.size) for target, source in zip(inner[:carries], given, strict=False)
        ]
        for target, source in zip(inner[carries:], given[carries : carries + sequences], strict=True):
            loop.items.append(Copy(target, source, target.size, source_stride=target.size))
        results = len(body.outputs) - carries
        places = [self.buffers.get(value) for value in node.outputs]
        history = places[carries + results :]
        for place, source in zip(history, inner[:carries], strict=True):
            if place is not None:
                loop.items.append(Copy(place, source, source.size, target_stride=source.size))
        loop.items += self.region(body, {})
        made = [self.buffers[memory_of(value)] for value in body.outputs]
        for place, source in zip(places[carries : carries + results], made[carries:], strict=True):
            if place is not None:
                loop.items.append(Copy(place, source, source.size, target_stride=source.size))
        # All carries are read before any is replaced: one may be handed on as another.
        parked = [Buffer(item.type) for item in made[:carries]]
        self.extra += parked
        loop.items += [Copy(park, source, source.size) for park, source in zip(parked, made, strict=False)]
        loop.items += [Copy(target, park, park.size) for target, park in zip(inner, parked, strict=False)]
        after: list[Item] = [
            Copy(place, source, source.size)
            for place, source in zip(places[:carries], inner, strict=False)
            if place is not None
        ]
        return [*before, loop, *after]

    def _new(self, value: Value) -> Buffer:
        self.buffers[value] = Buffer(value.type)
        return self.buffers[value]


def make_schedule(
    graph: Graph,
    lasting: Sequence[bool],
    updates: Sequence[tuple[int, int]],
    vector_bytes: int,
    supported: Supported,
    scratch_bytes: Callable[[Work], int],
    batch: int = 0,
    beside: Schedule | None = None,
    in_place: InPlace | None = None,
    panel: Panel | None = None,
) -> Schedule:
    """The schedule of ``graph``, a step on ``batch`` rows.

    ``lasting`` tells for each input whether it keeps its buffer from step to step; ``updates`` are pairs
    (output, input) of which the output replaces the input at the end of the step. ``beside`` is a schedule of the
    same inputs, in whose arena this one works before each step: the inputs stay, the rest of it is free by then.
    ``in_place`` tells whether a node of a kernel reads its first operand alone, row by row, wherever the rows lie,
    and ``panel`` how many columns of a matrix a kernel goes through at a time, if it could lie in panels.
    """
    prepared = prepare(graph)
    builder = _Builder(vector_bytes, supported, scratch_bytes)
    # A kernel may read the background of what it reads, although no node of it does.
    backgrounds = {value.node.attributes.get("background") for value in prepared.inputs}
    unrolled: list[tuple[Buffer, Buffer]] = []
    for number, (value, keep) in enumerate(zip(prepared.inputs, lasting, strict=True)):
        stays = keep or value.node.attributes["name"] in backgrounds
        builder.buffers[value] = Buffer(value.type, lasting=stays)
        if beside is not None:
            theirs = beside.buffers[beside.graph.inputs[number]]
            if theirs.panel:
                builder.buffers[value].lasting = False
                unrolled.append((builder.buffers[value], theirs))
            else:
                builder.buffers[value].offset = theirs.offset
    replaced = {memory_of(prepared.outputs[o]): prepared.inputs[i] for o, i in updates}
    items = builder.region(prepared, replaced, batch)
    outputs = [builder.buffers[memory_of(value)] for value in prepared.outputs]
    replacements: list[Item] = []
    for output, given in updates:
        target = builder.buffers[prepared.inputs[given]]
        if outputs[output] is not target:
            replacements.append(Copy(target, outputs[output], target.size))
    shared = (scratch_bytes(work) for work in works(items) if work.scratch is None)
    scratch_size = max(shared, default=0)
    scratch = None
    if scratch_size:
        scratch = Buffer(Type((-(-scratch_size // 4),), "float32"), lasting=True)
        builder.extra.append(scratch)
    tables = {}
    for value, keep in zip(prepared.inputs, lasting, strict=True):
        if in_place is None or keep or value.shape[:1] != (batch,) or len(value.shape) == 1:
            continue
        if _stays(value, items, outputs, builder, in_place):
            tables[builder.buffers[value]] = Buffer(Type((4 * batch,), "int32"), lasting=True)
    builder.extra += tables.values()
    if panel is not None:
        for output, given in updates:
            value = prepared.inputs[given]
            buffer = builder.buffers[value]
            if outputs[output] is buffer and outputs.count(buffer) == 1:
                buffer.panel = _panel(value, items, builder, panel)
    _live([*items, *replacements], builder, prepared.inputs, outputs)
    buffers = dict.fromkeys([*builder.buffers.values(), *builder.extra])
    if beside is None:
        size = place_buffers(buffers)
    else:
        inputs = [beside.buffers[value] for value in beside.graph.inputs]
        kept = [buffer for buffer in beside.buffers.values() if buffer.lasting]
        size = place_buffers(buffers, beside.size, [*kept, *inputs, *beside.tables.values()])
    return Schedule(
        prepared,
        items,
        replacements,
        builder.buffers,
        builder.constants,
        outputs,
        size,
        scratch,
        builder.groups,
        tables,
        unrolled,
    )


def _panel(value: Value, items: Sequence[Item], builder: _Builder, panel: Panel) -> int:
    """In panels of how many columns the matrix ``value`` lies, if all that touches it goes through it so; else 0."""
    buffer = builder.buffers[value]
    users = [item for item in items if buffer in touched(item, builder.buffers)]
    if len(value.shape) != 2 or not all(isinstance(item, Work | Spread) for item in users):
        return 0
    widths = [panel(work, value) for work in works(users) if buffer in touched(work, builder.buffers)]
    widest = max(widths, default=0)
    fits = all(width and widest % width == 0 for width in widths)
    return widest if fits and widest < value.shape[-1] and value.shape[-1] % widest == 0 else 0


def _stays(
    value: Value, items: Sequence[Item], outputs: Sequence[Buffer], builder: _Builder, in_place: InPlace
) -> bool:
    """Whether all that reads ``value``, a number of rows, can read them where they lie."""
    buffer = builder.buffers[value]
    if buffer in outputs:
        return False
    for item in items:
        if buffer not in touched(item, builder.buffers):
            continue
        if not isinstance(item, Work | Spread):
            return False
        for work in works([item]):
            for node in work.group.nodes:
                read = [v for v in reads(node) if memory_of(look_through(v).value) is value]
                if read and not (
                    len(read) == 1
                    and in_place(work, node)
                    and read[0] is operand(node.inputs[0])[0]
                    and read[0].shape[0] == value.shape[0]
                ):
                    return False
    return True


def works(items: Sequence[Item]) -> Iterator[Work]:
    """Every kernel, loops included."""
    for item in items:
        if isinstance(item, Loop | Chain | Spread):
            yield from works(item.items)
        elif isinstance(item, Work):
            yield item


def touched(item: Item, buffers: Mapping[Value, Buffer]) -> set[Buffer]:
    """The buffers that ``item`` reads or writes."""
    if isinstance(item, Copy):
        return {item.target, item.source}
    if not isinstance(item, Work):
        return {buffer for inner in item.items for buffer in touched(inner, buffers)}
    found = {buffers[value] for value in item.outputs}
    if item.scratch is not None:
        found.add(item.scratch)
    for node in item.group.nodes:
        for value in _Builder._sources(node):
            buffer = buffers.get(memory_of(value))
            if buffer is not None:
                found.add(buffer)
    return found


def _live(items: list[Item], builder: _Builder, inputs: Sequence[Value], outputs: Sequence[Buffer]) -> None:
    """Mark from when to when each buffer holds something.

    A loop, a chain and a spread hold all that they touch while they last.
    """
    position = 0

    def visit(item: Item) -> None:
        nonlocal position
        position += 1
        start = position
        if not isinstance(item, Copy | Work):
            for inner in item.items:
                visit(inner)
        for buffer in touched(item, builder.buffers):
            buffer.touch(start, position)

    for value in inputs:  # filled before the first item
        builder.buffers[value].touch(0, 0)
    for item in items:
        visit(item)
    for buffer in outputs:  # and outputs are read after the last one
        buffer.touch(position, position)
