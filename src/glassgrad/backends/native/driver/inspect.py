"""The stages of a program on its way to machine code, as text."""

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
    """``program`` as text after one stage of the native compiler, for ``target`` (default: the host).

    Stages: ``graph`` (numbered equations), ``groups`` (the nodes of each loop nest), ``schedule`` (kernels, loops and
    copies in order, and the layout of the arena), ``llvm`` (LLVM IR before optimization), ``assembly``. A value has
    the same number in all of them. Raises InputError for an unknown stage, and GraphError naming an op without a
    lowering.
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
        self.lines, self._equation_name = equations(graph, names, "%")
        self._scan_names: dict[Value, str] = {}

    def module(self) -> Module:
        """The IR of all kernels."""
        return emit_program(self.program, self.schedule, self.target)

    def name(self, value: Value) -> str:
        """The name of ``value`` in the equations; a value in the body of a scan is named after its op."""
        name = self._equation_name(value)
        if name != "?":
            return name
        return self._scan_names.setdefault(value, f"{value.node.op.name}'{len(self._scan_names) + 1}")

    def read(self, value: Value) -> str:
        """The number or the value in memory that a reader of ``value`` reads."""
        source = look_through(value)
        return f"{source.number:g}" if source.number is not None else self.name(memory_of(source.value))


def _graph(inspection: _Inspection) -> str:
    results = [*inspection.program.updates, *(item.name for item in inspection.program.outputs)]
    output_lines = [
        f"{name} = {inspection.name(value)}"
        for name, value in zip(results, inspection.schedule.graph.outputs, strict=True)
    ]
    return "\n".join([*inspection.lines, "gives:", *(f"  {line}" for line in output_lines)])


def _groups(inspection: _Inspection) -> str:
    lines = ["m: one number per row and column; r: one per row; c: one per column; s: one in all"]
    for number, group in enumerate(inspection.schedule.groups):
        lines.append(f"{number}: {_space(group)}")
        for node in group.nodes:
            values = ", ".join(inspection.name(value) for value in node.outputs)
            sources = ", ".join(inspection.read(value) for value in node.inputs)
            kind = group.kind_of(node) or "-"
            lines.append(f"    {kind}  {values} = {node.op.name}({sources})")
    return "\n".join(lines)


def _space(group: Group) -> str:
    return f"{group.kind} {' x '.join(map(str, group.shape)) or '1'}"


def _schedule(inspection: _Inspection) -> str:
    schedule, module = inspection.schedule, inspection.module()
    names: dict[Buffer, list[str]] = {}
    for value, buffer in schedule.buffers.items():
        names.setdefault(buffer, []).append(inspection.name(value))
    if schedule.scratch is not None:
        names.setdefault(schedule.scratch, []).append("(panels of products)")
    buffer_names = {buffer: " = ".join(dict.fromkeys(value_names)) for buffer, value_names in names.items()}
    lines = ["every step:"]
    position = 0

    def show(items: Sequence[Item], indent: str) -> None:
        nonlocal position
        for item in items:
            position += 1
            prefix = f"{position:>4} {indent}"
            if isinstance(item, Copy):
                target, source = (buffer_names.get(b, "(parked)") for b in (item.target, item.source))
                lines.append(f"{prefix}copy {target} <- {source} ({item.size} bytes)")
            elif isinstance(item, Loop):
                lines.append(f"{prefix}{item.length} times{', backwards' if item.backwards else ''}:")
                show(item.items, indent + "    ")
            elif isinstance(item, Chain):
                lines.append(f"{prefix}chain, shared among threads in {item.units} blocks of rows:")
                show(item.items, indent + "    ")
            elif isinstance(item, Spread):
                lines.append(f"{prefix}side by side, shared among threads:")
                show(item.items, indent + "    ")
            else:
                kernel = module.kernel(item)
                results = ", ".join(inspection.name(value) for value in item.outputs)
                units = f"{kernel.units} units" if kernel.units > 1 else "1 unit"
                shared = ", shared among threads" if kernel.is_shared else ""
                packs = f", packs in {kernel.pack_units} units" if kernel.pack_units else ""
                skips = f", passes over {kernel.skipped}" if kernel.skipped is not None else ""
                text = f"{prefix}{kernel.name} -> {results}"
                lines.append(f"{text}  [{_space(item.group)}; {units}{packs}{shared}{skips}]")

    show(schedule.items, "")
    if schedule.replacements:
        lines.append("at its end, when the outputs are out:")
        show(schedule.replacements, "")
    lines += ["buffers:", "    offset      bytes  holds from - to"]
    buffers = dict.fromkeys([*schedule.buffers.values(), *([schedule.scratch] if schedule.scratch else [])])
    for buffer in sorted(buffers, key=lambda item: (item.offset, item.first)):
        lifetime = "always" if buffer.lasting else f"{max(buffer.first, 0)} - {buffer.last}"
        note = "  (its rows are read where they lie)" if buffer in schedule.tables else ""
        note += f"  (in panels of {buffer.panel} columns)" if buffer.panel else ""
        lines.append(
            f"{buffer.offset:>10} {buffer.size:>10}  {lifetime:<15}  {buffer_names[buffer]}: {buffer.type}{note}"
        )
    lines.append(f"arena: {schedule.size} bytes")
    return "\n".join(lines)


def _llvm(inspection: _Inspection) -> str:
    return inspection.module().text()


def _assembly(inspection: _Inspection) -> str:
    return compile_text(_llvm(inspection), inspection.target, assembly=True).decode()


STAGES: dict[str, Callable[[_Inspection], str]] = {
    "graph": _graph,
    "groups": _groups,
    "schedule": _schedule,
    "llvm": _llvm,
    "assembly": _assembly,
}
