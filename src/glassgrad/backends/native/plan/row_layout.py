"""How a kernel of rows walks its space: row by row, in one line, or a lane per row; and in how many units."""

from __future__ import annotations

from glassgrad.backends.native.plan.fusion import (
    ROW_VECTORS,
    Group,
    canonical,
    group_lanes,
    is_reduction,
    look_through,
)
from glassgrad.common.frozen import frozen

BLOCK = 8192  # elements that one unit of work has at least


@frozen
class RowLayout:
    """How the space of a group is walked."""

    rows: int
    columns: int
    lanes: int
    flat: bool
    in_registers: bool
    units: int
    block: int  # rows (or, if flat, elements) in one unit
    transposed: bool  # a lane per row: see ``kernels.short_rows``


def lay_out_rows(group: Group, vector_bytes: int, block: int = 0, blocks: int = 0) -> RowLayout:
    """Choose how to walk: all elements in one line where no node knows rows from columns.

    With ``blocks`` there are so many units, of ``block`` rows of the batch (the first axis) each.
    """
    lanes = group_lanes(group, vector_bytes) if group.rows * group.columns > 1 else 1
    kinds = {group.kind_of(node) for node in group.nodes}
    flat = kinds <= {"m", "s"} and not any(node.op.name in ("one_hot", "iota") for node in group.nodes)
    for node in group.nodes:
        for value in node.inputs:
            source = look_through(value)
            rank = len(canonical(value.shape))
            flat = flat and (source.number is not None or len(source.kept) in (0, rank))
    accumulates = bool(kinds & {"c", "s"} and any(is_reduction(node) for node in group.nodes))
    rows, columns = (1, group.rows * group.columns) if flat else (group.rows, group.columns)
    span = columns if flat else rows
    if blocks:
        block *= span // group.shape[0]
        units = blocks
    else:
        block = max(1, -(-BLOCK // lanes) * lanes if flat else -(-BLOCK // columns))
        units = 1 if accumulates else -(-span // block)
    transposed = not flat and (units == 1 or blocks > 0) and is_transposed(group, rows, lanes)
    short = columns <= ROW_VECTORS * lanes
    return RowLayout(rows, columns, lanes, flat, short, units, block if units > 1 else span, transposed)


MOST_COLUMNS = 16


def is_transposed(group: Group, rows: int, lanes: int) -> bool:
    """Whether a group is better done by blocks: short rows that are reduced, and enough of them."""
    reduces = any(node.op.name in ("sum", "max") and group.kind_of(node) == "r" for node in group.nodes)
    return reduces and 2 <= group.columns <= MOST_COLUMNS and rows >= lanes > 1
