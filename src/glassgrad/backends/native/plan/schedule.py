"""The schedule (stage 2): the kernels, their order, and the buffer of each value.

A schedule is a list of items: a kernel, a region of kernels that threads share (see ``regions``), a copy between
buffers, or a loop (the body of a scan) of items.

This is one file because one pass over the groups assigns kernels, loops, copies and buffers together.
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
    """Builds the items of a graph, and of the bodies of its scans."""

    def __init__(self, target: Target) -> None:
        self.target, self.vector_bytes = target, target.vector_bytes
        self.buffers: dict[Value, Buffer] = {}
        self.constants: dict[Value, Buffer] = {}
        self.extra: list[Buffer] = []
        self.groups: list[Group] = []

    def region(self, graph: Graph, in_place: dict[Value, Value], batch: int = 0) -> list[Item]:
        """The items of ``graph``, whose inputs have buffers already.

        ``in_place`` maps results to the inputs that they replace; entries that are not possible are deleted.
        ``batch`` is the batch size if ``graph`` is a whole step, else 0.
        """
        groups = form_groups(graph, self.vector_bytes, batch)
        self._check(groups)
        groups, extra = self._order(groups, in_place)
        batch_inputs = [v for v in graph.inputs if v.shape[:1] == (batch,) and not self.buffers[v].lasting]
        rows = row_wise(groups, batch, batch_inputs)
        layers = cluster(groups, rows, extra)
        if not any(is_chain(layer, rows) for layer in layers):
            rows, layers = set(), [[group] for group in groups]
        groups = [group for layer in layers for group in layer]
        self.groups += groups
        # Outputs, and values that another group reads, are in memory. Inside a group, values stay in registers.
        in_memory = {memory_of(value) for value in graph.outputs}
        for group in groups:
            group_values = {value for node in group.nodes for value in node.outputs}
            for node in group.nodes:
                # ``values_read`` looks through the transposes of product operands, and through all virtual nodes.
                in_memory.update({memory_of(value) for value in values_read(node)} - group_values)
        items: list[Item] = []
        for layer in layers:
            kernels: list[PlannedKernel] = []
            for group in layer:
                for node in group.nodes:
                    for value in values_read(node):
                        self._constant(value)
                # The kernel of an op with several outputs writes all of them, used or not.
                writes_all = group.kind == "single" and group.nodes[0].op.name != "scan"
                outputs = [v for node in group.nodes for v in node.outputs if writes_all or v in in_memory]
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
        """Give ``value`` a buffer if it is a constant."""
        value = memory_of(operand(value)[0])
        if value.node.op.name == "constant" and value not in self.buffers:
            self.buffers[value] = self.constants[value] = Buffer(value.type, lasting=True)

    def _check(self, groups: Sequence[Group]) -> None:
        """Raise GraphError naming an op without a lowering."""
        for group in groups:
            for node in group.nodes:
                if node.op.name not in self.target.ops:
                    raise GraphError(f"the native backend has no lowering for op {node.op.name!r}")

    def _order(
        self, groups: list[Group], in_place: dict[Value, Value]
    ) -> tuple[list[Group], list[tuple[Group, Group]]]:
        """Order the groups so that all readers of an old value come before the group that replaces it.

        Where that is impossible, the entry is deleted from ``in_place``. Returns the groups in order, and the pairs
        (first, then) that this order adds to the dependencies.
        """
        group_of_value = {value: group for group in groups for node in group.nodes for value in node.outputs}
        readers: dict[Value, list[tuple[Group, Node]]] = {}
        for group in groups:
            for node in group.nodes:
                for value in values_read(node):
                    readers.setdefault(memory_of(value), []).append((group, node))
        pairs: dict[Value, list[tuple[Group, Group]]] = {}
        for new, old in list(in_place.items()):
            target, old_readers = group_of_value.get(new), readers.get(old, [])
            if target is None or not self._may_replace(target, new, old, old_readers):
                del in_place[new]
            else:
                pairs[new] = [(reader, target) for reader, _ in old_readers if reader is not target]
        extra = [pair for required in pairs.values() for pair in required]
        try:
            return sort_groups(groups, extra), extra
        except ValueError:
            pass
        extra = []  # the pairs have a cycle: add them one value at a time, and drop those that close it
        for new, required in pairs.items():
            try:
                sort_groups(groups, [*extra, *required])
                extra += required
            except ValueError:
                del in_place[new]
        return sort_groups(groups, extra), extra

    @staticmethod
    def _may_replace(group: Group, new: Value, old: Value, readers: list[tuple[Group, Node]]) -> bool:
        """Whether ``group`` reads ``old``, if at all, only at the element of ``new`` that it writes."""
        if group.kind == "single" or group.kind_of(new.node) != "m" or old.type != new.type:
            return False
        own_readers = [node for reader, node in readers if reader is group]
        return all(
            node.op.name != "matmul"
            and all(v.shape == new.shape for v in node.inputs if memory_of(v) is old)
            and group.kind_of(node) == "m"
            and not any(
                v.node.op.name in ("broadcast", "reshape") and memory_of(v) is old for v in node.inputs
            )
            for node in own_readers
        )

    # --- scan ------------------------------------------------------------------------------------------

    def _scan(self, node: Node) -> list[Item]:
        """The loop of a scan, and the copies around it."""
        a, (body,) = node.attributes, node.regions
        carries, sequences = a["carries"], a["sequences"]
        body = prepare(body)
        operand_buffers = [self.buffers[memory_of(value)] for value in node.inputs]
        for value, buffer in zip(
            body.inputs[carries + sequences :], operand_buffers[carries + sequences :], strict=True
        ):
            self.buffers[value] = buffer
        inner = [self._new(value) for value in body.inputs[: carries + sequences]]
        loop = Loop(a["length"], a["backwards"])
        before: list[Item] = [
            Copy(target, source, target.size)
            for target, source in zip(inner[:carries], operand_buffers, strict=False)
        ]
        for target, source in zip(
            inner[carries:], operand_buffers[carries : carries + sequences], strict=True
        ):
            loop.items.append(Copy(target, source, target.size, source_stride=target.size))
        results = len(body.outputs) - carries
        output_buffers = [self.buffers.get(value) for value in node.outputs]
        history = output_buffers[carries + results :]
        for output, source in zip(history, inner[:carries], strict=True):
            if output is not None:
                loop.items.append(Copy(output, source, source.size, target_stride=source.size))
        loop.items += self.region(body, {})
        body_outputs = [self.buffers[memory_of(value)] for value in body.outputs]
        for output, source in zip(
            output_buffers[carries : carries + results], body_outputs[carries:], strict=True
        ):
            if output is not None:
                loop.items.append(Copy(output, source, source.size, target_stride=source.size))
        # Read all carries before replacing any: the new value of one carry may be the old value of another.
        temporaries = [Buffer(item.type) for item in body_outputs[:carries]]
        self.extra += temporaries
        loop.items += [
            Copy(target, source, source.size)
            for target, source in zip(temporaries, body_outputs, strict=False)
        ]
        loop.items += [
            Copy(target, source, source.size) for target, source in zip(inner, temporaries, strict=False)
        ]
        after: list[Item] = [
            Copy(output, source, source.size)
            for output, source in zip(output_buffers[:carries], inner, strict=False)
            if output is not None
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

    ``lasting`` says for each input whether it keeps its buffer from step to step. ``updates`` are pairs (output,
    input): the output replaces the input at the end of the step. ``beside`` is another schedule with the same inputs.
    Then this schedule runs before each step in the arena of ``beside``: it leaves the inputs in place, and may use
    all memory that is free before the step. Raises GraphError naming an op without a lowering.
    """
    prepared = prepare(graph)
    builder = _Builder(target)
    unrolled = _place_inputs(builder, prepared.inputs, lasting, beside)
    replaced = {
        memory_of(prepared.outputs[output]): prepared.inputs[input_index] for output, input_index in updates
    }
    items = builder.region(prepared, replaced, batch)
    outputs = [builder.buffers[memory_of(value)] for value in prepared.outputs]
    replacements: list[Item] = []
    for output, input_index in updates:
        buffer = builder.buffers[prepared.inputs[input_index]]
        if outputs[output] is not buffer:
            replacements.append(Copy(buffer, outputs[output], buffer.size))
    for kernel in kernels_of(items):
        kernel.layout = _layout_of(kernel, target.vector_bytes)
    scratch = _shared_scratch(builder, items)
    tables = {}
    for value, is_lasting in zip(prepared.inputs, lasting, strict=True):
        if is_lasting or value.shape[:1] != (batch,) or len(value.shape) == 1:
            continue
        if _is_read_in_place(value, items, outputs, builder):
            tables[builder.buffers[value]] = Buffer(Type((4 * batch,), "int32"), lasting=True)
    builder.extra += tables.values()
    for output, input_index in updates:
        value = prepared.inputs[input_index]
        buffer = builder.buffers[value]
        if outputs[output] is buffer and outputs.count(buffer) == 1:
            buffer.panel = _panel_columns(value, items, builder)
    _set_lifetimes([*items, *replacements], builder, prepared.inputs, outputs)
    buffers = dict.fromkeys([*builder.buffers.values(), *builder.extra])
    if beside is None:
        size = place_buffers(buffers)
    else:
        inputs = [beside.buffers[value] for value in beside.graph.inputs]
        lasting_buffers = [buffer for buffer in beside.buffers.values() if buffer.lasting]
        size = place_buffers(buffers, beside.size, [*lasting_buffers, *inputs, *beside.tables.values()])
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
    """Give every input a buffer, at the same offset as in ``beside`` if there is such a schedule.

    Inputs that lie in panels in ``beside`` are exceptions. Returns for each a row-major buffer, and the buffer with
    the panels.
    """
    # A kernel may read the hyperparameter with an input's background, although none of its nodes reads it.
    backgrounds = {value.node.attributes.get("background") for value in inputs}
    unrolled: list[tuple[Buffer, Buffer]] = []
    for index, (value, is_lasting) in enumerate(zip(inputs, lasting, strict=True)):
        keeps_content = is_lasting or value.node.attributes["name"] in backgrounds
        builder.buffers[value] = Buffer(value.type, lasting=keeps_content)
        if beside is not None:
            existing = beside.buffers[beside.graph.inputs[index]]
            if existing.panel:
                builder.buffers[value].lasting = False
                unrolled.append((builder.buffers[value], existing))
            else:
                builder.buffers[value].offset = existing.offset
    return unrolled


