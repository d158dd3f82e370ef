"""The reference backend: an interpreter over NumPy. Slow, plain, and the oracle of every other backend."""

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
    lay_out,
    plain_handle,
)
from glassgrad.common import interrupts
from glassgrad.graph.node import Graph, Node
from glassgrad.ops.op import Op
from glassgrad.program import Program

Watch = Callable[[Node, tuple[Array, ...]], None]


def evaluate(graph: Graph, arrays: Iterable[Any], watch: Watch | None = None) -> list[Array]:
    """The outputs of ``graph`` on ``arrays``; ``watch`` sees every node with its results, in order."""
    known: dict[Any, Array] = {}
    for value, array in zip(graph.inputs, arrays, strict=True):
        known[value] = np.asarray(array, value.dtype)
    for node in graph.nodes():
        if all(value in known for value in node.outputs):
            continue
        assert isinstance(node.op, Op)
        attributes = dict(node.attributes)
        if node.regions:
            attributes["regions"] = [_function(region) for region in node.regions]
        with np.errstate(all="ignore"):
            given = node.op.reference(*(known[value] for value in node.inputs), **attributes)
        results = given if isinstance(given, tuple) else (given,)
        for value, array in zip(node.outputs, results, strict=True):
            known[value] = np.asarray(array, value.dtype)
        if watch is not None:
            watch(node, tuple(known[value] for value in node.outputs))
    return [known[value] for value in graph.outputs]


def _function(region: Graph) -> Callable[..., list[Array]]:
    return lambda *arrays: evaluate(region, arrays)


@dataclass
class ReferenceExecutable:
    """A program, interpreted step by step."""

    program: Program
    seconds_compiling: float = 0.0
    _graph: Graph = field(init=False)

    def __post_init__(self) -> None:
        """Lay the graph out once."""
        start = time.perf_counter()
        self._graph = self.program.graph
        self.seconds_compiling = time.perf_counter() - start

    def handle(self, params: Arrays, state: Arrays) -> Handle:
        """A prepared call of one step."""
        return plain_handle(self, params, state)

    def run(self, feed: Feed) -> Result:
        """Run the steps of ``feed`` one after the other."""
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
            item.name: np.array([found[i] for found in measured], item.value.dtype).reshape(
                -1, *item.value.shape
            )
            for i, item in enumerate(program.probes)
        }
        return Result(params, state, collect(program, len(feed.order), joined), probes)


def step_values(
    program: Program, feed: Feed, chunk: Chunk, step: int, params: dict[str, Array], state: dict[str, Array]
) -> list[Array]:
    """The arrays that one step takes, in the order of the program's inputs."""
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
    """``compile`` keeps the program as it is; running it interprets the graph."""

    name = "reference"

    def compile(self, program: Program) -> Executable:
        """Nothing to compile."""
        return ReferenceExecutable(program)
