"""All stages in a row: a program to code. Imported only when code is not in the cache."""

from __future__ import annotations

from glassgrad.backends.native.cache import Code
from glassgrad.backends.native.elements import ELEMENTWISE
from glassgrad.backends.native.emit import Module, scratch_bytes, supported
from glassgrad.backends.native.machine import Machine, compile_texts
from glassgrad.backends.native.regions import Chain, Spread
from glassgrad.backends.native.schedule import Schedule, make_schedule
from glassgrad.backends.native.singles import SINGLES
from glassgrad.backends.native.steps import emit_program, is_large
from glassgrad.graph.node import Graph
from glassgrad.program import Program

MODULES = 2  # compiled side by side
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
        lambda work: scratch_bytes(work, target.vector_bytes),
        program.batch,
    )


def generate(program: Program, target: Machine) -> Code:
    """All stages: ``program`` to code for ``target``. Raises GraphError naming an op without a lowering."""
    schedule = schedule_program(program, target)
    module = emit_program(program, schedule, target)
    return Code(
        compile_texts(module.texts(MODULES), target),
        schedule.size,
        tuple(schedule.buffers[value].offset for value in schedule.graph.inputs),
        tuple((b.offset, v.node.attributes["value"]) for v, b in schedule.constants.items()),
        _shared_work(schedule, module),
    )


def _shared_work(schedule: Schedule, module: Module) -> int:
    """Multiplications (or elements) in the kernels that threads can share."""
    regions = [item for item in schedule.items if isinstance(item, Chain | Spread)]
    together = {work for item in regions for work in item.items}
    return sum(k.work for work, k in module.kernels.items() if work in together or is_large(k))


def is_ours(graph: Graph) -> bool:
    """Whether all emitters are this package's own: others may change without the cache noticing."""
    for node in graph.nodes():
        emitter = ELEMENTWISE.get(node.op.name) or SINGLES.get(node.op.name)
        if emitter is not None and not str(getattr(emitter, "__module__", "")).startswith("glassgrad."):
            return False
        if not all(is_ours(region) for region in node.regions):
            return False
    return True
