"""All stages in a row: a program to code. Imported only when code is not in the cache."""

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
from glassgrad.backends.native.runtime.loader import Image, able
from glassgrad.backends.native.runtime.machine import Machine
from glassgrad.common import interrupts
from glassgrad.common.process_setting import ProcessSetting
from glassgrad.common.workers import Workers
from glassgrad.graph.node import Graph
from glassgrad.program import Program

MODULES = 2  # to a program, at most
LINES = 2500  # of a module that is worth cutting
LASTING = ("param", "state", "seed")


class _Interval:
    """How long a thread may keep Python to itself while others wait for it: here, a fraction of a millisecond.

    Between two calls of LLVM a thread needs Python for microseconds. By default it would wait five milliseconds for
    it, twenty times, while the next program is written: half of the time that compiling takes.
    """

    seconds, usual = 1e-4, 5e-3

    def short(self) -> None:
        self.usual = sys.getswitchinterval()
        sys.setswitchinterval(self.seconds)

    def back(self) -> None:
        sys.setswitchinterval(self.usual)


_interval = _Interval()
_quick_turns = ProcessSetting(_interval.short, _interval.back)


def schedule_program(program: Program, machine: Machine) -> Schedule:
    """Stages 1 and 2: groups, kernels in order, buffers."""
    names = [item.name for item in program.inputs]
    return make_schedule(
        program.graph,
        [item.role in LASTING for item in program.inputs],
        [(i, names.index(name)) for i, name in enumerate(program.updates)],
        Target(machine.vector_bytes, lowered_ops()),
        program.batch,
    )


def schedule_probes(program: Program, step: Schedule, machine: Machine) -> Schedule | None:
    """The same for the program's probes, on the inputs of its step, which stay as they are."""
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
    """All stages: each of ``programs`` to code for ``target``. Raises GraphError naming an op without a lowering.

    LLVM compiles what is ready on ``threads`` others, while this one goes on with the next program, or waits for it
    to be built: a small one first gives LLVM something to do early.
    """
    drafts: list[tuple[_Draft, list[Future[bytes]]]] = []
    with Workers(threads) as workers, _quick_turns:
        for program in programs:
            draft = _Draft(program, target)
            texts = draft.texts()
            drafts.append(
                (draft, [workers.submit(compile_text, text, target, anywhere=able()) for text in texts])
            )
            look_through.cache_clear()
            interrupts.poll()
        return [draft.code([workers.result(item) for item in objects]) for draft, objects in drafts]


def generate_shuffle(target: Machine) -> Code:
    """Code for ``shuffle``, which belongs to no program."""
    f = emit_shuffle()
    text = "\n".join([*sorted(f.declared), f.text()])
    return Code(*_linked([compile_text(text, target, anywhere=able())], lambda: text, target), 0, (), (), 0)


def _linked(
    objects: Sequence[bytes], text: Callable[[], str], target: Machine
) -> tuple[Image | None, tuple[bytes, ...]]:
    """The image of ``objects``; or where there is none, ``text()`` as LLVM itself links it."""
    image = link(objects) if able() else None
    if image is None and able():  # LLVM wants them in another form
        objects = [compile_text(text(), target, anywhere=False)]
    return image, tuple(objects) if image is None else ()


class _Draft:
    """A program before LLVM sees it."""

    def __init__(self, program: Program, target: Machine) -> None:
        self.target = target
        self.schedule = schedule_program(program, target)
        self.probes = schedule_probes(program, self.schedule, target)
        self.module = emit_program(program, self.schedule, target, self.probes)

    def texts(self) -> list[str]:
        """What LLVM compiles side by side; each piece has a price of its own."""
        lines = sum(f.size for f in self.module.functions)
        return self.module.texts(min(MODULES, 1 + lines // LINES))

    def code(self, objects: Sequence[bytes]) -> Code:
        """The code of the program, of which ``objects`` is what LLVM made."""
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
    """Multiplications (or elements) in the kernels that threads can share."""
    regions = [item for item in schedule.items if isinstance(item, Chain | Spread)]
    together = {planned for item in regions for planned in item.items}
    return sum(k.work for planned, k in module.kernels.items() if planned in together or k.is_shared)


def is_ours(graph: Graph) -> bool:
    """Whether all emitters are this package's own: others may change without the cache noticing."""
    for node in graph.nodes():
        emitter = ELEMENTWISE.get(node.op.name) or SINGLE_OPS.get(node.op.name)
        if emitter is not None and not str(getattr(emitter, "__module__", "")).startswith("glassgrad."):
            return False
        if not all(is_ours(region) for region in node.regions):
            return False
    return True
