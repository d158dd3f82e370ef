"""The native backend: compiles a program to machine code, and runs it."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from importlib import import_module
from itertools import chain
from typing import Any, cast

import numpy as np

from glassgrad.backends.base import (
    THREADS,
    Array,
    Arrays,
    Executable,
    Feed,
    Handle,
    Result,
    check_params_and_state,
    collect,
    lay_out,
    wrong_batch,
)
from glassgrad.backends.native.runtime.arguments import (
    ALIGNMENT,
    ARRAYS,
    CREATE,
    HELPERS,
    JOIN,
    PROBED,
    TICKETS_PER_KERNEL,
)
from glassgrad.backends.native.runtime.cache import Code, key_of, load, save
from glassgrad.backends.native.runtime.helpers import run_on_python_threads, thread_functions
from glassgrad.backends.native.runtime.machine import Machine, host
from glassgrad.backends.native.runtime.orders import Drawer
from glassgrad.common import interrupts
from glassgrad.common.constraints import check
from glassgrad.graph.node import DType, Graph, Type
from glassgrad.program import Input, Output, Program, Role

# Multiplications that take about as long as starting a thread; with fewer, one thread is faster.
WORTH_A_THREAD = 20_000_000


def generate(programs: Iterable[Program], target: Machine, threads: int) -> list[Code]:
    """Compile ``programs``. Imports the compiler only here: most processes find their code in the cache."""
    codes: list[Code] = import_module("glassgrad.backends.native.driver.generate").generate(
        programs, target, threads
    )
    return codes


def generate_shuffle(target: Machine) -> Code:
    """The code of ``shuffle``, which draws the row orders of epochs."""
    code: Code = import_module("glassgrad.backends.native.driver.generate").generate_shuffle(target)
    return code


class NativeExecutable:
    """A compiled program: code and memory layout. Each call works in an arena of its own.

    ``worth`` is the work (multiplications) of a call from which on it uses more than one thread.
    """

    def __init__(self, program: Program, code: Code, threads: int, worth: int = 0) -> None:
        self.program, self.code, self.threads, self.worth = program, code, threads, worth
        self.seconds_compiling = 0.0
        self._arenas: list[_Arena] = []
        self._library = code.library()
        self._code = self._library.function("run", 2)
        if code.parallel:
            self._help = self._library.function("help", 2)
            self._code_with_helpers = self._library.function("run_with_helpers", 2)

    def run(self, feed: Feed) -> Result:
        """Run the steps of ``feed`` in one call, without the GIL."""
        # Fresh memory costs more than a short step: arenas are reused, one per concurrent call.
        try:
            arena = self._arenas.pop()
        except IndexError:
            arena = _Arena(self.program, self.code)
        result = self._run_in(arena, feed)
        self._arenas.append(arena)  # not after an exception: a thread might still use it
        return result

    def _run_in(self, arena: _Arena, feed: Feed) -> Result:
        program, chunk = self.program, lay_out(self.program, feed, arena.orders.draw)
        arena.fill(feed.params, feed.state)
        if arena.seed is not None:
            arena.seed[...] = chunk.seed
        data = [np.require(feed.data[item.name], requirements=("C", "A")) for item in program.data]
        stacked = {
            item.name: np.empty((chunk.steps, *item.value.shape), item.value.dtype)
            for item in program.outputs
        }
        count = int(chunk.probed.sum()) if program.probes else 0
        probes = {p.name: np.empty((count, *p.value.shape), p.value.dtype) for p in program.probes}
        hyper = [chunk.hyper[item.name] for item in program.hyper]
        arrays = [*data, *hyper, *stacked.values(), *probes.values()]
        args = _argument_words(chunk.steps, chunk.rows, chunk.row_mask, feed.first_step, arrays)
        args[PROBED] = chunk.probed.ctypes.data
        self._enter(arena, args, chunk.steps, (arrays, chunk))
        params, state = arena.copies()
        return Result(params, state, collect(program, len(feed.order), stacked), probes)

    def handle(self, params: Arrays, state: Arrays) -> Handle:
        """A prepared call of one step with fixed ``params`` and ``state``; only the batch is copied in and out."""
        check_params_and_state(self.program, params, state)
        return _Handle(self, params, state)

    def _enter(self, arena: _Arena, args: Array, steps: int, memory: object) -> None:
        """Call the code, on as many threads as it can use. ``memory`` keeps alive what ``args`` points to."""
        helpers = 0
        if self.code.parallel and steps * self.code.shared_work >= self.worth:
            helpers = min(self.threads, TICKETS_PER_KERNEL) - 1
        functions = thread_functions() if helpers else None
        if helpers == 0:
            self._code(arena.address, args.ctypes.data)
        elif functions is not None:
            args[HELPERS] = helpers
            args[CREATE], args[JOIN] = functions
            self._code_with_helpers(arena.address, args.ctypes.data)
        else:
            references = self, arena, memory
            run_on_python_threads(self._code, self._help, arena.address, args, helpers, references)


class _Arena:
    """The memory of one call, with its constants, and views of weights, state and seed."""

    def __init__(self, program: Program, code: Code) -> None:
        self.program, self.orders = program, Drawer(generate_shuffle)
        allocated = np.empty(code.arena + ALIGNMENT, np.uint8)
        start = -allocated.ctypes.data % ALIGNMENT
        self._memory = allocated[start : start + code.arena]
        self.address = self._memory.ctypes.data
        for offset, content in code.constants:
            kind = Type(content.shape, cast(DType, content.dtype.name))
            view(self._memory, offset, 0, kind)[...] = content
        layout = {item.name: entry for item, entry in zip(program.inputs, code.inputs, strict=True)}

        def views(role: Role) -> dict[str, Array]:
            items = program.of_role(role)
            return {item.name: view(self._memory, *layout[item.name], item.type) for item in items}

        self.params, self.state = views("param"), views("state")
        self.seed = next(iter(views("seed").values()), None)

    def fill(self, params: Arrays, state: Arrays) -> None:
        """Copy weights and state into the arena."""
        for views, arrays in ((self.params, params), (self.state, state)):
            for name, array in views.items():
                array[...] = arrays[name].reshape(array.shape)

    def copies(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Copies of the weights and the state in the arena."""
        return _copies(self.program.params, self.params), _copies(self.program.state, self.state)


