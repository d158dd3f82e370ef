"""The epilogue of a product: the other nodes of its group, on a tile that is still in registers."""

from __future__ import annotations

from collections.abc import Sequence

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.kernels.evaluator import Evaluator, Row, Segment
from glassgrad.backends.native.kernels.memory_access import Locate
from glassgrad.backends.native.math.functions import FUNCTIONS
from glassgrad.backends.native.plan.fusion import Group
from glassgrad.graph.node import Node, Value

LONG = 8  # operations of an epilogue from which on the rows of a tile are done in a loop
FUNCTION_WORK = 8  # operations that a function such as exp counts for, at least


def tile_evaluator(f: Function, group: Group, locate: Locate, outputs: Sequence[Value]) -> Evaluator:
    """The evaluator of a product's epilogue, with its scalars loaded."""
    evaluator = Evaluator(f, group, locate, outputs)
    evaluator.hoist()
    return evaluator


def finish_tile(
    evaluator: Evaluator,
    product: Node,
    values: Sequence[Sequence[Reg]],
    row: Reg,
    column: Reg,
    vectors: Sequence[tuple[int, int, int]],
) -> None:
    """The epilogue on one tile: ``values[row][vector]``; ``vectors`` are (column offset, lanes, count).

    Everything is read before anything is stored: a load of what a masked store has just touched waits for it.
    """
    nodes, f = evaluator.group.nodes, evaluator.f

    def finish(rows: Sequence[Row], lines: Sequence[Sequence[Reg]]) -> None:
        shared: list[dict[Value, Reg]] = [{} for _ in vectors]
        segments: list[Segment] = []
        for here, line in zip(rows, lines, strict=True):
            for (offset, lanes, count), given, known in zip(vectors, line, shared, strict=True):
                segment = Segment(here, column, lanes, count, {product.outputs[0]: given}, known, offset)
                for node in nodes:
                    if node is not product:
                        evaluator.compute(node, here, segment)
                segments.append(segment)
        for segment in segments:
            for node in nodes:
                evaluator.save(node.outputs[0], segment.row, segment)

    work = sum(FUNCTION_WORK if node.op.name in FUNCTIONS else 1 for node in nodes)
    if work < LONG or len(values) == 1 or any(lanes != count for _, lanes, count in vectors):
        finish([Row(row, below=i) for i in range(len(values))], values)
        return
    # Code for one row is enough, and faster: a tile of so many operations does not fit into the registers anyway.
    kinds = [value.type for value in values[0]]
    kept = [f.alloca(kind, len(values)) for kind in kinds]
    for i, given in enumerate(values):
        for value, place in zip(given, kept, strict=True):
            f.store(value, f.at(place, value.type, i))
    with f.loop(len(values)) as turn:
        line = [f.load(kind, f.at(place, kind, turn)) for kind, place in zip(kinds, kept, strict=True)]
        finish([Row(f.add(row, turn))], [line])