def _layout_of(kernel: PlannedKernel, vector_bytes: int) -> RowLayout | ProductPlan | None:
    """The layout of a kernel of rows, or the plan of a product; None for any other op."""
    if kernel.group.kind == "rows":
        return lay_out_rows(kernel.group, vector_bytes, kernel.block, kernel.blocks)
    product = product_in(kernel.group)
    return None if product is None else plan_of(kernel, product, vector_bytes)


def _shared_scratch(builder: _Builder, items: Sequence[Item]) -> Buffer | None:
    """One scratch buffer for all kernels that have none of their own: these never run at the same time."""
    sizes = (
        scratch_bytes(kernel, builder.vector_bytes) for kernel in kernels_of(items) if kernel.scratch is None
    )
    size = max(sizes, default=0)
    if not size:
        return None
    scratch = Buffer(Type((-(-size // 4),), "float32"), lasting=True)
    builder.extra.append(scratch)
    return scratch


def _panel_columns(value: Value, items: Sequence[Item], builder: _Builder) -> int:
    """The columns of a panel of ``value``; 0 if some kernel that touches ``value`` cannot use panels."""
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
    compatible = all(width and widest % width == 0 for width in widths)
    return widest if compatible and widest < value.shape[-1] and value.shape[-1] % widest == 0 else 0


def _is_read_in_place(
    value: Value, items: Sequence[Item], outputs: Sequence[Buffer], builder: _Builder
) -> bool:
    """Whether all readers of the data ``value`` can read its rows in place, without a copy into the arena."""
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
                operands = [v for v in reads(node) if memory_of(look_through(v).value) is value]
                if operands and not (
                    len(operands) == 1
                    and can_read_in_place(kernel, node, builder.vector_bytes)
                    and operands[0] is operand(node.inputs[0])[0]
                    and operands[0].shape[0] == value.shape[0]
                ):
                    return False
    return True


def _set_lifetimes(
    items: list[Item], builder: _Builder, inputs: Sequence[Value], outputs: Sequence[Buffer]
) -> None:
    """Set the lifetime of each buffer.

    A buffer that a loop, a chain or a spread touches is alive for the whole of that item.
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

    for value in inputs:  # inputs are filled before the first item
        builder.buffers[value].touch(0, 0)
    for item in items:
        visit(item)
    for buffer in outputs:  # outputs are read after the last item
        buffer.touch(position, position)
