"""Program: one step as a graph, with the role of each input and output.

Training and prediction are two programs of one model. A program does not say how it is executed: a backend compiles
it, and runs it over many rows as a loop of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from glassgrad.common.cached import cached_property
from glassgrad.common.errors import GraphError
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import Graph, Type, Value
from glassgrad.graph.printer import equations
from glassgrad.graph.verify import verify
from glassgrad.ops.op import ZERO
from glassgrad.passes.clean import clean_for_execution

Role = Literal["data", "param", "state", "hyper", "row_mask", "row", "seed", "step"]


@frozen
class Input:
    """One input of a program.

    Roles:

    * data: the rows of the batch, gathered from an array with one entry per row of the data set.
    * param, state: carried from step to step, and changed by the updates of the program.
    * hyper: a scalar per step.
    * row_mask: bool[batch], False for padding.
    * row: uint32[batch], the index of each row in the data set.
    * seed: uint32[2], the seed as low and high word.
    * step: uint32, the number of steps since the start of training.
    """

    name: str
    role: Role
    value: Value

    @property
    def type(self) -> Type:
        """Shape and dtype."""
        return self.value.type


@frozen
class Output:
    """One output: one value per step, or with ``per_row`` one per row (the first axis is the batch)."""

    name: str
    value: Value
    per_row: bool = False


@frozen
class Program:
    """One step: ``inputs`` with their roles, ``updates`` of params and state by input name, and ``outputs``.

    All updates read the old values and take effect together at the end of the step. ``probes`` are measurements that
    a step takes only where the caller asks for them. They form a separate graph of the same inputs, so measuring
    changes no bit of the step.
    """

    name: str
    batch: int
    inputs: tuple[Input, ...]
    updates: Mapping[str, Value] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    probes: tuple[Output, ...] = ()

    def __post_init__(self) -> None:
        """Check names, types and shapes, and verify both graphs. Raises GraphError."""
        by_name = {item.name: item for item in self.inputs}
        if len(by_name) != len(self.inputs):
            raise GraphError(f"program {self.name!r} uses an input name twice")
        for name, value in self.updates.items():
            if name not in by_name or by_name[name].role not in ("param", "state"):
                raise GraphError(
                    f"program {self.name!r} updates {name!r}, which is neither a parameter nor state"
                )
            if value.type != by_name[name].type:
                raise GraphError(f"{name!r} is {by_name[name].type}, but its update is {value.type}")
        type_of = {item.value.node.attributes["name"]: item.type for item in self.inputs}
        for item in self.inputs:
            if item.role in ("data", "row_mask", "row") and item.type.shape[:1] != (self.batch,):
                raise GraphError(f"{item.name!r} is {item.type}, but a batch has {self.batch} rows")
            background = item.value.node.attributes.get("background", ZERO)
            if background != ZERO and type_of.get(background) != Type((), item.type.dtype):
                raise GraphError(
                    f"the background of {item.name!r} is {background!r}, which is not a scalar input of its dtype"
                )
        for output in self.outputs:
            if output.per_row and output.value.shape[:1] != (self.batch,):
                raise GraphError(f"output {output.name!r} is {output.value.type}, which is not one per row")
        for probe in self.probes:
            if probe.per_row:
                raise GraphError(f"probe {probe.name!r} is per row; a probe is one value per step")
        verify(self.graph)
        verify(self.probe_graph)

    @cached_property
    def graph(self) -> Graph:
        """The step as a function from all inputs to (updates..., outputs...)."""
        results = (*self.updates.values(), *(item.value for item in self.outputs))
        return Graph(tuple(item.value for item in self.inputs), results)

    @cached_property
    def probe_graph(self) -> Graph:
        """The measurements as a function from all inputs to (probes...)."""
        return Graph(tuple(item.value for item in self.inputs), tuple(item.value for item in self.probes))

    def of_role(self, role: Role) -> tuple[Input, ...]:
        """The inputs of ``role``, in order."""
        return tuple(item for item in self.inputs if item.role == role)

    @cached_property
    def data(self) -> tuple[Input, ...]:
        """The inputs that are gathered from the data set by row."""
        return self.of_role("data")

    @cached_property
    def params(self) -> tuple[Input, ...]:
        """The weights."""
        return self.of_role("param")

    @cached_property
    def state(self) -> tuple[Input, ...]:
        """The other values carried from step to step: running statistics and the optimizer's moments."""
        return self.of_role("state")

    @cached_property
    def hyper(self) -> tuple[Input, ...]:
        """The hyperparameters."""
        return self.of_role("hyper")

    def cleaned(self) -> Program:
        """The program cleaned for execution. Take derivatives before cleaning (see ``clean_for_execution``)."""
        graph = clean_for_execution(self.graph)
        updates = dict(zip(self.updates, graph.outputs, strict=False))
        output_values = graph.outputs[len(updates) :]
        outputs = tuple(
            Output(item.name, value, item.per_row)
            for item, value in zip(self.outputs, output_values, strict=True)
        )
        probe_values = clean_for_execution(self.probe_graph).outputs
        probes = tuple(
            Output(item.name, value) for item, value in zip(self.probes, probe_values, strict=True)
        )
        return Program(self.name, self.batch, self.inputs, updates, outputs, probes)

    def __str__(self) -> str:
        """The program as text: inputs, numbered equations of the step, updates, outputs and probes."""
        lines = [f"program {self.name}, batch {self.batch}", "inputs:"]
        width = max((len(item.name) for item in self.inputs), default=0)
        lines += [f"  {item.name:<{width}}  : {item.type}  ({item.role})" for item in self.inputs]
        names = {item.value: item.name for item in self.inputs}
        body, name = equations(self.graph, names, "%")
        lines += body
        if self.updates:
            lines.append("updates, applied together at the end of the step:")
            lines += [f"  {target} <- {name(value)}" for target, value in self.updates.items()]
        lines.append("outputs:")
        for item in self.outputs:
            kind = "per row" if item.per_row else "per step"
            lines.append(f"  {item.name} = {name(item.value)}  : {item.value.type}  ({kind})")
        if self.probes:
            lines.append("probes, measured in the requested steps:")
            lines += [f"  {item.name}  : {item.value.type}" for item in self.probes]
        return "\n".join(lines)
