"""The native backend: a program to machine code, and the executable that runs it."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from threading import Thread
from typing import Any

import numpy as np

from glassgrad.backends.base import Array, Executable, Feed, Result, collect, lay_out
from glassgrad.backends.native.emit import scratch_bytes, supported
from glassgrad.backends.native.machine import Library, Machine, compile_text, host
from glassgrad.backends.native.memory import ALIGNMENT, Buffer
from glassgrad.backends.native.schedule import Schedule, make_schedule
from glassgrad.backends.native.steps import emit_program
from glassgrad.common.errors import InputError
from glassgrad.graph.node import Graph
from glassgrad.program import Input, Output, Program

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
    parallel: bool
    threads: int
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
        words = [chunk.steps, rows.ctypes.data, valid.ctypes.data, feed.first_step, 0, 0, _yield_address()]
        words += [array.ctypes.data for array in data]
        words += [chunk.hyper[item.name].ctypes.data for item in program.hyper]
        words += [array.ctypes.data for array in stacked.values()]
        args = np.array(words, dtype=np.uint64)
        threads = self.threads if self.parallel else 1
        others = [
            Thread(target=self._run, args=(arena.ctypes.data, args.ctypes.data, number, threads))
            for number in range(1, threads)
        ]
        for thread in others:
            thread.start()
        self._run(arena.ctypes.data, args.ctypes.data, 0, threads)
        for thread in others:
            thread.join()
        params = {item.name: view(arena, buffers[item.name]).copy() for item in program.params}
        state = {item.name: view(arena, buffers[item.name]).copy() for item in program.state}
        return Result(params, state, collect(program, feed.order.size, stacked))


def default_threads() -> int:
    """GLASSGRAD_THREADS, or the cores that this process may run on."""
    asked = os.environ.get("GLASSGRAD_THREADS", "")
    if asked:
        if not asked.isdigit() or int(asked) < 1:
            raise InputError(f"GLASSGRAD_THREADS must be a whole number of at least 1, not {asked!r}")
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _yield_address() -> int:
    """The C library's ``sched_yield``, by which a thread that waits gives its core away (0: there is none)."""
    try:
        function = ctypes.CDLL(None).sched_yield
    except (AttributeError, OSError, TypeError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def view(arena: Array, buffer: Buffer) -> Array:
    """A buffer of the arena as an array."""
    piece = arena[buffer.offset : buffer.offset + buffer.size]
    return piece.view(buffer.type.dtype).reshape(buffer.type.shape)


class NativeBackend:
    """Compiles with LLVM for the processor this runs on."""

    name = "native"

    def __init__(self, target: Machine | None = None, threads: int | None = None) -> None:
        """``target`` is another processor to make code for (one that this one can run).

        ``threads`` defaults to the environment variable GLASSGRAD_THREADS, else to the cores that this process
        may use. The bits of a result do not depend on it.
        """
        self.target = target or host()
        self.threads = threads or default_threads()

    def compile(self, program: Program) -> Executable:
        """Machine code for ``program``; raises GraphError naming an op without a lowering."""
        start = time.perf_counter()
        schedule = schedule_program(program, self.target)
        module = emit_program(program, schedule, self.target)
        library = Library(compile_text(module.text(), self.target))
        seconds = time.perf_counter() - start
        return NativeExecutable(program, schedule, library, module.parallel, self.threads, seconds)


def run_graph(graph: Graph, arrays: Iterable[Any], target: Machine | None = None) -> list[Array]:
    """The outputs of any graph on ``arrays``: compiled and run once."""
    inputs = tuple(Input(f"x{i}", "state", value) for i, value in enumerate(graph.inputs))
    outputs = tuple(Output(f"y{i}", value) for i, value in enumerate(graph.outputs))
    program = Program("graph", 1, inputs, {}, outputs)
    state = {
        item.name: np.asarray(array, item.type.dtype)
        for item, array in zip(inputs, arrays, strict=True)
    }
    executable = NativeBackend(target).compile(program)
    result = executable.run(Feed({}, np.zeros(1, np.int32), {}, state, {}))
    return [result.outputs[item.name][0] for item in outputs]
