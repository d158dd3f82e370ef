"""Stage 3: a schedule to LLVM IR. One function per kernel, and one, ``run``, that runs all steps.

``run(arena, args, thread, threads)`` reads its arguments from an array of 64-bit words:

    0 steps   1 rows (int32 [steps, batch])   2 valid (bytes [steps, batch])   3 first step (number)
    4 ... data arrays, one per data input; then one array of numbers per hyperparameter; then one per output
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from glassgrad.backends.native.elements import ELEMENT, ELEMENTWISE, SIZE
from glassgrad.backends.native.fusion import Group, operand
from glassgrad.backends.native.ir import Function, Reg
from glassgrad.backends.native.memory import Buffer
from glassgrad.backends.native.product import Product, Tile
from glassgrad.backends.native.product import emit as emit_product
from glassgrad.backends.native.product import emit_pack
from glassgrad.backends.native.product import plan as plan_product
from glassgrad.backends.native.rows import (
    ARENA,
    Layout,
    address,
    emit_rows,
    finish_tile,
    lay_out,
    store,
    tile_evaluator,
)
from glassgrad.backends.native.schedule import Copy, Item, Loop, Schedule, Work
from glassgrad.backends.native.singles import SINGLES, Target
from glassgrad.graph.node import Node
from glassgrad.program import Program

KERNEL = [("ptr noalias align 64", "arena"), ("i64", "first"), ("i64", "last")]
FIRST, LAST = Reg("%first", "i64"), Reg("%last", "i64")


def supported(node: Node) -> bool:
    """Whether there is a lowering for ``node``'s op."""
    name = node.op.name
    return name in ELEMENTWISE or name in SINGLES or name in ("matmul", "scan", "iota", "one_hot")


def product_of(node: Node) -> Product:
    """The shape of a matrix product (of one of the batch)."""
    (a, flip_a), (b, flip_b) = (operand(value) for value in node.inputs)
    m, n = node.types[0].shape[-2:]
    return Product(m, n, node.inputs[0].shape[-1], ELEMENT[node.types[0].dtype], flip_a, flip_b)


def scratch_bytes(group: Group, vector_bytes: int) -> int:
    """The workspace that a group needs."""
    node = group.nodes[0]
    products = [node for node in group.nodes if node.op.name == "matmul"]
    return sum(plan_product(product_of(node), vector_bytes).scratch_bytes for node in products)


@dataclass(frozen=True)
class Kernel:
    """An emitted kernel: its name, and into how many independent units it can be cut."""

    name: str
    units: int
    elements: int
    packs: bool = False


