"""The loops of a kernel of rows: row by row, over all elements at once, or one lane per row; and its units."""

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

BLOCK = 8192  # least elements of a unit


@frozen
class RowLayout:
    """The loops over the space of a group."""

    rows: int
    columns: int
    lanes: int
    flat: bool  # one loop over all elements
    in_registers: bool  # a whole row fits into registers
    units: int
    block: int  # rows (if flat: elements) of one unit
    transposed: bool  # one lane per row: see ``kernels.short_rows``


def lay_out_rows(group: Group, vector_bytes: int, block: int = 0, blocks: int = 0) -> RowLayout:
    """Choose the loops of ``group``: flat if no node distinguishes rows from columns.

    With ``blocks`` the kernel has that many units, each of ``block`` rows of the batch (the first axis).
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
    extent = columns if flat else rows
    if blocks:
        block *= extent // group.shape[0]
        units = blocks
    else:
        block = max(1, -(-BLOCK // lanes) * lanes if flat else -(-BLOCK // columns))
        units = 1 if accumulates else -(-extent // block)
    transposed = not flat and (units == 1 or blocks > 0) and is_transposed(group, rows, lanes)
    in_registers = columns <= ROW_VECTORS * lanes
    return RowLayout(
        rows, columns, lanes, flat, in_registers, units, block if units > 1 else extent, transposed
    )


MAX_TRANSPOSED_COLUMNS = 16


def is_transposed(group: Group, rows: int, lanes: int) -> bool:
    """Whether a group is faster with one lane per row: it reduces many short rows."""
    reduces = any(node.op.name in ("sum", "max") and group.kind_of(node) == "r" for node in group.nodes)
    return reduces and 2 <= group.columns <= MAX_TRANSPOSED_COLUMNS and rows >= lanes > 1
