"""Chains and spreads (stage 2): several kernels that threads share together, although none is worth sharing alone.

Sharing a kernel costs two trips of a cache line between cores (0.7 us where this was measured), as much as many a
kernel takes. So kernels are taken together:

* a ``Chain``: kernels that work row by row of the batch, one after the other, with nothing that looks across rows in
  between (forward pass, loss, gradients of the activations). A block of rows goes through all of them before anybody
  has to wait, and while it is still in the nearest cache;
* a ``Spread``: kernels that do not depend on one another (the gradients of all weights), side by side.

Each is one function that is cut into units like any kernel, by the shapes alone, so that the bits do not depend on
the number of threads. The weights that a chain reads must be small: large products are better cut on their own.
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

STEP = 16  # rows of a block are a multiple of it: whole vectors on every machine
ROWS = 128  # a block has at least as many: every thread needs all weights, which others have changed
WEIGHTS = 64 << 10  # bytes of a product's weights, which every block of a chain reads again
WORTH = (
    1 << 18
)  # multiply-adds in a unit: handing something to another core and back takes as long as 2 ** 17


def multiplications(group: Group) -> int:
    """How much there is to do: multiply-adds of a product, or elements."""
    for node in group.nodes:
        if node.op.name == "matmul":
            return math.prod(node.types[0].shape) * node.inputs[0].shape[-1]
    return math.prod(group.shape)


# --- what goes row by row ----------------------------------------------------------------------------------


def row_wise(groups: Sequence[Group], batch: int, given: Iterable[Value]) -> set[Group]:
    """The groups that compute every row of the batch from the same row of what they read, and from small weights.

    ``given`` is what there is of the batch: a chain gathers its rows block by block.
    """
    if batch < 2 * ROWS:
        return set()
    row_groups: set[Group] = set()
    made = set(given)  # and what the groups of rows compute: each has a row per row of the batch
    for group in groups:
        if _has_rows(group, batch) and all(_reads_rows(group, node, made) for node in group.nodes):
            row_groups.add(group)
            made |= {value for node in group.nodes for value in node.outputs}
    return row_groups


def _has_rows(group: Group, batch: int) -> bool:
    if group.kind == "single" or not group.shape or group.shape[0] != batch:
        return False
    if any(is_reduction(node) and group.kind_of(node) != "r" for node in group.nodes):
        return False
    flat = len(group.shape) == 1
    return not (
        flat and any(is_reduction(node) or node.op.name in ("one_hot", "iota") for node in group.nodes)
    )


def _reads_rows(group: Group, node: Node, made: Collection[Value]) -> bool:
    """Whether ``node`` reads each row from the same row; ``made`` must be read so, the rest may be read as it is."""
    if node.op.name == "matmul":
        (_, a_turned), (b, _) = (operand(value) for value in node.inputs)
        size = math.prod(b.shape) * SIZE[b.dtype]
        return len(node.types[0].shape) == 2 and not a_turned and size <= WEIGHTS and memory_of(b) not in made
    for value in node.inputs:
        source = look_through(value)
        if source.number is not None:
            continue
        reader = (
            group.kind_of_shape(canonical(node.inputs[0].shape))
            if is_reduction(node)
            else group.kind_of(node)
        )
        seen = access(group, "r" if node.op.name == "one_hot" else reader, source)
        if memory_of(source.value) in made and seen not in ("m", "r"):
            return False
    return True


# --- order ---------------------------------------------------------------------------------------------------


def cluster(
    groups: Sequence[Group], rows: Collection[Group], extra: Sequence[tuple[Group, Group]]
) -> list[list[Group]]:
    """``groups`` in layers: as many of ``rows`` as can follow one another, then all others that are ready, and so on.

    Groups of a layer of others do not depend on one another. ``extra`` are pairs (first, then).
    """
    number = {group: i for i, group in enumerate(groups)}
    waiting = {group: set(group.before) for group in groups}
    followers = {group: set(group.after) for group in groups}
    for first, then in extra:
        waiting[then].add(first)
        followers[first].add(then)
    ready: dict[bool, list[tuple[int, Group]]] = {True: [], False: []}

    def free(group: Group) -> None:
        heapq.heappush(ready[group in rows], (number[group], group))

    def done(group: Group) -> None:
        for other in followers[group]:
            waiting[other].discard(group)
            if not waiting[other]:
                free(other)

    for group in groups:
        if not waiting[group]:
            free(group)
    layers: list[list[Group]] = []
    while ready[True] or ready[False]:
        in_rows = not ready[False]
        layer: list[Group] = []
        while ready[in_rows]:
            layer.append(heapq.heappop(ready[in_rows])[1])
            if in_rows:
                done(layer[-1])
        if not in_rows:
            for group in layer:
                done(group)
        layers.append(layer)
    return layers


def is_worth_it(layer: Sequence[Group]) -> bool:
    """Whether there is enough to do for threads to share."""
    return len(layer) > 1 and sum(map(multiplications, layer)) >= 4 * WORTH


def is_chain(layer: Sequence[Group], rows: Collection[Group]) -> bool:
    """Whether a layer becomes a chain."""
    return layer[0] in rows and is_worth_it(layer)


def form_region(
    kernels: Sequence[PlannedKernel], in_rows: bool, batch: int, vector_bytes: int
) -> list[PlannedKernel | Chain | Spread]:
    """The kernels of a layer as a chain (if they go ``in_rows``) or a spread, where that is worth it.

    In a chain, each kernel that needs scratch memory has its own.
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
    free = [kernel for kernel in kernels if kernel not in packed]
    return [*packed, Spread(free)] if len(free) > 1 else list(kernels)


def blocks_of(batch: int, total: int) -> tuple[int, int]:
    """Rows of a block, and how many blocks there are; the last one has all rows that are left."""
    most = min(TICKETS_PER_KERNEL, batch // ROWS, total // WORTH)
    block = batch // most // STEP * STEP
    return block, batch // block
