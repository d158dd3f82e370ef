"""The LLVM module of a schedule, with one function per kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import ELEMENT, Reg
from glassgrad.backends.native.kernels.elementwise import ELEMENTWISE
from glassgrad.backends.native.kernels.epilogue import finish_tile, tile_evaluator
from glassgrad.backends.native.kernels.loop_nests import EmitContext
from glassgrad.backends.native.kernels.memory_access import ARENA, address, store
from glassgrad.backends.native.kernels.rows import RowKernel
from glassgrad.backends.native.kernels.single_ops import SINGLE_OPS
from glassgrad.backends.native.plan.fusion import operand
from glassgrad.backends.native.plan.items import PlannedKernel, Schedule
from glassgrad.backends.native.plan.memory import Buffer
from glassgrad.backends.native.plan.products import product_in
from glassgrad.backends.native.plan.row_layout import RowLayout
from glassgrad.backends.native.plan.sharing import is_worth_sharing
from glassgrad.backends.native.plan.tiling import ProductPlan
from glassgrad.backends.native.products.operands import Operands
from glassgrad.backends.native.products.tiles import Tile, emit_pack, emit_product
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import Node
from glassgrad.ops.op import ZERO

KERNEL = [("ptr noalias align 64", "arena"), ("ptr", "places"), ("i64", "first"), ("i64", "last")]
FIRST, LAST = Reg("%first", "i64"), Reg("%last", "i64")


def lowered_ops() -> frozenset[str]:
    """The names of the ops that have a lowering."""
    return frozenset((*ELEMENTWISE, *SINGLE_OPS, "matmul", "scan", "iota", "one_hot"))


@frozen
class KernelFunction:
    """The name of a kernel's function, and the offsets of the buffers that one call of it works on."""

    name: str
    places: tuple[int, ...]


@frozen
class EmittedKernel:
    """An emitted kernel and the number of its independent units; a product may have a function that packs first.

    ``work`` counts multiplications of a product, or else elements.
    """

    code: KernelFunction
    units: int
    work: int
    is_product: bool = False
    pack: KernelFunction | None = None
    pack_units: int = 0
    skipped: str | None = None  # the background of its first operand that a product skips

    @property
    def is_shared(self) -> bool:
        """Whether threads share the kernel on its own, outside of a chain or spread."""
        return is_worth_sharing(self.units, self.work, self.is_product)

    @property
    def name(self) -> str:
        """The name of the function; kernels that differ only in the offsets of their buffers share it."""
        return self.code.name


