"""Program: a step as one graph, and what each of its inputs and outputs means.

A program says nothing of how it runs. Training and prediction are two programs of one model; a backend
compiles either, and runs it over many rows as a loop of steps.
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

    data: the rows of the batch, gathered from an array with one entry per row of the data set.
    param, state: kept between steps; updated where the program says so. hyper: a number per step.
    row_mask: bool[batch], False for padding. row: uint32[batch], the row's number in the data set.
    seed: uint32[2]. step: uint32, counting steps from the start of the training.
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
    """One output: of each step, or (``per_row``: first axis = batch) of each row."""

    name: str
    value: Value
    per_row: bool = False


@frozen
class Program:
    """A step: ``inputs`` by role, ``updates`` of params and state by name, ``outputs`` by name.

    The updates all read the old values, and take effect together when the step ends. ``probes`` are what a step
    can measure besides, in those steps where a call asks for it: a graph of its own from the same inputs, so that
    looking changes no bit of what the step does.
    """

    name: str
    batch: int
    inputs: tuple[Input, ...]
    updates: Mapping[str, Value] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    probes: tuple[Output, ...] = ()

    def __post_init__(self) -> None:
        """Check names, that every update has a target of its type, and that the graph is whole."""
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
        values = {item.value.node.attributes["name"]: item.type for item in self.inputs}
        for item in self.inputs:
            if item.role in ("data", "row_mask", "row") and item.type.shape[:1] != (self.batch,):
                raise GraphError(f"{item.name!r} is {item.type}, but a batch has {self.batch} rows")
            background = item.value.node.attributes.get("background", ZERO)
            if background != ZERO and values.get(background) != Type((), item.type.dtype):
                raise GraphError(
                    f"the background of {item.name!r} is {background!r}: no scalar input of its dtype"
                )
        for output in self.outputs:
            if output.per_row and output.value.shape[:1] != (self.batch,):
                raise GraphError(f"output {output.name!r} is {output.value.type}: not one per row")
        for probe in self.probes:
            if probe.per_row:
                raise GraphError(f"probe {probe.name!r} is per row; a probe is one value per step")
        verify(self.graph)
        verify(self.probe_graph)

    @cached_property
    def graph(self) -> Graph:
        """The step as a function: all inputs to (updates..., outputs...)."""
        values = (*self.updates.values(), *(item.value for item in self.outputs))
        return Graph(tuple(item.value for item in self.inputs), values)

    @cached_property
    def probe_graph(self) -> Graph:
        """What a step measures besides, as a function: all inputs to (probes...)."""
        return Graph(tuple(item.value for item in self.inputs), tuple(item.value for item in self.probes))

    def of_role(self, role: Role) -> tuple[Input, ...]:
        """The inputs of one role, in order."""
        return tuple(item for item in self.inputs if item.role == role)

    @cached_property
    def data(self) -> tuple[Input, ...]:
        """The inputs gathered row by row."""
        return self.of_role("data")

    @cached_property
    def params(self) -> tuple[Input, ...]:
        """The weights."""
        return self.of_role("param")

    @cached_property
    def state(self) -> tuple[Input, ...]:
        """What else is kept between steps: running statistics, the optimizer's moments."""
        return self.of_role("state")

    @cached_property
    def hyper(self) -> tuple[Input, ...]:
        """The hyperparameters."""
        return self.of_role("hyper")

    def cleaned(self) -> Program:
        """The same program, cleaned for execution: take derivatives of this one, not of that one."""
        graph = clean_for_execution(self.graph)
        updates = dict(zip(self.updates, graph.outputs, strict=False))
        values = graph.outputs[len(updates) :]
        outputs = tuple(
            Output(item.name, value, item.per_row) for item, value in zip(self.outputs, values, strict=True)
        )
        measured = clean_for_execution(self.probe_graph).outputs
        probes = tuple(Output(item.name, value) for item, value in zip(self.probes, measured, strict=True))
        return Program(self.name, self.batch, self.inputs, updates, outputs, probes)

    def __str__(self) -> str:
        """Forward, backward and update as numbered equations."""
        lines = [f"program {self.name}, batch {self.batch}", "inputs:"]
        width = max((len(item.name) for item in self.inputs), default=0)
        lines += [f"  {item.name:<{width}}  : {item.type}  ({item.role})" for item in self.inputs]
        names = {item.value: item.name for item in self.inputs}
        body, name = equations(self.graph, names, "%")
        lines += body
        if self.updates:
            lines.append("together, at the end of the step:")
            lines += [f"  {target} <- {name(value)}" for target, value in self.updates.items()]
        lines.append("outputs:")
        for item in self.outputs:
            kind = "per row" if item.per_row else "per step"
            lines.append(f"  {item.name} = {name(item.value)}  : {item.value.type}  ({kind})")
        if self.probes:
            lines.append("measured besides, in the steps that are asked for:")
            lines += [f"  {item.name}  : {item.value.type}" for item in self.probes]
        return "\n".join(lines)
