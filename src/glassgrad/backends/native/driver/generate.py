"""All compiler stages in order: from a program to code. Imported only if the cache lacks the code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future

from glassgrad.backends.native.codegen.module import Module, lowered_ops
from glassgrad.backends.native.codegen.shuffle import emit_shuffle
from glassgrad.backends.native.codegen.step_loop import emit_program
from glassgrad.backends.native.ir.compiler import compile_text
from glassgrad.backends.native.kernels.elementwise import ELEMENTWISE
from glassgrad.backends.native.kernels.single_ops import SINGLE_OPS
from glassgrad.backends.native.plan.fusion import look_through
from glassgrad.backends.native.plan.items import Chain, Schedule, Spread
from glassgrad.backends.native.plan.schedule import make_schedule
from glassgrad.backends.native.plan.target import Target
from glassgrad.backends.native.runtime.cache import Code
from glassgrad.backends.native.runtime.linker import link
from glassgrad.backends.native.runtime.loader import Image, can_load_images
from glassgrad.backends.native.runtime.machine import Machine
from glassgrad.common import interrupts
from glassgrad.common.process_setting import ProcessSetting
from glassgrad.common.workers import Workers
from glassgrad.graph.node import Graph
from glassgrad.program import Program

MAX_MODULES = 2  # LLVM modules per program
LINES_PER_MODULE = 2500  # lines of IR from which on a second module pays
LASTING_ROLES = ("param", "state", "seed")  # inputs that keep their buffer from step to step


class _SwitchInterval:
    """Shortens Python's thread switch interval during compilation.

    Between two calls of LLVM a thread needs the GIL for microseconds. With Python's default interval it would wait
    five milliseconds for the GIL about twenty times, while the main thread emits the next program. That is half of
    the compile time.
    """

    seconds, previous_seconds = 1e-4, 5e-3

    def shorten(self) -> None:
        self.previous_seconds = sys.getswitchinterval()
        sys.setswitchinterval(self.seconds)

    def restore(self) -> None:
        sys.setswitchinterval(self.previous_seconds)


_switch_interval = _SwitchInterval()
_short_switch_interval = ProcessSetting(_switch_interval.shorten, _switch_interval.restore)


def schedule_program(program: Program, machine: Machine) -> Schedule:
    """Stages 1 and 2: the groups, the kernels in order, and the buffers."""
    names = [item.name for item in program.inputs]
    return make_schedule(
        program.graph,
        [item.role in LASTING_ROLES for item in program.inputs],
        [(i, names.index(name)) for i, name in enumerate(program.updates)],
        Target(machine.vector_bytes, lowered_ops()),
        program.batch,
    )


def schedule_probes(program: Program, step: Schedule, machine: Machine) -> Schedule | None:
    """The schedule of the program's probes; they read the inputs of ``step`` and change none. None without probes."""
    if not program.probes:
        return None
    return make_schedule(
        program.probe_graph,
        [True for _ in program.inputs],
        [],
        Target(machine.vector_bytes, lowered_ops()),
        program.batch,
        beside=step,
    )


def generate(programs: Iterable[Program], target: Machine, threads: int) -> list[Code]:
    """Compile each of ``programs`` for ``target``. Raises GraphError naming an op without a lowering.

    LLVM compiles finished programs on ``threads`` other threads, while this thread builds and emits the next program.
    LLVM starts earlier if the first program is a small one.
    """
    uncompiled: list[tuple[_UncompiledProgram, list[Future[bytes]]]] = []
    position_independent = can_load_images()
    with Workers(threads) as workers, _short_switch_interval:
        for program in programs:
            emitted = _UncompiledProgram(program, target)
            objects = [
                workers.submit(compile_text, text, target, position_independent=position_independent)
                for text in emitted.texts()
            ]
            uncompiled.append((emitted, objects))
            look_through.cache_clear()
            interrupts.poll()
        return [emitted.code([workers.result(item) for item in objects]) for emitted, objects in uncompiled]


def generate_shuffle(target: Machine) -> Code:
    """The code of ``shuffle``, which belongs to no program."""
    f = emit_shuffle()
    text = "\n".join([*sorted(f.declared), f.text()])
    objects = [compile_text(text, target, position_independent=can_load_images())]
    return Code(*_linked(objects, lambda: text, target), 0, (), (), 0)


def _linked(
    objects: Sequence[bytes], text: Callable[[], str], target: Machine
) -> tuple[Image | None, tuple[bytes, ...]]:
    """The image of ``objects`` and no objects; if they cannot be linked, no image and objects for LLVM to link."""
    image = link(objects) if can_load_images() else None
    if image is None and can_load_images():  # LLVM's own linker takes code that is not position-independent
        objects = [compile_text(text(), target, position_independent=False)]
    return image, tuple(objects) if image is None else ()


class _UncompiledProgram:
    """A program as LLVM IR, not yet compiled by LLVM."""

    def __init__(self, program: Program, target: Machine) -> None:
        self.target = target
        self.schedule = schedule_program(program, target)
        self.probes = schedule_probes(program, self.schedule, target)
        self.module = emit_program(program, self.schedule, target, self.probes)

    def texts(self) -> list[str]:
        """The IR modules, which LLVM compiles in parallel. Small programs are one module: each has a fixed cost."""
        lines = sum(f.size for f in self.module.functions)
        return self.module.texts(min(MAX_MODULES, 1 + lines // LINES_PER_MODULE))

    def code(self, objects: Sequence[bytes]) -> Code:
        """The code of the program; ``objects`` are the object files that LLVM made from ``texts()``."""
        schedule, probes = self.schedule, self.probes
        constants = [*schedule.constants.items(), *(probes.constants.items() if probes else ())]
        return Code(
            *_linked(objects, self.module.text, self.target),
            (probes or schedule).size,
            tuple((b.offset, b.panel) for b in map(schedule.buffers.__getitem__, schedule.graph.inputs)),
            tuple((b.offset, v.node.attributes["value"]) for v, b in constants),
            _shared_work(schedule, self.module),
        )


def _shared_work(schedule: Schedule, module: Module) -> int:
    """Multiplications (or elements) per step in the kernels that threads can share."""
    regions = [item for item in schedule.items if isinstance(item, Chain | Spread)]
    in_regions = {planned for item in regions for planned in item.items}
    return sum(k.work for planned, k in module.kernels.items() if planned in in_regions or k.is_shared)


def has_only_package_emitters(graph: Graph) -> bool:
    """Whether all emitters are defined in this package. The cache key does not cover the source of any other."""
    for node in graph.nodes():
        emitter = ELEMENTWISE.get(node.op.name) or SINGLE_OPS.get(node.op.name)
        if emitter is not None and not str(getattr(emitter, "__module__", "")).startswith("glassgrad."):
            return False
        if not all(has_only_package_emitters(region) for region in node.regions):
            return False
    return True
