"""The native backend: a program to machine code, and the executable that runs it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from glassgrad.backends.base import Array, Executable, Feed, Result, collect, lay_out
from glassgrad.backends.native.emit import emit_program, scratch_bytes, supported
from glassgrad.backends.native.machine import Library, Machine, compile_text, host
from glassgrad.backends.native.memory import ALIGNMENT, Buffer
from glassgrad.backends.native.schedule import Schedule, make_schedule
from glassgrad.program import Program

LASTING = ("param", "state", "seed")


def schedule_program(program: Program, target: Machine) -> Schedule:
    """Stages 1 and 2: groups, kernels in order, buffers."""
    names = [item.name for item in program.inputs]
    return make_schedule(
        program.graph,
        [item.role in LASTING for item in program.inputs],
        [(i, names.index(name)) for i, name in enumerate(program.updates)],
        target.vector_bytes,
        supported,
        lambda group: scratch_bytes(group, target.vector_bytes),
    )


@dataclass
class NativeExecutable:
    """A compiled program: code, and where everything lies. Each call works in an arena of its own."""

    program: Program
    schedule: Schedule
    library: Library
    seconds_compiling: float

    def __post_init__(self) -> None:
        """Find the entry point."""
        self._run = self.library.function("run", 4)

    def run(self, feed: Feed) -> Result:
        """Run the steps of ``feed`` in one call, without the GIL."""
        program, chunk = self.program, lay_out(self.program, feed)
        room = np.zeros(self.schedule.size + ALIGNMENT, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        arena = room[start:]
        buffers = {
            item.name: self.schedule.buffers[value]
            for item, value in zip(program.inputs, self.schedule.graph.inputs, strict=True)
        }
        for value, buffer in self.schedule.constants.items():
            view(arena, buffer)[...] = value.node.attributes["value"]
        for items, arrays in ((program.params, feed.params), (program.state, feed.state)):
            for item in items:
                view(arena, buffers[item.name])[...] = arrays[item.name]
        for item in program.of_role("seed"):
            view(arena, buffers[item.name])[...] = chunk.seed
        data = [np.ascontiguousarray(feed.data[item.name]) for item in program.data]
        stacked = {
            item.name: np.empty((chunk.steps, *item.value.shape), item.value.dtype)
            for item in program.outputs
        }
        rows, valid = np.ascontiguousarray(chunk.rows), np.ascontiguousarray(chunk.valid)
        words = [chunk.steps, rows.ctypes.data, valid.ctypes.data, feed.first_step]
        words += [array.ctypes.data for array in data]
        words += [chunk.hyper[item.name].ctypes.data for item in program.hyper]
        words += [array.ctypes.data for array in stacked.values()]
        args = np.array(words, dtype=np.uint64)
        self._run(arena.ctypes.data, args.ctypes.data, 0, 1)
        params = {item.name: view(arena, buffers[item.name]).copy() for item in program.params}
        state = {item.name: view(arena, buffers[item.name]).copy() for item in program.state}
        return Result(params, state, collect(program, feed.order.size, stacked))


def view(arena: Array, buffer: Buffer) -> Array:
    """A buffer of the arena as an array."""
    piece = arena[buffer.offset : buffer.offset + buffer.size]
    return piece.view(buffer.type.dtype).reshape(buffer.type.shape)


class NativeBackend:
    """Compiles with LLVM for the processor this runs on."""

    name = "native"

    def __init__(self, target: Machine | None = None) -> None:
        """``target`` is another processor to make code for (it must be one that this one can run)."""
        self.target = target or host()

    def compile(self, program: Program) -> Executable:
        """Machine code for ``program``; raises GraphError naming an op without a lowering."""
        start = time.perf_counter()
        schedule = schedule_program(program, self.target)
        text = emit_program(program, schedule, self.target.vector_bytes).text()
        library = Library(compile_text(text, self.target))
        return NativeExecutable(program, schedule, library, time.perf_counter() - start)
