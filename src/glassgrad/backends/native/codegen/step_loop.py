"""The loop over the steps: the function ``run``, executed by thread 0.

Each step executes the items of the schedule, and shares large kernels with other threads (see ``work_sharing``).
``run(arena, args)`` reads its arguments from the words that ``runtime.arguments`` describes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from glassgrad.backends.native.codegen.module import FIRST, LAST, EmittedKernel, KernelFunction, Module
from glassgrad.backends.native.codegen.module import KERNEL as KERNEL_PARAMETERS
from glassgrad.backends.native.codegen.work_sharing import ARGS, close, sharing
from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import ELEMENT, SIZE, Reg
from glassgrad.backends.native.kernels.memory_access import ARENA, address
from glassgrad.backends.native.plan.items import Chain, Copy, Item, Loop, Schedule, Spread
from glassgrad.backends.native.plan.memory import Buffer
from glassgrad.backends.native.plan.sharing import gathering_chain, is_gather_worth_sharing
from glassgrad.backends.native.runtime.arguments import (
    ARRAYS,
    BATCH_ROWS,
    FIRST_STEP,
    NEXT_ROWS,
    PROBED,
    ROWS,
    STEPS,
    TICKETS_PER_KERNEL,
    VALID,
)
from glassgrad.backends.native.runtime.machine import Machine
from glassgrad.program import Program


def emit_program(
    program: Program, schedule: Schedule, target: Machine, probes: Schedule | None = None
) -> Module:
    """The module of ``program``: its kernels and those of ``probes``, ``run``, and the functions that share work."""
    module = Module(schedule, target.vector_bytes)
    f = Function("run", [("ptr noalias align 64", "arena"), ("ptr", "args")], attributes="nounwind")
    step_loop = _StepLoop(module, f, program)
    if probes is not None:
        probe_loop = _StepLoop(Module(probes, target.vector_bytes, module), f, program, step_loop.tables)
        module.parallel = module.parallel or probe_loop.module.parallel
        step_loop.emit(probe_loop)
    else:
        step_loop.emit()
    module.functions.append(f)
    if module.parallel:
        module.functions += sharing(target)
    return module


def _gather(
    name: str,
    buffers: Sequence[Buffer],
    batch: int,
    tables: Mapping[Buffer, Buffer],
    fetched: Collection[Buffer] = (),
) -> Function:
    """Gather rows ``first`` to ``last`` of the batch from every data array: copy them, or store their addresses.

    A buffer in ``tables`` gets addresses instead of copies. If it is in ``fetched``, its table also gets the
    addresses of the next batch's rows.
    """
    f = Function(name, KERNEL_PARAMETERS, attributes="noinline nounwind")
    words = Reg("%places", "ptr")
    rows, next_rows = (f.load("ptr", f.at(words, "i64", place), 8) for place in (BATCH_ROWS, NEXT_ROWS))
    sources = [f.load("ptr", f.at(words, "i64", ARRAYS + i), 8) for i in range(len(buffers))]
    with f.loop(Reg("%last", "i64"), Reg("%first", "i64")) as i:
        row = f.cast("zext", f.load("i32", f.at(rows, "i32", i)), "i64")
        for buffer, source in zip(buffers, sources, strict=True):
            size = buffer.size // batch
            row_pointer = f.at(source, "i8", f.mul(row, size))
            if buffer in tables:
                table = address(f, tables[buffer])
                f.store(row_pointer, f.at(table, "ptr", i), 8)
                if buffer not in fetched:
                    continue
                next_row = f.cast("zext", f.load("i32", f.at(next_rows, "i32", i)), "i64")
                f.store(
                    f.at(source, "i8", f.mul(next_row, size)), f.at(f.at(table, "ptr", batch), "ptr", i), 8
                )
            else:
                f.copy(f.at(address(f, buffer), "i8", f.mul(i, size)), row_pointer, size)
    return f


class _StepLoop:
    """Emits the loop of ``run`` over the steps, or (for a module of probes) the measurement before a step."""

    def __init__(
        self,
        module: Module,
        f: Function,
        program: Program,
        tables: dict[tuple[int, ...], str] | None = None,
    ) -> None:
        self.module, self.f, self.program = module, f, program
        self.schedule = module.schedule
        self.tables = {} if tables is None else tables
        self.regions = 0
        self.gathering: Chain | None = None  # the chain that gathers its own rows
        for planned in self.schedule.kernels():
            kernel = module.kernel(planned)
            module.parallel = module.parallel or kernel.is_shared
        if any(isinstance(item, Chain | Spread) for item in self.schedule.items):
            module.parallel = True

    def word(self, index: int, kind: str) -> Reg:
        """The argument word ``index``, as LLVM type ``kind``."""
        return self.f.load(kind, self.f.at(ARGS, "i64", index), 8)

    def emit(self, probes: _StepLoop | None = None) -> None:
        """Emit the loop over the steps; ``probes`` measures before each step that is marked as probed."""
        f, program = self.f, self.program
        steps, rows, row_mask = self.word(STEPS, "i64"), self.word(ROWS, "ptr"), self.word(VALID, "ptr")
        first = self.word(FIRST_STEP, "i64")
        word_index = ARRAYS
        word_index += len(program.data)
        hyper = [self.word(word_index + i, "ptr") for i in range(len(program.hyper))]
        word_index += len(hyper)
        outputs = [self.word(word_index + i, "ptr") for i in range(len(program.outputs))]
        if probes is not None:
            probed = self.word(PROBED, "ptr")
            word_index += len(outputs)
            probe_arrays = [self.word(word_index + i, "ptr") for i in range(len(program.probes))]
            probe_count = f.alloca("i64")
            f.store(f.number("i64", 0), probe_count, 8)
        buffers = [self.schedule.buffers[value] for value in self.schedule.graph.inputs]
        inputs = list(zip(program.inputs, buffers, strict=True))
        with f.loop(steps) as step:
            first_row = f.mul(step, program.batch)
            step_rows = f.at(rows, "i32", first_row)
            data = [buffer for item, buffer in inputs if item.role == "data"]
            is_last = f.compare("eq", step, f.sub(steps, 1))
            next_rows = f.at(step_rows, "i32", f.select(is_last, f.number("i64", 0), program.batch))
            self.gather(data, step_rows, next_rows)
            probes_need_gather = self.gathering is not None or bool(self.schedule.tables)
            if probes is not None and probes_need_gather:
                self.module.functions.append(_gather("gather_all", data, program.batch, {}))
            numbers = iter(hyper)
            for item, buffer in inputs:
                size = SIZE[item.type.dtype]
                if item.role == "hyper":
                    element = ELEMENT[item.type.dtype]
                    f.store(
                        f.load(element, f.at(next(numbers), element, step), size), address(f, buffer), size
                    )
                elif item.role == "row_mask":
                    f.copy(address(f, buffer), f.at(row_mask, "i8", first_row), program.batch)
                elif item.role == "row":
                    f.copy(address(f, buffer), step_rows, program.batch * 4)
                elif item.role == "step":
                    f.store(f.cast("trunc", f.add(first, step), "i32"), address(f, buffer), 4)
            if probes is not None:
                with f.when(f.compare("ne", f.load("i8", f.at(probed, "i8", step), 1), 0)):
                    if probes_need_gather:
                        self.offer("gather_all", ARGS.text, program.batch, False)
                    probes.measure(probe_arrays, probe_count)
            self.items(self.schedule.items, None)
            output_buffers = self.schedule.outputs[len(program.updates) :]
            for target, buffer in zip(outputs, output_buffers, strict=True):
                f.copy(f.at(target, "i8", f.mul(step, buffer.size)), address(f, buffer), buffer.size)
            self.items(self.schedule.replacements, None)
        if self.module.parallel:
            close(f)

    def measure(self, targets: Sequence[Reg], count: Reg) -> None:
        """Emit the items, and store their outputs behind the ``count`` results that are already in ``targets``."""
        f = self.f
        for plain, panels in self.schedule.unrolled:
            self.unroll(plain, panels)
        self.items(self.schedule.items, None)
        results_before = f.load("i64", count, 8)
        for target, buffer in zip(targets, self.schedule.outputs, strict=True):
            f.copy(f.at(target, "i8", f.mul(results_before, buffer.size)), address(f, buffer), buffer.size)
        f.store(f.add(results_before, 1), count, 8)

    def unroll(self, target: Buffer, source: Buffer) -> None:
        """Copy the matrix in panels ``source`` to the row-major buffer ``target``."""
        f, (rows, columns) = self.f, source.type.shape
        size = SIZE[source.type.dtype]
        for column in range(0, columns, source.panel):
            with f.loop(rows) as row:
                target_pointer = f.at(
                    address(f, target), "i8", f.add(f.mul(row, columns * size), column * size)
                )
                source_offset = f.add(f.mul(row, source.panel * size), column * rows * size)
                f.copy(target_pointer, f.at(address(f, source), "i8", source_offset), source.panel * size)

    def gather(self, buffers: Sequence[Buffer], rows: Reg, next_rows: Reg) -> None:
        """Gather the batch from every data array, by a kernel that takes the argument words as its ``places``."""
        f, batch = self.f, self.program.batch
        if not buffers:
            return
        tables = self.schedule.tables
        self.module.functions.append(_gather("gather", buffers, batch, tables, self.module.fetched))
        f.store(rows, f.at(ARGS, "i64", BATCH_ROWS), 8)
        f.store(next_rows, f.at(ARGS, "i64", NEXT_ROWS), 8)
        self.gathering = gathering_chain(self.schedule, buffers)
        if self.gathering is not None:
            return
        copied = sum(buffer.size for buffer in buffers if buffer not in tables)
        shared = self.module.parallel and is_gather_worth_sharing(copied)
        self.offer("gather", ARGS.text, batch, shared)

    def items(self, items: Sequence[Item], scan_position: Reg | None) -> None:
        """Emit the items; ``scan_position`` is the position in the sequences of the enclosing scan."""
        f = self.f
        for item in items:
            if isinstance(item, Copy):
                target, source = address(f, item.target), address(f, item.source)
                if item.target_stride and scan_position is not None:
                    target = f.at(target, "i8", f.mul(scan_position, item.target_stride))
                if item.source_stride and scan_position is not None:
                    source = f.at(source, "i8", f.mul(scan_position, item.source_stride))
                f.copy(target, source, item.size)
            elif isinstance(item, Loop):
                with f.loop(item.length) as t:
                    self.items(
                        item.items, f.sub(Reg(str(item.length - 1), "i64"), t) if item.backwards else t
                    )
            elif isinstance(item, Chain):
                for planned in item.items:
                    self.pack(self.module.kernel(planned))
                self.offer(self.chain(item), ARGS.text, item.units, True)
            elif isinstance(item, Spread):
                name, units = self.spread(item)
                self.offer(name, ARGS.text, units, True)
            else:
                kernel = self.module.kernel(item)
                self.pack(kernel)
                self.call(kernel.code, kernel.units, kernel.is_shared)

    def pack(self, kernel: EmittedKernel) -> None:
        """Emit the packing of a product's operands, if it packs any."""
        if kernel.pack is not None:
            self.call(kernel.pack, kernel.pack_units, kernel.is_shared)

    def chain(self, chain: Chain) -> str:
        """Emit the function of a chain: for each unit, all kernels on its rows. Returns the name."""
        f = self.region("chain")
        with f.loop(LAST, FIRST) as unit:
            next_unit = f.add(unit, 1)
            if chain is self.gathering:
                batch, block = self.program.batch, chain.items[0].block
                is_last = f.compare("eq", next_unit, chain.units)
                end = f.select(is_last, f.number("i64", batch), f.mul(next_unit, block))
                start = f.mul(unit, block).text
                f.raw(f"call void @gather(ptr {ARENA.text}, ptr %places, i64 {start}, i64 {end.text})")
            for planned in chain.items:
                kernel = self.module.kernel(planned)
                units_per_block = kernel.units // chain.units
                self.direct(f, kernel.code, f.mul(unit, units_per_block), f.mul(next_unit, units_per_block))
        return f.name

    def spread(self, spread: Spread) -> tuple[str, int]:
        """Emit the function of a spread: the units of all its kernels. Returns the name and the number of units."""
        f, count = self.region("spread"), 0
        for planned in spread.items:
            kernel = self.module.kernel(planned)
            end = count + kernel.units
            low = f.intrinsic("umax", FIRST, f.number("i64", count))
            high = f.intrinsic("umin", LAST, f.number("i64", end))
            with f.when(f.compare("ult", low, high)):
                self.direct(f, kernel.code, f.sub(low, count), f.sub(high, count))
            count = end
        return f.name, count

    def region(self, kind: str) -> Function:
        """A new, empty function for a chain or a spread."""
        f = Function(
            f"{self.module.prefix}{kind}{self.regions}", KERNEL_PARAMETERS, attributes="noinline nounwind"
        )
        self.regions += 1
        self.module.functions.append(f)
        return f

    def direct(self, f: Function, code: KernelFunction, first: Reg, last: Reg) -> None:
        """Emit into ``f`` a direct call of units ``first`` to ``last`` of a kernel."""
        table = self.table(f, code)
        f.raw(f"call void @{code.name}(ptr {ARENA.text}, ptr {table}, i64 {first.text}, i64 {last.text})")

    def table(self, f: Function, code: KernelFunction) -> str:
        """The name of the constant with the offsets of a kernel's buffers, which is declared in ``f``."""
        table = self.tables.setdefault(code.places, f"@places{len(self.tables)}")
        content = ", ".join(f"i64 {offset}" for offset in code.places)
        f.declared.add(f"{table} = private unnamed_addr constant [{len(code.places)} x i64] [{content}]")
        return table

    def call(self, code: KernelFunction, units: int, shared: bool) -> None:
        """Emit a call of a kernel: shared among threads, or by thread 0 alone."""
        self.offer(code.name, self.table(self.f, code), units, shared)

    def offer(self, name: str, places: str, units: int, shared: bool) -> None:
        """Emit a call of all units of the function ``name``: through ``share``, or directly."""
        if shared and units > 1:
            tickets = min(units, TICKETS_PER_KERNEL)
            self.f.raw(
                f"call void @share(ptr {ARENA.text}, ptr {ARGS.text}, ptr @{name}, ptr {places}, "
                f"i64 {units}, i64 {tickets})"
            )
        else:
            self.f.raw(f"call void @{name}(ptr {ARENA.text}, ptr {places}, i64 0, i64 {units})")
