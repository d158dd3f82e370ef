"""The schedule (stage 2): which kernels run, in which order, and where each value lies in memory.

A schedule is a list of items: a kernel, several that threads share (see ``regions``), copies between buffers, or a
loop (the body of a scan) of items.
"""

from __future__ import annotations

from collections.abc import Sequence

from glassgrad.backends.native.plan.fusion import (
    Group,
    form_groups,
    look_through,
    operand,
    reads,
    sort_groups,
)
from glassgrad.backends.native.plan.items import (
    Copy,
    Item,
    Loop,
    PlannedKernel,
    Schedule,
    Spread,
    kernels_of,
    touched,
    values_read,
)
from glassgrad.backends.native.plan.memory import Buffer, memory_of, place_buffers
from glassgrad.backends.native.plan.prepare import prepare
from glassgrad.backends.native.plan.products import (
    can_read_in_place,
    panel_width,
    plan_of,
    product_in,
    scratch_bytes,
)
from glassgrad.backends.native.plan.regions import cluster, form_region, is_chain, row_wise
from glassgrad.backends.native.plan.row_layout import RowLayout, lay_out_rows
from glassgrad.backends.native.plan.target import Target
from glassgrad.backends.native.plan.tiling import ProductPlan
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Node, Type, Value


class _Builder:
    """Makes the items of a graph, and of the bodies of its scans."""

    def __init__(self, target: Target) -> None:
        self.target, self.vector_bytes = target, target.vector_bytes
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
                wanted.update({memory_of(value) for value in values_read(node)} - own)
        items: list[Item] = []
        for layer in layers:
            kernels: list[PlannedKernel] = []
            for group in layer:
                for node in group.nodes:
                    for value in values_read(node):
                        self._constant(value)
                # The kernel of an op with several outputs writes all of them, read or not.
                writes_all = group.kind == "single" and group.nodes[0].op.name != "scan"
                outputs = [v for node in group.nodes for v in node.outputs if writes_all or v in wanted]
                for value in outputs:
                    replaced = in_place.get(value)
                    self.buffers[value] = (
                        self.buffers[replaced] if replaced is not None else Buffer(value.type)
                    )
                if group.nodes[0].op.name == "scan":
                    items += self._scan(group.nodes[0])
                else:
                    kernels.append(PlannedKernel(group, outputs))
            items += form_region(kernels, layer[0] in rows, batch, self.vector_bytes) if rows else kernels
            self.extra += [kernel.scratch for kernel in kernels if kernel.scratch is not None]
        for value in graph.outputs:
            self._constant(value)
        return items

    def _constant(self, value: Value) -> None:
        value = memory_of(operand(value)[0])
        if value.node.op.name == "constant" and value not in self.buffers:
            self.buffers[value] = self.constants[value] = Buffer(value.type, lasting=True)

    def _check(self, groups: Sequence[Group]) -> None:
        for group in groups:
            for node in group.nodes:
                if node.op.name not in self.target.ops:
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
                for value in values_read(node):
                    readers.setdefault(memory_of(value), []).append((group, node))
        pairs: dict[Value, list[tuple[Group, Group]]] = {}
        for new, old in list(in_place.items()):
            target, seen = home.get(new), readers.get(old, [])
            if target is None or not self._may_replace(target, new, old, seen):
                del in_place[new]
            else:
                pairs[new] = [(reader, target) for reader, _ in seen if reader is not target]
        extra = [pair for needed in pairs.values() for pair in needed]
        try:
            return sort_groups(groups, extra), extra
        except ValueError:
            pass
        extra = []  # some have to give way: find them one by one
        for new, needed in pairs.items():
            try:
                sort_groups(groups, [*extra, *needed])
                extra += needed
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
    target: Target,
    batch: int = 0,
    beside: Schedule | None = None,
) -> Schedule:
    """The schedule of ``graph``, a step on ``batch`` rows, for ``target``.

    ``lasting`` tells for each input whether it keeps its buffer from step to step; ``updates`` are pairs
    (output, input) of which the output replaces the input at the end of the step. ``beside`` is a schedule of the
    same inputs, in whose arena this one works before each step: the inputs stay, the rest of it is free by then.
    Raises GraphError naming an op without a lowering.
    """
    prepared = prepare(graph)
    builder = _Builder(target)
    unrolled = _place_inputs(builder, prepared.inputs, lasting, beside)
    replaced = {memory_of(prepared.outputs[o]): prepared.inputs[i] for o, i in updates}
    items = builder.region(prepared, replaced, batch)
    outputs = [builder.buffers[memory_of(value)] for value in prepared.outputs]
    replacements: list[Item] = []
    for output, given in updates:
        buffer = builder.buffers[prepared.inputs[given]]
        if outputs[output] is not buffer:
            replacements.append(Copy(buffer, outputs[output], buffer.size))
    for kernel in kernels_of(items):
        kernel.layout = _layout_of(kernel, target.vector_bytes)
    scratch = _shared_scratch(builder, items)
    tables = {}
    for value, keep in zip(prepared.inputs, lasting, strict=True):
        if keep or value.shape[:1] != (batch,) or len(value.shape) == 1:
            continue
        if _is_read_in_place(value, items, outputs, builder):
            tables[builder.buffers[value]] = Buffer(Type((4 * batch,), "int32"), lasting=True)
    builder.extra += tables.values()
    for output, given in updates:
        value = prepared.inputs[given]
        buffer = builder.buffers[value]
        if outputs[output] is buffer and outputs.count(buffer) == 1:
            buffer.panel = _panel_columns(value, items, builder)
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