class Module:
    """The IR module of a schedule while it is being emitted."""

    def __init__(self, schedule: Schedule, vector_bytes: int, part_of: Module | None = None) -> None:
        """``part_of``: another module that the functions are added to; equal functions are shared with it."""
        self.schedule, self.vector_bytes = schedule, vector_bytes
        self.prefix = "" if part_of is None else "probe_"
        self.functions: list[Function] = [] if part_of is None else part_of.functions
        self.kernels: dict[PlannedKernel, EmittedKernel] = {}
        self.parallel = False
        self.fetched: set[Buffer] = set()  # data buffers whose next batch a kernel prefetches
        self._name_by_body: dict[str, str] = {} if part_of is None else part_of._name_by_body

    def text(self) -> str:
        """The whole module."""
        return self._joined(self.functions)

    def texts(self, count: int) -> list[str]:
        """The module split into up to ``count`` modules of about equal size, which link to one another."""
        parts: list[list[Function]] = [[] for _ in range(count)]
        sizes = [0] * count
        for f in sorted(self.functions, key=lambda f: -f.size):
            smallest = sizes.index(min(sizes))
            parts[smallest].append(f)
            sizes[smallest] += f.size
        return [self._joined(part) for part in parts if part]

    def _joined(self, functions: Sequence[Function]) -> str:
        declared = {line for f in functions for line in f.declared}
        others = [f.declaration for f in self.functions if f not in functions]
        return "\n".join([*sorted(declared), *others, *(f.text() for f in functions), "!0 = !{}\n"])

    def kernel(self, planned: PlannedKernel) -> EmittedKernel:
        """Emit one kernel. Kernels that differ only in the offsets of their buffers share their code."""
        if planned not in self.kernels:
            name = f"{self.prefix}k{len(self.kernels)}_{'_'.join(n.op.name for n in planned.group.nodes)}"[
                :48
            ]
            self.kernels[planned] = self._emit(planned, name)
        return self.kernels[planned]

    def _function(self, name: str) -> Function:
        f = Function(name, KERNEL, attributes="noinline nounwind")
        f.places = []
        return f

    def _add(self, f: Function) -> KernelFunction:
        """Add a finished function, unless the module has one with the same body."""
        body = f.body()
        if body not in self._name_by_body:
            self._name_by_body[body] = f.name
            self.functions.append(f)
        return KernelFunction(self._name_by_body[body], tuple(f.places or ()))

    def _emit(self, planned: PlannedKernel, name: str) -> EmittedKernel:
        group, locate = planned.group, self.schedule.buffer
        elements = max(1, math.prod(group.shape))
        if group.kind == "rows":
            layout = planned.layout
            assert isinstance(layout, RowLayout)
            f = self._function(name)
            RowKernel(f, group, layout, locate, planned.outputs).emit(FIRST, LAST)
            return EmittedKernel(self._add(f), layout.units, elements)
        if group.kind == "product":
            return self._product(planned, name)
        f, (node,) = self._function(name), group.nodes
        if node.op.name == "matmul":
            assert isinstance(planned.layout, ProductPlan)
            self._batched(f, node, planned.layout)
            return EmittedKernel(self._add(f), 1, elements)
        inputs = [locate(value) for value in node.inputs]
        outputs = [locate(value) for value in node.outputs]
        SINGLE_OPS[node.op.name](EmitContext(f, self.vector_bytes), node, inputs, outputs)
        return EmittedKernel(self._add(f), 1, elements)

    def _product(self, planned: PlannedKernel, name: str) -> EmittedKernel:
        group, locate = planned.group, self.schedule.buffer
        node, plan = product_in(group), planned.layout
        assert node is not None
        assert isinstance(plan, ProductPlan)
        product = plan.product
        pack = None
        if plan.pack_units:
            f = self._function(f"{name}_pack")
            emit_pack(f, plan, self._operands(f, node, plan, planned.scratch), first=FIRST, last=LAST)
            pack = self._add(f)
        f = self._function(name)
        operands = self._operands(f, node, plan, planned.scratch)
        evaluator = tile_evaluator(f, group, locate, planned.outputs)

        def finish(tile: Tile) -> None:
            vectors = [
                (offset, lanes, lanes if mask is None else product.n % lanes)
                for offset, lanes, mask in tile.vectors
            ]
            finish_tile(evaluator, node, tile.values, tile.row, tile.column, vectors)

        if operands.row_addresses is not None and plan.fetches:
            self.fetched.add(locate(operand(node.inputs[0])[0]))
        emit_product(f, plan, operands, finish, first=FIRST, last=LAST)
        work = product.m * product.n * product.k
        skipped = product.background if plan.is_sparse else None
        return EmittedKernel(self._add(f), plan.units, work, True, pack, plan.pack_units, skipped)

    def _operands(
        self, f: Function, node: Node, plan: ProductPlan, scratch: Buffer | None = None
    ) -> Operands:
        first, second = (self.schedule.buffer(operand(value)[0]) for value in node.inputs)
        scratch = scratch or self.schedule.scratch
        table = self.schedule.tables.get(first)
        return Operands(
            address(f, first),
            address(f, second),
            address(f, scratch) if scratch is not None else ARENA,
            address(f, table) if table is not None else None,
            self._background(f, plan),
            second.panel,
        )

    def _background(self, f: Function, plan: ProductPlan) -> Reg | None:
        """The background of A as a register; None if the product has no base row."""
        if not plan.has_base:
            return None
        if plan.product.background == ZERO:
            return f.number(plan.product.element, 0.0)
        inputs = self.schedule.graph.inputs
        (value,) = (v for v in inputs if v.node.attributes["name"] == plan.product.background)
        return f.load(plan.product.element, address(f, self.schedule.buffers[value]))

    def _batched(self, f: Function, node: Node, plan: ProductPlan) -> None:
        """Emit a batched product: a loop over all leading axes."""
        product = plan.product
        operands = self._operands(f, node, plan)
        out = self.schedule.buffer(node.outputs[0])
        dtype = node.types[0].dtype
        element = ELEMENT[dtype]
        with f.loop(math.prod(node.types[0].shape[:-2])) as index:
            a = f.at(operands.a, element, f.mul(index, product.m * product.k))
            b = f.at(operands.b, element, f.mul(index, product.k * product.n))
            c_start = f.mul(index, product.m * product.n)

            def finish(tile: Tile) -> None:
                for i, line in enumerate(tile.values):
                    row = f.mul(f.add(tile.row, i), product.n)
                    for (offset, lanes, mask), value in zip(tile.vectors, line, strict=True):
                        position = f.add(f.add(c_start, row), f.add(tile.column, offset))
                        count = lanes if mask is None else product.n % lanes
                        store(f, value, address(f, out, position), dtype, count)

            one_product = Operands(a, b, operands.scratch)
            if plan.scratch_bytes:
                emit_pack(f, plan, one_product)
            emit_product(f, plan, one_product, finish)
