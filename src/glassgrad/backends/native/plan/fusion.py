"""Fusion (stage 1): nodes to groups. A group becomes one kernel: a loop nest that computes several nodes at once.

Every node starts as a group of its own. Then a producer and a reader are merged if their loops agree and no third
group depends on one and feeds the other. A group is of one of three kinds:

* ``rows``: elementwise work and reductions over a space of rows and columns (the last axis);
* ``product``: a matrix product, with elementwise work on its result (the epilogue);
* ``single``: one node with a loop nest of its own.

Inside a space a value is a matrix ``m`` (one number per row and column), a row value ``r`` (one per row), a
column value ``c``, or a scalar ``s``. Nodes that only rename elements (broadcasts of these kinds, reshapes,
constants) belong to no group: a reader looks through them. Axes of extent 1 are ignored.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Literal

from glassgrad.backends.native.ir.types import SIZE
from glassgrad.common.frozen import frozen
from glassgrad.graph.node import Graph, Node, Shape, Value
from glassgrad.ops.op import Op
from glassgrad.passes.clean import scalar

Kind = Literal["m", "r", "c", "s"]

# A row of at most this many vectors stays in registers, so that its elements can be read after its reduction.
ROW_VECTORS = 8
# From this many rows on, a sum over the batch is not merged with row-wise work: see ``regions``.
MIN_ROWS_APART = 256
_NOT_IN_EPILOGUES = ("one_hot", "iota")
_REDUCTIONS = ("sum", "max")


@cache
def canonical(shape: Shape) -> Shape:
    """The shape without axes of extent 1."""
    return tuple(n for n in shape if n != 1)


@frozen
class Source:
    """What a reader of a value reads: ``value``, which a group computes or which is an input, or a known ``number``.

    ``kept`` are the axes of the reader's canonical shape that ``value`` has; it is empty for a number.
    """

    value: Value
    kept: tuple[int, ...]
    number: float | None = None


@lru_cache(1 << 12)  # holds the values of one program; ``generate`` clears it after each
def look_through(value: Value) -> Source:
    """The source of ``value`` behind reshapes, constants and broadcasts. Cached, since it is called often."""
    number = scalar(value)
    axes = tuple(range(len(canonical(value.shape))))
    if number is not None:
        return Source(value, (), number)
    node = value.node
    while True:
        if node.op.name == "reshape" and canonical(node.types[0].shape) == canonical(node.inputs[0].shape):
            value = node.inputs[0]
        elif node.op.name == "broadcast" and is_simple_broadcast(node):
            shape = node.types[0].shape
            rank = {a: i for i, a in enumerate(a for a, n in enumerate(shape) if n != 1)}
            kept_axes = [rank[a] for a in node.attributes["axes"] if shape[a] != 1]
            axes = tuple(axes[i] for i in kept_axes)
            value = node.inputs[0]
        else:
            return Source(value, axes)
        node = value.node


def is_simple_broadcast(node: Node) -> bool:
    """Whether a broadcast repeats a scalar, a column vector, or a row value, so that readers look through it."""
    shape = node.types[0].shape
    axes = [a for a, n in enumerate(shape) if n != 1]
    kept_axes = [a for a in node.attributes["axes"] if shape[a] != 1]
    return kept_axes in ([], axes, axes[:-1], axes[-1:])


def is_virtual(node: Node) -> bool:
    """Whether ``node`` belongs to no group, since its readers look through it."""
    name = node.op.name
    if name == "reshape":
        return True  # another shape of the same memory
    if name == "broadcast":
        return is_simple_broadcast(node)
    return name in ("input", "constant") or scalar(node.outputs[0]) is not None


@dataclass(eq=False)
class Group:
    """The nodes of one kernel. ``shape`` is the canonical shape of its space: rows are all axes but the last."""

    kind: Literal["rows", "product", "single"]
    shape: Shape
    nodes: list[Node] = field(default_factory=list)
    before: set[Group] = field(default_factory=set)  # groups that this one reads from
    after: set[Group] = field(default_factory=set)  # groups that read from this one

    @property
    def rows(self) -> int:
        """The number of rows."""
        return math.prod(self.shape[:-1])

    @property
    def columns(self) -> int:
        """The extent of the last axis."""
        return self.shape[-1] if self.shape else 1

    @property
    def order(self) -> int:
        """The position of the group in the order of the program: the serial of its first node."""
        return self.nodes[0].serial

    def kind_of(self, node: Node) -> Kind | None:
        """Whether the result of ``node`` is m, r, c or s in this space; None if it does not fit the space."""
        if node.op.name in _REDUCTIONS:
            return self._kind_of_reduction(node)
        return self.kind_of_shape(canonical(node.types[0].shape))

    def kind_of_shape(self, shape: Shape) -> Kind | None:
        """m or r by a canonical ``shape``; None if it is neither."""
        if shape == self.shape:
            return "m"
        return "r" if shape == self.shape[:-1] and len(self.shape) > 1 else None

    def _kind_of_reduction(self, node: Node) -> Kind | None:
        operand_shape = node.inputs[0].shape
        axes = [a for a, n in enumerate(operand_shape) if n != 1]
        reduced_axes = [a for a in node.attributes["axes"] if operand_shape[a] != 1]
        shape = canonical(operand_shape)
        if shape == self.shape:
            if reduced_axes == axes:
                return "s"
            if reduced_axes == axes[-1:]:
                return "r"
            return "c" if reduced_axes == axes[:-1] and node.op.name == "sum" else None
        if shape == self.shape[:-1] and len(self.shape) > 1 and reduced_axes == axes:
            return "s"
        return None

    def __str__(self) -> str:
        names = ", ".join(node.op.name for node in self.nodes)
        return f"{self.kind}[{' x '.join(map(str, self.shape)) or '1'}]: {names}"


def is_reduction(node: Node) -> bool:
    """Whether ``node`` is a sum or a maximum over axes."""
    return node.op.name in _REDUCTIONS


def form_groups(graph: Graph, vector_bytes: int, batch: int = 0) -> list[Group]:
    """The groups of ``graph`` in topological order.

    Row-wise work on a large ``batch`` is not merged with sums over the batch: see ``regions``.
    """
    nodes = needed_nodes(graph)
    group_by_node: dict[Node, Group] = {}
    for node in nodes:
        group = group_of(node)
        group_by_node[node] = group
        for value in reads(node):
            producer = group_by_node.get(producer_of(value))
            if producer is not None:
                group.before.add(producer)
                producer.after.add(group)
    # Scalar groups are merged last: merged earlier, they would block merges of larger groups.
    for merges_scalars in (False, True):
        for node in nodes:
            for value in sorted(reads(node), key=lambda v: producer_of(v).serial, reverse=True):
                producer = group_by_node.get(producer_of(value))
                if producer is None or producer is group_by_node[node]:
                    continue
                if not merges_scalars and () in (producer.shape, group_by_node[node].shape):
                    continue
                merged = _merge(producer, group_by_node[node], vector_bytes, batch)
                if merged is not None:
                    for item in merged.nodes:
                        group_by_node[item] = merged
    return sort_groups(dict.fromkeys(group_by_node[node] for node in nodes))


def producer_of(value: Value) -> Node:
    """The node that computes ``value``. It looks through all reshapes, also those that ``look_through`` does not."""
    source = look_through(value).value
    while source.node.op.name == "reshape":
        source = look_through(source.node.inputs[0]).value
    return source.node


def operand(value: Value) -> tuple[Value, bool]:
    """The operand that a matrix product reads in place of ``value``, and whether it reads it transposed."""
    node = value.node
    rank = len(value.shape)
    if node.op.name == "transpose" and node.attributes["order"] == (*range(rank - 2), rank - 1, rank - 2):
        return node.inputs[0], True
    return value, False


def reads(node: Node) -> list[Value]:
    """The values that ``node`` reads; a matrix product looks through transposes."""
    return [operand(value)[0] for value in node.inputs] if node.op.name == "matmul" else list(node.inputs)


def needed_nodes(graph: Graph) -> list[Node]:
    """The nodes that the outputs need, without the virtual ones, in the order of their serials."""
    seen: set[Node] = set()
    stack = [value.node for value in graph.outputs]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(value.node for value in reads(node))
    return sorted((node for node in seen if not is_virtual(node)), key=lambda node: node.serial)


def group_of(node: Node) -> Group:
    """A group of ``node`` alone."""
    name = node.op.name
    if name == "matmul" and len(node.types[0].shape) == 2:
        return Group("product", node.types[0].shape, [node])
    elementwise = isinstance(node.op, Op) and node.op.elementwise
    if elementwise or name == "iota" or (name == "one_hot" and _is_wide(node)):
        return Group("rows", canonical(node.types[0].shape), [node])
    if name in _REDUCTIONS:
        group = Group("rows", canonical(node.inputs[0].shape), [node])
        if group.shape and group.kind_of(node) is not None:
            return group
    return Group("single", canonical(node.types[0].shape), [node])


def _is_wide(node: Node) -> bool:
    """Whether a one-hot node has more than one class: with one class, the canonical shape has no class axis."""
    return bool(node.attributes["classes"] > 1)


def _merge(a: Group, b: Group, vector_bytes: int, batch: int) -> Group | None:
    """``a`` (which ``b`` reads) and ``b`` as one group; None if they must not be merged."""
    shape = _common_shape(a, b)
    if shape is None or _between(a, b):
        return None
    if len(shape) > 1 and shape[0] == batch >= MIN_ROWS_APART and _sums_batch(a) != _sums_batch(b):
        return None
    nodes = sorted([*a.nodes, *b.nodes], key=lambda node: node.serial)
    merged = Group("product" if "product" in (a.kind, b.kind) else "rows", shape, nodes)
    if not fits(merged, vector_bytes):
        return None
    merged.before, merged.after = (a.before | b.before) - {a, b}, (a.after | b.after) - {a, b}
    for other in merged.before:
        other.after = (other.after - {a, b}) | {merged}
    for other in merged.after:
        other.before = (other.before - {a, b}) | {merged}
    return merged


def _common_shape(a: Group, b: Group) -> Shape | None:
    """The space of ``a`` and ``b`` merged; None if their loops do not agree."""
    if "single" in (a.kind, b.kind) or (a.kind == b.kind == "product"):
        return None
    if a.shape == b.shape:
        return a.shape
    if "product" in (a.kind, b.kind):
        return None
    if a.kind == "rows" and not _reduces_partly(b) and len(a.shape) > 1 and b.shape == a.shape[:-1]:
        return a.shape
    if a.kind == "rows" and not _reduces_partly(a) and len(b.shape) > 1 and a.shape == b.shape[:-1]:
        return b.shape
    return None


def _reduces_partly(group: Group) -> bool:
    """Whether ``group`` has a row or a column value, so that its rows and columns must stay as they are."""
    return any(group.kind_of(node) in ("r", "c") for node in group.nodes)


def _sums_batch(group: Group) -> bool:
    """Whether a node of ``group`` sums over its rows."""
    return any(is_reduction(node) and group.kind_of(node) in ("c", "s") for node in group.nodes)


def _between(a: Group, b: Group) -> bool:
    """Whether a path from ``a`` to ``b`` leads through a third group."""
    stack = [group for group in a.after if group is not b]
    seen = set(stack)
    while stack:
        group = stack.pop()
        if group is b:
            return True
        for other in group.after:
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return False


def group_lanes(group: Group, vector_bytes: int) -> int:
    """The lanes of a group's vectors: as many as a vector of its widest dtype has."""
    widest_bytes = 4
    for node in group.nodes:
        for value in (*node.outputs, *(node.inputs if node.op.name != "matmul" else ())):
            widest_bytes = max(widest_bytes, SIZE[value.dtype])
    return vector_bytes // widest_bytes