class Module:
    """The IR module in the making."""

    def __init__(self, schedule: Schedule, vector_bytes: int) -> None:
        self.schedule, self.vector_bytes = schedule, vector_bytes
        self.functions: list[Function] = []
        self.kernels: dict[Work, Kernel] = {}

    def text(self) -> str:
        """The whole module."""
        declared = sorted({line for f in self.functions for line in f.declared})
        return "\n".join([*declared, *(f.text() for f in self.functions)])

    def kernel(self, work: Work) -> Kernel:
        """Emit one kernel."""
        if work not in self.kernels:
            name = f"k{len(self.kernels)}_{'_'.join(n.op.name for n in work.group.nodes)}"[:48]
            self.kernels[work] = self._emit(work, name)
        return self.kernels[work]

    def _function(self, name: str) -> Function:
        f = Function(name, KERNEL, attributes="noinline nounwind")
        self.functions.append(f)
        return f

    def _emit(self, work: Work, name: str) -> Kernel:
        group, locate = work.group, self.schedule.buffer
        elements = max(1, math.prod(group.shape))
        if group.kind == "rows":
            layout: Layout = lay_out(group, self.vector_bytes)
            f = self._function(name)
            emit_rows(f, group, layout, locate, work.outputs, FIRST, LAST)
            return Kernel(name, layout.units, elements)
        if group.kind == "product":
            return self._product(work, name)
        f, (node,) = self._function(name), group.nodes
        if node.op.name == "matmul":
            self._batched(f, node)
            return Kernel(name, 1, elements)
        inputs = [locate(value) for value in node.inputs]
        # An output that nobody reads has no buffer; a kernel with several outputs writes it all the same.
        outputs = [self.schedule.buffers.get(value) for value in node.outputs]
        made = [buffer for buffer in outputs if buffer is not None]
        if len(made) < len(outputs):
            spare = next(buffer for buffer in made)
            made = [buffer if buffer is not None else spare for buffer in outputs]
        SINGLES[node.op.name](Target(f, self.vector_bytes), node, inputs, made)
        return Kernel(name, 1, elements)

    def _product(self, work: Work, name: str) -> Kernel:
        group, locate = work.group, self.schedule.buffer
        node = next(node for node in group.nodes if node.op.name == "matmul")
        product = product_of(node)
        plan = plan_product(product, self.vector_bytes)
        packs = plan.scratch_bytes > 0
        if packs:
            f = self._function(f"{name}_pack")
            a, b, scratch = self._operands(f, node)
            emit_pack(f, plan, a, b, scratch)
        f = self._function(name)
        a, b, scratch = self._operands(f, node)
        evaluator = tile_evaluator(f, group, locate, work.outputs)

        def finish(tile: Tile) -> None:
            vectors = [
                (offset, lanes, lanes if mask is None else product.n % lanes)
                for offset, lanes, mask in tile.vectors
            ]
            finish_tile(evaluator, node, tile.values, tile.row, tile.column, vectors)

        emit_product(f, plan, a, b, scratch, finish, first=FIRST, last=LAST)
        return Kernel(name, plan.units, product.m * product.n * product.k, packs)

    def _operands(self, f: Function, node: Node) -> tuple[Reg, Reg, Reg]:
        a, b = (address(f, self.schedule.buffer(operand(value)[0])) for value in node.inputs)
        scratch = self.schedule.scratch
        return a, b, address(f, scratch) if scratch is not None else ARENA

    def _batched(self, f: Function, node: Node) -> None:
        product = product_of(node)
        plan = plan_product(product, self.vector_bytes)
        a, b, scratch = self._operands(f, node)
        out = self.schedule.buffer(node.outputs[0])
        dtype = node.types[0].dtype
        element = ELEMENT[dtype]
        with f.loop(math.prod(node.types[0].shape[:-2])) as turn:
            here_a = f.at(a, element, f.mul(turn, product.m * product.k))
            here_b = f.at(b, element, f.mul(turn, product.k * product.n))
            base = f.mul(turn, product.m * product.n)

            def finish(tile: Tile) -> None:
                for i, line in enumerate(tile.values):
                    row = f.mul(f.add(tile.row, i), product.n)
                    for (offset, lanes, mask), value in zip(tile.vectors, line, strict=True):
                        place = f.add(f.add(base, row), f.add(tile.column, offset))
                        count = lanes if mask is None else product.n % lanes
                        store(f, value, address(f, out, place), dtype, count)

            if plan.scratch_bytes:
                emit_pack(f, plan, here_a, here_b, scratch)
            emit_product(f, plan, here_a, here_b, scratch, finish)


RUN = [("ptr noalias align 64", "arena"), ("ptr", "args"), ("i64", "thread"), ("i64", "threads")]


def emit_program(program: Program, schedule: Schedule, vector_bytes: int) -> Module:
    """The module of ``program``: all kernels, and ``run``."""
    module = Module(schedule, vector_bytes)
    f = Function("run", RUN, attributes="nounwind")
    runner = _Runner(module, f, program)
    runner.emit()
    module.functions.append(f)
    return module