def _place_inputs(
    builder: _Builder, inputs: Sequence[Value], lasting: Sequence[bool], beside: Schedule | None
) -> list[tuple[Buffer, Buffer]]:
    """Give every input a buffer; one that ``beside`` has already lies where it lies there.

    Returns the exceptions: buffers for inputs that lie in panels there, and the buffers with the panels.
    """
    # A kernel may read the background of what it reads, although no node of it does.
    backgrounds = {value.node.attributes.get("background") for value in inputs}
    unrolled: list[tuple[Buffer, Buffer]] = []
    for number, (value, keep) in enumerate(zip(inputs, lasting, strict=True)):
        stays = keep or value.node.attributes["name"] in backgrounds
        builder.buffers[value] = Buffer(value.type, lasting=stays)
        if beside is not None:
            theirs = beside.buffers[beside.graph.inputs[number]]
            if theirs.panel:
                builder.buffers[value].lasting = False
                unrolled.append((builder.buffers[value], theirs))
            else:
                builder.buffers[value].offset = theirs.offset
    return unrolled


def _layout_of(kernel: PlannedKernel, vector_bytes: int) -> RowLayout | ProductPlan | None:
    """How a kernel of rows or a product is computed; None for any other op."""
    if kernel.group.kind == "rows":
        return lay_out_rows(kernel.group, vector_bytes, kernel.block, kernel.blocks)
    product = product_in(kernel.group)
    return None if product is None else plan_of(kernel, product, vector_bytes)


def _shared_scratch(builder: _Builder, items: Sequence[Item]) -> Buffer | None:
    """The scratch memory of all kernels that have none of their own: they run one after the other."""
    shared = (
        scratch_bytes(kernel, builder.vector_bytes) for kernel in kernels_of(items) if kernel.scratch is None
    )
    size = max(shared, default=0)
    if not size:
        return None
    scratch = Buffer(Type((-(-size // 4),), "float32"), lasting=True)
    builder.extra.append(scratch)
    return scratch


def _panel_columns(value: Value, items: Sequence[Item], builder: _Builder) -> int:
    """The columns of a panel of ``value``, if all kernels that touch it go through it in panels; else 0."""
    buffer = builder.buffers[value]
    users = [item for item in items if buffer in touched(item, builder.buffers)]
    if len(value.shape) != 2 or not all(isinstance(item, PlannedKernel | Spread) for item in users):
        return 0
    widths = [
        panel_width(kernel, value, builder.vector_bytes)
        for kernel in kernels_of(users)
        if buffer in touched(kernel, builder.buffers)
    ]
    widest = max(widths, default=0)
    fits = all(width and widest % width == 0 for width in widths)
    return widest if fits and widest < value.shape[-1] and value.shape[-1] % widest == 0 else 0


def _is_read_in_place(
    value: Value, items: Sequence[Item], outputs: Sequence[Buffer], builder: _Builder
) -> bool:
    """Whether all that reads ``value``, a number of rows, can read them where they lie."""
    buffer = builder.buffers[value]
    if buffer in outputs:
        return False
    for item in items:
        if buffer not in touched(item, builder.buffers):
            continue
        if not isinstance(item, PlannedKernel | Spread):
            return False
        for kernel in kernels_of([item]):
            for node in kernel.group.nodes:
                read = [v for v in reads(node) if memory_of(look_through(v).value) is value]
                if read and not (
                    len(read) == 1
                    and can_read_in_place(kernel, node, builder.vector_bytes)
                    and read[0] is operand(node.inputs[0])[0]
                    and read[0].shape[0] == value.shape[0]
                ):
                    return False
    return True


def _live(items: list[Item], builder: _Builder, inputs: Sequence[Value], outputs: Sequence[Buffer]) -> None:
    """Mark from when to when each buffer holds something.

    A loop, a chain and a spread hold all that they touch while they last.
    """
    position = 0

    def visit(item: Item) -> None:
        nonlocal position
        position += 1
        start = position
        if not isinstance(item, Copy | PlannedKernel):
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
