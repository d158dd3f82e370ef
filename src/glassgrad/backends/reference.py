"""The reference backend: a NumPy interpreter. It is slow and simple; the tests compare other backends with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassgrad.backends.base import (
    Array,
    Arrays,
    Chunk,
    Executable,
    Feed,
    Handle,
    Result,
    collect,
    handle_through_run,
    lay_out,
)
from glassgrad.common import interrupts
from glassgrad.graph.node import Graph, Node
from glassgrad.ops.op import Op
from glassgrad.program import Program

Watch = Callable[[Node, tuple[Array, ...]], None]


def evaluate(graph: Graph, arrays: Iterable[Any], watch: Watch | None = None) -> list[Array]:
    """The outputs of ``graph`` for the inputs ``arrays``. ``watch`` is called for each node with its results."""
    array_of: dict[Any, Array] = {}
    for value, array in zip(graph.inputs, arrays, strict=True):
        array_of[value] = np.asarray(array, value.dtype)
    for node in graph.nodes():
        if all(value in array_of for value in node.outputs):
            continue
        assert isinstance(node.op, Op)
        attributes = dict(node.attributes)
        if node.regions:
            attributes["regions"] = [_function(region) for region in node.regions]
        with np.errstate(all="ignore"):
            result = node.op.reference(*(array_of[value] for value in node.inputs), **attributes)
        results = result if isinstance(result, tuple) else (result,)
        for value, array in zip(node.outputs, results, strict=True):
            array_of[value] = np.asarray(array, value.dtype)
        if watch is not None:
            watch(node, tuple(array_of[value] for value in node.outputs))
    return [array_of[value] for value in graph.outputs]


def _function(region: Graph) -> Callable[..., list[Array]]:
    return lambda *arrays: evaluate(region, arrays)


@dataclass
class ReferenceExecutable:
    """A program that is interpreted step by step."""

    program: Program
    seconds_compiling: float = 0.0
    _graph: Graph = field(init=False)

    def __post_init__(self) -> None:
        """Build the graph of the step once."""
        start = time.perf_counter()
        self._graph = self.program.graph
        self.seconds_compiling = time.perf_counter() - start

    def handle(self, params: Arrays, state: Arrays) -> Handle:
        """A function that runs one step with fixed ``params`` and ``state``."""
        return handle_through_run(self, params, state)

    def run(self, feed: Feed) -> Result:
        """Run the steps of ``feed`` in order. Raises InputError if ``feed`` does not fit the program."""
        program, chunk = self.program, lay_out(self.program, feed)
        params = {item.name: np.array(feed.params[item.name]) for item in program.params}
        state = {item.name: np.array(feed.state[item.name]) for item in program.state}
        stacked: dict[str, list[Array]] = {item.name: [] for item in program.outputs}
        measured: list[list[Array]] = []
        for step in range(chunk.steps):
            interrupts.poll()  # a step in NumPy may take seconds
            values = step_values(program, feed, chunk, step, params, state)
            if chunk.probed[step]:
                measured.append(evaluate(program.probe_graph, values))
            outputs = evaluate(self._graph, values)
            for name, array in zip(program.updates, outputs, strict=False):
                (params if name in params else state)[name] = array
            for item, array in zip(program.outputs, outputs[len(program.updates) :], strict=True):
                stacked[item.name].append(array)
        joined = {name: np.stack(arrays) for name, arrays in stacked.items()}
        probes = {
            item.name: np.array([values[i] for values in measured], item.value.dtype).reshape(
                -1, *item.value.shape
            )
            for i, item in enumerate(program.probes)
        }
        return Result(params, state, collect(program, len(feed.order), joined), probes)


def step_values(
    program: Program, feed: Feed, chunk: Chunk, step: int, params: dict[str, Array], state: dict[str, Array]
) -> list[Array]:
    """The input arrays of one step, in the order of the program's inputs."""
    rows = chunk.rows[step]
    arrays: list[Array] = []
    for item in program.inputs:
        match item.role:
            case "data":
                arrays.append(feed.data[item.name][rows])
            case "param":
                arrays.append(params[item.name])
            case "state":
                arrays.append(state[item.name])
            case "hyper":
                arrays.append(chunk.hyper[item.name][step])
            case "row_mask":
                arrays.append(chunk.row_mask[step])
            case "row":
                arrays.append(rows.astype(np.uint32))
            case "seed":
                arrays.append(chunk.seed)
            case "step":
                arrays.append(chunk.step[step])
    return arrays


class ReferenceBackend:
    """The backend ``reference``, which interprets programs."""

    name = "reference"

    def compile(self, program: Program) -> Executable:
        """An executable that interprets ``program``; nothing is compiled."""
        return ReferenceExecutable(program)
