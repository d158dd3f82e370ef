"""What a program looks like on its way to machine code, stage by stage, as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from glassgrad.backends.native.codegen.module import Module
from glassgrad.backends.native.codegen.step_loop import emit_program
from glassgrad.backends.native.driver.generate import schedule_program
from glassgrad.backends.native.ir.compiler import compile_text
from glassgrad.backends.native.plan.fusion import Group, look_through
from glassgrad.backends.native.plan.items import Chain, Copy, Item, Loop, Schedule, Spread
from glassgrad.backends.native.plan.memory import Buffer, memory_of
from glassgrad.backends.native.runtime.machine import Machine, host
from glassgrad.common.errors import unknown_name
from glassgrad.graph.node import Value
from glassgrad.graph.printer import equations
from glassgrad.program import Program


def inspect(program: Program, stage: str, target: Machine | None = None) -> str:
    """``program`` after one stage of the native compiler, for ``target`` (this processor).

    Stages: ``graph`` (numbered equations), ``groups`` (which nodes share a loop nest), ``schedule`` (kernels,
    loops and copies in order, and where everything lies in the arena), ``llvm`` (the code before LLVM sees it),
    ``assembly``. Values have the same numbers in all of them. Raises InputError for an unknown stage, and
    GraphError naming an op without a lowering.
    """
    if stage not in STAGES:
        raise unknown_name("stage", stage, STAGES)
    return STAGES[stage](_Inspection(program, target or host()))


class _Inspection:
    def __init__(self, program: Program, target: Machine) -> None:
        self.program, self.target = program, target
        self.schedule: Schedule = schedule_program(program, target)
        graph = self.schedule.graph
        names = {value: item.name for value, item in zip(graph.inputs, program.inputs, strict=True)}
        self.lines, self._known = equations(graph, names, "%")
        self._inner: dict[Value, str] = {}

    def module(self) -> Module:
        """The IR of all kernels."""
        return emit_program(self.program, self.schedule, self.target)

    def name(self, value: Value) -> str:
        """As in the equations; what lies in the body of a scan is numbered after its op."""
        known = self._known(value)
        if known != "?":
            return known
        return self._inner.setdefault(value, f"{value.node.op.name}'{len(self._inner) + 1}")

    def read(self, value: Value) -> str:
        """What a reader of ``value`` really reads."""
        source = look_through(value)
        return f"{source.number:g}" if source.number is not None else self.name(memory_of(source.value))


def _graph(given: _Inspection) -> str:
    results = [*given.program.updates, *(item.name for item in given.program.outputs)]
    shown = [
        f"{name} = {given.name(value)}"
        for name, value in zip(results, given.schedule.graph.outputs, strict=True)
    ]
    return "\n".join([*given.lines, "gives:", *(f"  {line}" for line in shown)])


def _groups(given: _Inspection) -> str:
    lines = ["m: one number per row and column; r: one per row; c: one per column; s: one in all"]
    for number, group in enumerate(given.schedule.groups):
        lines.append(f"{number}: {_space(group)}")
        for node in group.nodes:
            values = ", ".join(given.name(value) for value in node.outputs)
            read = ", ".join(given.read(value) for value in node.inputs)
            kind = group.kind_of(node) or "-"
            lines.append(f"    {kind}  {values} = {node.op.name}({read})")
    return "\n".join(lines)


def _space(group: Group) -> str:
    return f"{group.kind} {' x '.join(map(str, group.shape)) or '1'}"


def _schedule(given: _Inspection) -> str:
    schedule, module = given.schedule, given.module()
    names: dict[Buffer, list[str]] = {}
    for value, buffer in schedule.buffers.items():
        names.setdefault(buffer, []).append(given.name(value))
    if schedule.scratch is not None:
        names.setdefault(schedule.scratch, []).append("(panels of products)")
    titles = {buffer: " = ".join(dict.fromkeys(listed)) for buffer, listed in names.items()}
    lines = ["every step:"]
    position = 0

    def show(items: Sequence[Item], indent: str) -> None:
        nonlocal position
        for item in items:
            position += 1
            lead = f"{position:>4} {indent}"
            if isinstance(item, Copy):
                target, source = (titles.get(b, "(parked)") for b in (item.target, item.source))
                lines.append(f"{lead}copy {target} <- {source} ({item.size} bytes)")
            elif isinstance(item, Loop):
                lines.append(f"{lead}{item.length} times{', backwards' if item.backwards else ''}:")
                show(item.items, indent + "    ")
            elif isinstance(item, Chain):
                lines.append(f"{lead}chain, shared among threads in {item.units} blocks of rows:")
                show(item.items, indent + "    ")
            elif isinstance(item, Spread):
                lines.append(f"{lead}side by side, shared among threads:")
                show(item.items, indent + "    ")
            else:
                kernel = module.kernel(item)
                made = ", ".join(given.name(value) for value in item.outputs)
                units = f"{kernel.units} units" if kernel.units > 1 else "1 unit"
                shared = ", shared among threads" if kernel.is_shared else ""
                packs = f", packs in {kernel.pack_units} units" if kernel.pack_units else ""
                skips = f", passes over {kernel.skipped}" if kernel.skipped is not None else ""
                text = f"{lead}{kernel.name} -> {made}"
                lines.append(f"{text}  [{_space(item.group)}; {units}{packs}{shared}{skips}]")

    show(schedule.items, "")
    if schedule.replacements:
        lines.append("at its end, when the outputs are out:")
        show(schedule.replacements, "")
    lines += ["buffers:", "    offset      bytes  holds from - to"]
    listed = dict.fromkeys([*schedule.buffers.values(), *([schedule.scratch] if schedule.scratch else [])])
    for buffer in sorted(listed, key=lambda item: (item.offset, item.first)):
        life = "always" if buffer.lasting else f"{max(buffer.first, 0)} - {buffer.last}"
        note = "  (its rows are read where they lie)" if buffer in schedule.tables else ""
        note += f"  (in panels of {buffer.panel} columns)" if buffer.panel else ""
        lines.append(
            f"{buffer.offset:>10} {buffer.size:>10}  {life:<15}  {titles[buffer]}: {buffer.type}{note}"
        )
    lines.append(f"arena: {schedule.size} bytes")
    return "\n".join(lines)


def _llvm(given: _Inspection) -> str:
    return given.module().text()


def _assembly(given: _Inspection) -> str:
    return compile_text(_llvm(given), given.target, assembly=True).decode()


STAGES: dict[str, Callable[[_Inspection], str]] = {
    "graph": _graph,
    "groups": _groups,
    "schedule": _schedule,
    "llvm": _llvm,
    "assembly": _assembly,
}
