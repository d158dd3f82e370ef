"""The epilogue of a product: the other nodes of its group, computed on a tile while it is in registers."""

from __future__ import annotations

from collections.abc import Sequence

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.kernels.evaluator import Evaluator, Row, Segment
from glassgrad.backends.native.kernels.memory_access import Locate
from glassgrad.backends.native.math.functions import FUNCTIONS
from glassgrad.backends.native.plan.fusion import Group
from glassgrad.graph.node import Node, Value

LONG = 8  # operations of an epilogue from which on it loops over the rows of a tile
FUNCTION_WORK = 8  # operations that a function such as exp counts as


def tile_evaluator(f: Function, group: Group, locate: Locate, outputs: Sequence[Value]) -> Evaluator:
    """The evaluator of a product's epilogue, with its scalars already loaded."""
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
    """Emit the epilogue on one tile: ``values[row][vector]``; ``vectors`` are (column offset, lanes, valid lanes).

    All loads come before all stores: a load of memory that a masked store has just written would wait for the store.
    """
    nodes, f = evaluator.group.nodes, evaluator.f

    def finish(rows: Sequence[Row], lines: Sequence[Sequence[Reg]]) -> None:
        shared: list[dict[Value, Reg]] = [{} for _ in vectors]
        segments: list[Segment] = []
        for tile_row, line in zip(rows, lines, strict=True):
            for (offset, lanes, count), value, columns in zip(vectors, line, shared, strict=True):
                segment = Segment(
                    tile_row, column, lanes, count, {product.outputs[0]: value}, columns, offset
                )
                for node in nodes:
                    if node is not product:
                        evaluator.compute(node, tile_row, segment)
                segments.append(segment)
        for segment in segments:
            for node in nodes:
                evaluator.save(node.outputs[0], segment.row, segment)

    work = sum(FUNCTION_WORK if node.op.name in FUNCTIONS else 1 for node in nodes)
    if work < LONG or len(values) == 1 or any(lanes != count for _, lanes, count in vectors):
        finish([Row(row, below=i) for i in range(len(values))], values)
        return
    # A loop over the rows is less code, and faster: with this many operations a tile does not fit into registers.
    kinds = [value.type for value in values[0]]
    slots = [f.alloca(kind, len(values)) for kind in kinds]
    for i, line in enumerate(values):
        for value, slot in zip(line, slots, strict=True):
            f.store(value, f.at(slot, value.type, i))
    with f.loop(len(values)) as index:
        loaded = [f.load(kind, f.at(slot, kind, index)) for kind, slot in zip(kinds, slots, strict=True)]
        finish([Row(f.add(row, index))], [loaded])
