"""Stage 3, the outer loop: the function ``run``, which every thread enters, and which runs all steps.

All threads walk through the same items. A large kernel is cut into its units, which are shared out; what is
small is done by thread 0 alone; where one kind follows the other, all wait at a barrier. How a kernel is cut
follows from shapes alone, and every unit is computed by one thread in one order: the bits do not depend on the
number of threads.

``run(arena, args, thread, threads)`` reads its arguments from an array of 64-bit words:

    0 steps   1 rows (int32 [steps, batch])   2 valid (bytes [steps, batch])   3 number of the first step
    4 two words for the barrier (count, generation), zero at the start   6 address of sched_yield, or 0
    7 ... data arrays, one per data input; then one array of numbers per hyperparameter; then one per output
"""

from __future__ import annotations

from collections.abc import Sequence

from glassgrad.backends.native.elements import ELEMENT, SIZE
from glassgrad.backends.native.emit import Kernel, Module
from glassgrad.backends.native.ir import Function, Reg
from glassgrad.backends.native.machine import Machine
from glassgrad.backends.native.memory import Buffer
from glassgrad.backends.native.rows import ARENA, address
from glassgrad.backends.native.schedule import Copy, Item, Loop, Schedule
from glassgrad.program import Program

RUN = [("ptr noalias align 64", "arena"), ("ptr", "args"), ("i64", "thread"), ("i64", "threads")]
STEPS, ROWS, VALID, FIRST_STEP, BARRIER, YIELD, ARRAYS = 0, 1, 2, 3, 4, 6, 7

# A kernel is shared out from this much work on: a few microseconds, many times the cost of a barrier.
PRODUCT_WORK = 1 << 18  # multiplications
ROWS_WORK = 1 << 14  # elements
SPINS = 10_000  # turns before a waiting thread gives its core away


def emit_program(program: Program, schedule: Schedule, target: Machine) -> Module:
    """The module of ``program``: all kernels, the barrier, and ``run``."""
    module = Module(schedule, target.vector_bytes)
    f = Function("run", RUN, attributes="nounwind")
    _Runner(module, f, program).emit()
    module.functions.append(f)
    if module.parallel:
        module.functions.append(_barrier(target))
    return module


def is_large(kernel: Kernel) -> bool:
    """Whether a kernel is worth sharing out."""
    return kernel.units > 1 and kernel.work >= (PRODUCT_WORK if kernel.is_product else ROWS_WORK)


def _barrier(target: Machine) -> Function:
    """Wait until all threads are here: the last one to come starts a new generation."""
    f = Function("barrier", [("ptr", "args"), ("i64", "threads")], attributes="noinline nounwind")
    count = f.at(Reg("%args", "ptr"), "i64", BARRIER)
    generation = f.at(Reg("%args", "ptr"), "i64", BARRIER + 1)
    now = f.emit("i64", f"load atomic i64, ptr {generation.text} acquire, align 8")
    arrived = f.emit("i64", f"atomicrmw add ptr {count.text}, i64 1 acq_rel")
    last = f.compare("eq", f.add(arrived, 1), Reg("%threads", "i64"))
    f.raw(f"br i1 {last.text}, label %open, label %wait")
    f.start_block("open")
    f.raw(f"store atomic i64 0, ptr {count.text} monotonic, align 8")
    f.raw(f"store atomic i64 {f.add(now, 1).text}, ptr {generation.text} release, align 8")
    f.raw("br label %done")
    f.start_block("wait")
    f.raw("%turn = phi i64 [ 0, %entry ], [ %next, %again ]")
    if target.triple.startswith("x86_64"):
        f.declared.add("declare void @llvm.x86.sse2.pause()")
        f.raw("call void @llvm.x86.sse2.pause()")
    seen = f.emit("i64", f"load atomic i64, ptr {generation.text} acquire, align 8")
    f.raw(f"br i1 {f.compare('ne', seen, now).text}, label %done, label %still")
    f.start_block("still")
    f.raw("%next = add i64 %turn, 1")
    tired = f.compare("ugt", Reg("%turn", "i64"), SPINS)
    f.raw(f"br i1 {tired.text}, label %rest, label %again")
    f.start_block("rest")
    where = f.load("ptr", f.at(Reg("%args", "ptr"), "i64", YIELD), 8)
    none = f.emit("i1", f"icmp eq ptr {where.text}, null")
    f.raw(f"br i1 {none.text}, label %again, label %yield")
    f.start_block("yield")
    f.raw(f"call i32 {where.text}()")
    f.raw("br label %again")
    f.start_block("again")
    f.raw("br label %wait")
    f.start_block("done")
    return f