def fits(group: Group, vector_bytes: int) -> bool:
    """Whether one loop nest over the group's space can compute all nodes.

    Every node must fit the space, and must read the other nodes at the position at which they are computed.
    """
    inside = {value for node in group.nodes for value in node.outputs}
    has_long_rows = group.columns > ROW_VECTORS * group_lanes(group, vector_bytes)
    known_at_row_end: set[Node] = set()  # r nodes that are known only at the end of a long row
    for node in group.nodes:
        kind = group.kind_of(node)
        if kind is None or (group.kind == "product" and (kind != "m" or node.op.name in _NOT_IN_EPILOGUES)):
            return False
        reader: Kind | None = kind
        if node.op.name in _REDUCTIONS and node.op.name != "matmul":
            reader = group.kind_of_shape(canonical(node.inputs[0].shape))
        if node.op.name == "matmul":
            continue  # its operands must come from other groups: checked below
        for value in node.inputs:
            source = look_through(value)
            if source.number is not None:
                continue
            read_kind = access(group, "r" if node.op.name == "one_hot" else reader, source)
            if read_kind is None:
                return False
            if source.value in inside:
                computed_kind = group.kind_of(source.value.node)
                if computed_kind != read_kind or computed_kind in ("c", "s"):
                    return False
                if source.value.node in known_at_row_end:
                    if kind == "m" or reader == "m":
                        return False
                    known_at_row_end.add(node)
            elif producer_of(source.value) in {item.outputs[0].node for item in group.nodes}:
                return False  # another shape of a value of this group, which is not in memory
        if has_long_rows and kind == "r" and reader == "m":
            known_at_row_end.add(node)
    return not any(
        producer_of(value) in group.nodes
        for node in group.nodes
        if node.op.name == "matmul"
        for value in reads(node)
    )