def _argument_words(
    steps: int, rows: Array, row_mask: Array, first_step: int, arrays: Iterable[Array]
) -> Array:
    """The arguments of ``run``: see ``runtime.arguments``."""
    words = [steps, rows.ctypes.data, row_mask.ctypes.data, first_step, _sleep_address()]
    words += [0] * (ARRAYS - len(words))
    words += [array.ctypes.data for array in arrays]
    return np.array(words, dtype=np.uint64)


class _Handle:
    """A prepared call with an arena of its own that holds the weights. One thread at a time may call it."""

    def __init__(self, executable: NativeExecutable, params: Arrays, state: Arrays) -> None:
        program, code = executable.program, executable.code
        (self._input,) = (np.zeros(item.type.shape, item.type.dtype) for item in program.data)
        (self._output,) = (np.zeros(item.value.shape, item.value.dtype) for item in program.outputs)
        self._shape, self._dtype = self._input.shape, self._input.dtype
        arena = _Arena(program, code)
        arena.fill(params, state)
        rows, row_mask = np.arange(program.batch, dtype=np.int32), np.ones(program.batch, bool)
        args = _argument_words(1, rows, row_mask, 0, [self._input, self._output])
        self._references = (executable, arena, rows, row_mask, args)
        self._call = partial(
            executable._code, ctypes.c_void_p(arena.address), ctypes.c_void_p(args.ctypes.data)
        )

    def __call__(self, batch: Array) -> Array:
        """The output [batch, ...] for ``batch`` [batch, ...] in the program's dtype; raises InputError otherwise."""
        try:
            fits = batch.shape == self._shape and batch.dtype == self._dtype
        except AttributeError:
            fits = False
        if not fits:
            raise wrong_batch(self._references[0].program, batch)
        self._input[...] = batch
        self._call()
        return self._output.copy()


def view(arena: Array, offset: int, panel: int, kind: Type) -> Array:
    """A view of one buffer of the arena; for a matrix in panels it has the shape [rows, panels, panel columns]."""
    size = kind.size * np.dtype(kind.dtype).itemsize
    flat = arena[offset : offset + size].view(kind.dtype)
    if not panel:
        return flat.reshape(kind.shape)
    return flat.reshape(-1, kind.shape[0], panel).swapaxes(0, 1)


def _copies(items: Iterable[Input], views: Mapping[str, Array]) -> dict[str, Array]:
    return {item.name: views[item.name].copy().reshape(item.type.shape) for item in items}


