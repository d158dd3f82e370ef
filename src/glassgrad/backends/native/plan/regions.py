"""Chains and spreads (stage 2): regions of kernels that threads share, although no kernel is worth sharing alone.

Sharing a kernel moves a cache line between cores twice (measured: 0.7 us), which takes as long as a small kernel. So
kernels are shared together:

* a ``Chain``: consecutive kernels that work row by row on the batch, with no operation across rows between them
  (forward pass, loss, gradients of the activations). A thread passes a block of rows through all of them without
  waiting for others, and the block stays in the first cache;
* a ``Spread``: kernels that do not depend on one another (the gradients of all weights), in parallel.

Each is one function. Like any kernel it is cut into units by the shapes alone, so the bits do not depend on the
number of threads. The weights that a chain reads must be small: a large product is better cut on its own.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable, Sequence

from glassgrad.backends.native.ir.types import SIZE
from glassgrad.backends.native.plan.fusion import (
    Group,
    access,
    canonical,
    is_reduction,
    look_through,
    operand,
)
from glassgrad.backends.native.plan.items import Chain, PlannedKernel, Spread
from glassgrad.backends.native.plan.memory import Buffer, memory_of
from glassgrad.backends.native.plan.products import scratch_bytes
from glassgrad.backends.native.runtime.arguments import TICKETS_PER_KERNEL
from glassgrad.graph.node import Node, Type, Value

STEP = 16  # the rows of a block are a multiple of this: whole vectors on every machine
# Least rows of a block. Each thread must first fetch all weights, since other threads have written them.
ROWS = 128
WEIGHTS = 64 << 10  # most bytes of a product's weights in a chain: every block reads them again
# Least multiply-adds of a unit. Handing a unit to another core and back takes as long as 2 ** 17.
WORTH = 1 << 18


def multiplications(group: Group) -> int:
    """The amount of work: multiply-adds of a product, or else elements."""
    for node in group.nodes:
        if node.op.name == "matmul":
            return math.prod(node.types[0].shape) * node.inputs[0].shape[-1]
    return math.prod(group.shape)


# --- row-wise groups ---------------------------------------------------------------------------------------


def row_wise(groups: Sequence[Group], batch: int, batch_inputs: Iterable[Value]) -> set[Group]:
    """The groups that compute each row of the batch from the same row of their operands, and from small weights.

    ``batch_inputs`` are the inputs with a row per row of the batch. A chain gathers them block by block.
    """
    if batch < 2 * ROWS:
        return set()
    row_groups: set[Group] = set()
    batch_values = set(batch_inputs)  # all values with a row per row of the batch
    for group in groups:
        if _has_rows(group, batch) and all(_reads_rows(group, node, batch_values) for node in group.nodes):
            row_groups.add(group)
            batch_values |= {value for node in group.nodes for value in node.outputs}
    return row_groups


def _has_rows(group: Group, batch: int) -> bool:
    """Whether the first axis of the group's space is the batch, and no node reduces over it."""
    if group.kind == "single" or not group.shape or group.shape[0] != batch:
        return False
    if any(is_reduction(node) and group.kind_of(node) != "r" for node in group.nodes):
        return False
    flat = len(group.shape) == 1
    return not (
        flat and any(is_reduction(node) or node.op.name in ("one_hot", "iota") for node in group.nodes)
    )


def _reads_rows(group: Group, node: Node, batch_values: Collection[Value]) -> bool:
    """Whether ``node`` reads only the same row of each of ``batch_values``; other values may be read in any way."""
    if node.op.name == "matmul":
        (_, a_transposed), (b, _) = (operand(value) for value in node.inputs)
        size = math.prod(b.shape) * SIZE[b.dtype]
        return (
            len(node.types[0].shape) == 2
            and not a_transposed
            and size <= WEIGHTS
            and memory_of(b) not in batch_values
        )
    for value in node.inputs:
        source = look_through(value)
        if source.number is not None:
            continue
        reader = (
            group.kind_of_shape(canonical(node.inputs[0].shape))
            if is_reduction(node)
            else group.kind_of(node)
        )
        read_kind = access(group, "r" if node.op.name == "one_hot" else reader, source)
        if memory_of(source.value) in batch_values and read_kind not in ("m", "r"):
            return False
    return True


# --- order ---------------------------------------------------------------------------------------------------


def cluster(
    groups: Sequence[Group], rows: Collection[Group], extra: Sequence[tuple[Group, Group]]
) -> list[list[Group]]:
    """``groups`` in layers: all of ``rows`` that can follow one another, then all other ready groups, and so on.

    The groups of a layer that is not of ``rows`` do not depend on one another. ``extra`` are pairs (first, then).
    """
    number = {group: i for i, group in enumerate(groups)}
    predecessors = {group: set(group.before) for group in groups}
    followers = {group: set(group.after) for group in groups}
    for first, then in extra:
        predecessors[then].add(first)
        followers[first].add(then)
    ready: dict[bool, list[tuple[int, Group]]] = {True: [], False: []}

    def add_ready(group: Group) -> None:
        heapq.heappush(ready[group in rows], (number[group], group))

    def finish(group: Group) -> None:
        for other in followers[group]:
            predecessors[other].discard(group)
            if not predecessors[other]:
                add_ready(other)

    for group in groups:
        if not predecessors[group]:
            add_ready(group)
    layers: list[list[Group]] = []
    while ready[True] or ready[False]:
        in_rows = not ready[False]
        layer: list[Group] = []
        while ready[in_rows]:
            layer.append(heapq.heappop(ready[in_rows])[1])
            if in_rows:
                finish(layer[-1])
        if not in_rows:
            for group in layer:
                finish(group)
        layers.append(layer)
    return layers


def is_worth_it(layer: Sequence[Group]) -> bool:
    """Whether a layer has more than one group, and enough work for threads to share."""
    return len(layer) > 1 and sum(map(multiplications, layer)) >= 4 * WORTH


def is_chain(layer: Sequence[Group], rows: Collection[Group]) -> bool:
    """Whether a layer becomes a chain."""
    return layer[0] in rows and is_worth_it(layer)


def form_region(
    kernels: Sequence[PlannedKernel], in_rows: bool, batch: int, vector_bytes: int
) -> list[PlannedKernel | Chain | Spread]:
    """The kernels of a layer as a chain (if they are row-wise, ``in_rows``) or a spread, if that is worth it.

    In a chain, each kernel that needs scratch memory gets a buffer of its own.
    """
    if not is_worth_it([kernel.group for kernel in kernels]):
        return list(kernels)
    if in_rows:
        block, blocks = blocks_of(batch, sum(multiplications(kernel.group) for kernel in kernels))
        for kernel in kernels:
            kernel.block, kernel.blocks = block, blocks
            size = scratch_bytes(kernel, vector_bytes)
            if size:
                kernel.scratch = Buffer(Type((-(-size // 4),), "float32"))
        return [Chain(list(kernels), blocks)]
    packed = [kernel for kernel in kernels if scratch_bytes(kernel, vector_bytes)]
    unpacked = [kernel for kernel in kernels if kernel not in packed]
    return [*packed, Spread(unpacked)] if len(unpacked) > 1 else list(kernels)


def blocks_of(batch: int, total: int) -> tuple[int, int]:
    """The rows of a block, and the number of blocks; the last block has all remaining rows.

    ``total`` is the work of a batch in multiplications.
    """
    max_blocks = min(TICKETS_PER_KERNEL, batch // ROWS, total // WORTH)
    block = batch // max_blocks // STEP * STEP
    return block, batch // block