def access(group: Group, reader: Kind | None, source: Source) -> Kind | None:
    """The kind as which a node of kind ``reader`` reads ``source`` in the group's space; None if it cannot."""
    rank = len(group.shape) if reader == "m" else len(group.shape) - 1
    if not source.kept:
        return "m" if rank == 0 and reader == "m" else "s"
    if source.kept == tuple(range(rank)):
        return "m" if reader == "m" else "r"
    if reader != "m":
        return None
    if source.kept == tuple(range(rank - 1)):
        return "r"
    return "c" if source.kept == (rank - 1,) else None


def sort_groups(groups: Iterable[Group], extra: Sequence[tuple[Group, Group]] = ()) -> list[Group]:
    """``groups`` in topological order; where it leaves a choice, in the order of the program.

    ``extra`` are further pairs (first, then). Raises ValueError if the dependencies have a cycle.
    """
    unsorted = list(groups)
    predecessors = {group: set(group.before) for group in unsorted}
    followers: dict[Group, set[Group]] = {group: set(group.after) for group in unsorted}
    for first, then in extra:
        predecessors[then].add(first)
        followers[first].add(then)
    ready = [(group.order, i, group) for i, group in enumerate(unsorted) if not predecessors[group]]
    heapq.heapify(ready)
    number = {group: i for i, group in enumerate(unsorted)}
    result = []
    while ready:
        _, _, group = heapq.heappop(ready)
        result.append(group)
        for other in followers[group]:
            predecessors[other].discard(group)
            if not predecessors[other]:
                heapq.heappush(ready, (other.order, number[other], other))
    if len(result) != len(unsorted):
        raise ValueError("the dependencies of the groups have a cycle")
    return result