class _Runner:
    """The function that loops over the steps."""

    def __init__(self, module: Module, f: Function, program: Program) -> None:
        self.module, self.f, self.program = module, f, program
        self.schedule = module.schedule
        self.args = Reg("%args", "ptr")

    def word(self, index: int, kind: str) -> Reg:
        """One argument."""
        return self.f.load(kind, self.f.at(self.args, "i64", index), 8)

    def emit(self) -> None:
        f, program = self.f, self.program
        steps, rows, valid = self.word(0, "i64"), self.word(1, "ptr"), self.word(2, "ptr")
        first = self.word(3, "i64")
        slots = 4
        data = [self.word(slots + i, "ptr") for i in range(len(program.data))]
        slots += len(data)
        hyper = [self.word(slots + i, "ptr") for i in range(len(program.hyper))]
        slots += len(hyper)
        outputs = [self.word(slots + i, "ptr") for i in range(len(program.outputs))]
        buffers = dict(zip(program.inputs, self.input_buffers(), strict=True))
        updates = len(program.updates)
        with f.loop(steps) as step:
            place = f.mul(step, program.batch)
            here = f.at(rows, "i32", place)
            sources = iter(data)
            numbers = iter(hyper)
            for item in program.inputs:
                buffer = buffers[item]
                if item.role == "data":
                    self.gather(next(sources), here, buffer)
                elif item.role == "hyper":
                    element = ELEMENT[item.type.dtype]
                    value = f.load(element, f.at(next(numbers), element, step), SIZE[item.type.dtype])
                    f.store(value, address(f, buffer), SIZE[item.type.dtype])
                elif item.role == "valid":
                    f.copy(address(f, buffer), f.at(valid, "i8", place), program.batch)
                elif item.role == "row":
                    f.copy(address(f, buffer), here, program.batch * 4)
                elif item.role == "step":
                    f.store(f.cast("trunc", f.add(first, step), "i32"), address(f, buffer), 4)
            late = self.items_before_updates()
            self.items(late[0], None)
            for output, target, buffer in zip(
                program.outputs, outputs, self.schedule.outputs[updates:], strict=True
            ):
                del output
                f.copy(f.at(target, "i8", f.mul(step, buffer.size)), address(f, buffer), buffer.size)
            self.items(late[1], None)

    def items_before_updates(self) -> tuple[list[Item], list[Item]]:
        """Everything up to the copies that replace parameters at the end of the step; and these."""
        items = self.schedule.items
        end = len(items)
        while end and isinstance(items[end - 1], Copy):
            end -= 1
        return items[:end], items[end:]

    def input_buffers(self) -> list[Buffer]:
        """The buffers of the program's inputs, in order."""
        return [self.schedule.buffers[value] for value in self.schedule.graph.inputs]

    def gather(self, source: Reg, rows: Reg, buffer: Buffer) -> None:
        """The batch's rows of one data array, side by side."""
        f, size = self.f, buffer.size // self.program.batch
        with f.loop(self.program.batch) as i:
            row = f.cast("zext", f.load("i32", f.at(rows, "i32", i)), "i64")
            f.copy(f.at(address(f, buffer), "i8", f.mul(i, size)), f.at(source, "i8", f.mul(row, size)), size)

    def items(self, items: Sequence[Item], turn: Reg | None) -> None:
        """Run the items; ``turn`` is the position in the sequences of the scan around them."""
        f = self.f
        for item in items:
            if isinstance(item, Copy):
                target, source = address(f, item.target), address(f, item.source)
                if item.target_stride and turn is not None:
                    target = f.at(target, "i8", f.mul(turn, item.target_stride))
                if item.source_stride and turn is not None:
                    source = f.at(source, "i8", f.mul(turn, item.source_stride))
                f.copy(target, source, item.size)
            elif isinstance(item, Loop):
                with f.loop(item.length) as t:
                    here = f.sub(Reg(str(item.length - 1), "i64"), t) if item.backwards else t
                    self.items(item.items, here)
            else:
                kernel = self.module.kernel(item)
                if kernel.packs:
                    f.raw(f"call void @{kernel.name}_pack(ptr {ARENA.text}, i64 0, i64 1)")
                f.raw(f"call void @{kernel.name}(ptr {ARENA.text}, i64 0, i64 {kernel.units})")