class NativeBackend:
    """Compiles with LLVM, by default for the host."""

    name = "native"

    def __init__(
        self, target: Machine | None = None, threads: int | None = None, *, cached: bool = True
    ) -> None:
        """``target`` is the processor to compile for; None is the host.

        ``threads`` defaults to the environment variable GLASSGRAD_THREADS, else to the number of cores that this
        process may use; without it, a call with little work uses one thread. The bits of a result do not depend on
        the number of threads. ``cached``: keep compiled code on disk.
        """
        self.target = target
        self.threads = default_threads() if threads is None else check("threads", threads, THREADS)
        self.worth = WORTH_A_THREAD if threads is None else 0
        self.cached = cached

    def compile(self, program: Program) -> Executable:
        """Compile ``program``; raises GraphError naming an op without a lowering."""
        return self.compile_all([program])[0]

    def compile_all(self, programs: Iterable[Program]) -> list[Executable]:
        """Compile several programs in parallel, each as soon as ``programs`` yields it."""
        with interrupts.deferred():  # llvmlite's locks are Python locks
            return self._compile_all(programs)

    def _compile_all(self, programs: Iterable[Program]) -> list[Executable]:
        start = time.perf_counter()
        all_programs: list[Program] = []
        codes: dict[int, Code] = {}  # by the index of the program
        missing_keys: dict[int, str | None] = {}  # of the programs that must be compiled

        def uncached_programs() -> Iterator[Program]:
            for index, program in enumerate(programs):
                interrupts.poll()
                all_programs.append(program)
                key = self._key(program)
                code = load(key) if key is not None else None
                if code is not None:
                    codes[index] = code
                    continue
                missing_keys[index] = key
                yield program

        uncached = uncached_programs()
        first = next(uncached, None)
        if first is not None:
            compiled = generate(chain([first], uncached), self.target or host(), self.threads)
            for (index, key), code in zip(missing_keys.items(), compiled, strict=True):
                codes[index] = code
                if key is not None:
                    save(key, code)
        executables: list[Executable] = [
            NativeExecutable(program, codes[index], self.threads, self.worth)
            for index, program in enumerate(all_programs)
        ]
        for executable in executables:
            executable.seconds_compiling = (time.perf_counter() - start) / len(executables)
        return executables

    def _key(self, program: Program) -> str | None:
        """The cache key of ``program``; None if it must not be cached."""
        cacheable = self.cached and all(
            _has_only_package_emitters(graph) for graph in (program.graph, program.probe_graph)
        )
        return key_of(program, self.target) if cacheable else None


def _has_only_package_emitters(graph: Graph) -> bool:
    """Whether all emitters are defined in this package. Nobody can have added one to a table that is not loaded."""
    if "glassgrad.backends.native.kernels.elementwise" not in sys.modules:
        return True
    generate_module = import_module("glassgrad.backends.native.driver.generate")
    return generate_module.has_only_package_emitters(graph) is True


def default_threads() -> int:
    """GLASSGRAD_THREADS, else the number of cores that this process may use.

    Raises InputError if GLASSGRAD_THREADS is not a valid number of threads.
    """
    text = os.environ.get("GLASSGRAD_THREADS", "")
    if text:
        if not (re.fullmatch("[0-9]{1,20}", text) and THREADS.allows(int(text))):
            raise THREADS.refusal("GLASSGRAD_THREADS", text)
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _sleep_address() -> int:
    """The address of the C library's ``usleep``, with which waiting threads sleep; 0 if there is none."""
    try:
        function = ctypes.CDLL(None).usleep
    except (AttributeError, OSError, TypeError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def run_graph(graph: Graph, arrays: Iterable[Any], target: Machine | None = None) -> list[Array]:
    """Compile any ``graph`` and run it once on ``arrays``; returns its outputs."""
    inputs = tuple(Input(f"x{i}", "state", value) for i, value in enumerate(graph.inputs))
    outputs = tuple(Output(f"y{i}", value) for i, value in enumerate(graph.outputs))
    program = Program("graph", 1, inputs, {}, outputs)
    state = {
        item.name: np.asarray(array, item.type.dtype) for item, array in zip(inputs, arrays, strict=True)
    }
    executable = NativeBackend(target, cached=False).compile(program)
    result = executable.run(Feed({}, np.zeros(1, np.int32), {}, state, {}))
    return [result.outputs[item.name][0] for item in outputs]