class _Runner:
    """Emits ``run``. ``pending`` is the work that not every thread is known to have finished."""

    def __init__(self, module: Module, f: Function, program: Program) -> None:
        self.module, self.f, self.program = module, f, program
        self.schedule = module.schedule
        self.args, self.thread = Reg("%args", "ptr"), Reg("%thread", "i64")
        for work in self.schedule.works():
            kernel = module.kernel(work)
            module.parallel = module.parallel or is_large(kernel)
        self.after: str | None = None  # where the threads meet again, while code is for thread 0 only
        self.pending = False

    # --- who runs what -------------------------------------------------------------------------------

    def alone(self) -> None:
        """What follows is for thread 0."""
        if self.module.parallel and self.after is None:
            self.wait()
            mine = self.f.compare("eq", self.thread, 0)
            inside, self.after = self.f.label("alone"), self.f.label("together")
            self.f.raw(f"br i1 {mine.text}, label %{inside}, label %{self.after}")
            self.f.start_block(inside)
            self.pending = True

    def together(self) -> None:
        """What follows is for all threads, when all that came before is done."""
        if self.after is not None:
            self.f.raw(f"br label %{self.after}")
            self.f.start_block(self.after)
            self.after = None
        self.wait()

    def wait(self) -> None:
        """A barrier, if there is something to wait for; one thread has nobody to wait for."""
        if self.module.parallel and self.pending:
            many = self.f.compare("ugt", Reg("%threads", "i64"), 1)
            with self.f.when(many):
                self.f.raw("call void @barrier(ptr %args, i64 %threads)")
            self.pending = False

    def share(self, units: int) -> tuple[Reg, Reg]:
        """The units of this thread: from the first, up to the last."""
        f, threads = self.f, Reg("%threads", "i64")
        first = f.binary("udiv", f.mul(self.thread, units), threads)
        return first, f.binary("udiv", f.mul(f.add(self.thread, 1), units), threads)

    # --- the steps -----------------------------------------------------------------------------------

    def word(self, index: int, kind: str) -> Reg:
        """One argument."""
        return self.f.load(kind, self.f.at(self.args, "i64", index), 8)

    def emit(self) -> None:
        f, program = self.f, self.program
        steps, rows, valid = self.word(STEPS, "i64"), self.word(ROWS, "ptr"), self.word(VALID, "ptr")
        first = self.word(FIRST_STEP, "i64")
        slots = ARRAYS
        data = [self.word(slots + i, "ptr") for i in range(len(program.data))]
        slots += len(data)
        hyper = [self.word(slots + i, "ptr") for i in range(len(program.hyper))]
        slots += len(hyper)
        outputs = [self.word(slots + i, "ptr") for i in range(len(program.outputs))]
        buffers = [self.schedule.buffers[value] for value in self.schedule.graph.inputs]
        inputs = list(zip(program.inputs, buffers, strict=True))
        with f.loop(steps) as step:
            place = f.mul(step, program.batch)
            here = f.at(rows, "i32", place)
            self.gather([buffer for item, buffer in inputs if item.role == "data"], data, here)
            self.alone()
            numbers = iter(hyper)
            for item, buffer in inputs:
                size = SIZE[item.type.dtype]
                if item.role == "hyper":
                    element = ELEMENT[item.type.dtype]
                    f.store(f.load(element, f.at(next(numbers), element, step), size), address(f, buffer), size)
                elif item.role == "valid":
                    f.copy(address(f, buffer), f.at(valid, "i8", place), program.batch)
                elif item.role == "row":
                    f.copy(address(f, buffer), here, program.batch * 4)
                elif item.role == "step":
                    f.store(f.cast("trunc", f.add(first, step), "i32"), address(f, buffer), 4)
            self.items(self.schedule.items, None)
            self.alone()
            given = self.schedule.outputs[len(program.updates) :]
            for target, buffer in zip(outputs, given, strict=True):
                f.copy(f.at(target, "i8", f.mul(step, buffer.size)), address(f, buffer), buffer.size)
            self.items(self.schedule.replacements, None)
            self.together()

    def gather(self, buffers: Sequence[Buffer], sources: Sequence[Reg], rows: Reg) -> None:
        """The batch's rows of every data array, side by side."""
        f, batch = self.f, self.program.batch
        if not buffers:
            return
        first, last = self.share(batch) if self.module.parallel else (Reg("0", "i64"), Reg(str(batch), "i64"))
        with f.when(f.compare("ult", first, last)), f.loop(last, first) as i:
            row = f.cast("zext", f.load("i32", f.at(rows, "i32", i)), "i64")
            for buffer, source in zip(buffers, sources, strict=True):
                size = buffer.size // batch
                target = f.at(address(f, buffer), "i8", f.mul(i, size))
                f.copy(target, f.at(source, "i8", f.mul(row, size)), size)
        self.pending = True

    def items(self, items: Sequence[Item], turn: Reg | None) -> None:
        """Run the items; ``turn`` is the position in the sequences of the scan around them."""
        f = self.f
        for item in items:
            if isinstance(item, Copy):
                self.alone()
                target, source = address(f, item.target), address(f, item.source)
                if item.target_stride and turn is not None:
                    target = f.at(target, "i8", f.mul(turn, item.target_stride))
                if item.source_stride and turn is not None:
                    source = f.at(source, "i8", f.mul(turn, item.source_stride))
                f.copy(target, source, item.size)
            elif isinstance(item, Loop):
                self.scan(item)
            else:
                self.call(self.module.kernel(item))

    def scan(self, loop: Loop) -> None:
        """A loop with large kernels in it is entered by all threads, any other by thread 0."""
        f = self.f
        shared = any(is_large(self.module.kernel(work)) for work in loop.works())
        if shared:
            self.together()
        else:
            self.alone()
        with f.loop(loop.length) as t:
            self.items(loop.items, f.sub(Reg(str(loop.length - 1), "i64"), t) if loop.backwards else t)
            if shared:
                self.together()

    def call(self, kernel: Kernel) -> None:
        """One kernel: shared out, or by thread 0."""
        f = self.f
        if not is_large(kernel):
            self.alone()
            if kernel.pack_units:
                f.raw(f"call void @{kernel.name}_pack(ptr {ARENA.text}, i64 0, i64 {kernel.pack_units})")
            f.raw(f"call void @{kernel.name}(ptr {ARENA.text}, i64 0, i64 {kernel.units})")
            return
        for name, units in ((f"{kernel.name}_pack", kernel.pack_units), (kernel.name, kernel.units)):
            if units:
                self.together()
                first, last = self.share(units)
                with f.when(f.compare("ult", first, last)):
                    f.raw(f"call void @{name}(ptr {ARENA.text}, i64 {first.text}, i64 {last.text})")
                self.pending = True
