"""Nodes to groups (stage 1). A group is one kernel: one loop nest that computes several nodes at once.

Every node starts as a group of its own; then groups that feed one another are merged where the loops agree and
no other group would come to stand between them. Three kinds:

* ``rows``: elementwise work and reductions over a space of rows and columns (the last axis);
* ``product``: a matrix product, with elementwise work on its result (the epilogue);
* ``single``: one node with a loop nest of its own.

Inside a space a value is a matrix ``m`` (one number per row and column), a row value ``r`` (one per row), a
column value ``c``, or a scalar ``s``. Nodes that only rename elements (broadcasts of these kinds, reshapes,
constants) belong to no group: a reader looks through them. Axes of extent 1 mean nothing and are dropped.
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

# A row of at most this many vectors is held in registers, so that it can be read after it was reduced.
ROW_VECTORS = 8
# From so many rows on, a sum over the batch is no longer merged with what goes row by row: see ``regions``.
APART = 256
_FUSED = ("one_hot", "iota")
_REDUCTIONS = ("sum", "max")


@cache
def canonical(shape: Shape) -> Shape:
    """The shape without axes of extent 1."""
    return tuple(n for n in shape if n != 1)


@frozen
class Source:
    """What a value is read from: a value that some group (or the program's input) produces, and how.

    ``kept`` tells which canonical axes of the reader's shape the source has; None for a known number.
    """

    value: Value
    kept: tuple[int, ...]
    number: float | None = None


@lru_cache(1 << 12)  # of one program; ``generate`` empties it
def look_through(value: Value) -> Source:
    """The source behind reshapes, constants, and broadcasts. Asked many times for every value."""
    number = scalar(value)
    axes = tuple(range(len(canonical(value.shape))))
    if number is not None:
        return Source(value, (), number)
    node = value.node
    while True:
        if node.op.name == "reshape" and canonical(node.types[0].shape) == canonical(node.inputs[0].shape):
            value = node.inputs[0]
        elif node.op.name == "broadcast" and is_simple_broadcast(node):
            out = node.types[0].shape
            rank = {a: i for i, a in enumerate(a for a, n in enumerate(out) if n != 1)}
            kept = [rank[a] for a in node.attributes["axes"] if out[a] != 1]
            axes = tuple(axes[i] for i in kept)
            value = node.inputs[0]
        else:
            return Source(value, axes)
        node = value.node


def is_simple_broadcast(node: Node) -> bool:
    """Whether a broadcast repeats a scalar, a column vector, or a row value, so that readers look through."""
    out = node.types[0].shape
    real = [a for a, n in enumerate(out) if n != 1]
    kept = [a for a in node.attributes["axes"] if out[a] != 1]
    return kept in ([], real, real[:-1], real[-1:])


def is_virtual(node: Node) -> bool:
    """Whether ``node`` belongs to no group."""
    name = node.op.name
    if name == "reshape":
        return True  # another shape of the same memory
    if name == "broadcast":
        return is_simple_broadcast(node)
    return name in ("input", "constant") or scalar(node.outputs[0]) is not None


@dataclass(eq=False)
class Group:
    """Nodes that one kernel computes. ``shape`` is the canonical space: rows are all axes but the last."""

    kind: Literal["rows", "product", "single"]
    shape: Shape
    nodes: list[Node] = field(default_factory=list)
    before: set[Group] = field(default_factory=set)  # groups that this one reads from
    after: set[Group] = field(default_factory=set)

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
        """Where the group stands in the program's own order: that of its first node."""
        return self.nodes[0].serial

    def kind_of(self, node: Node) -> Kind | None:
        """Whether the result of ``node`` is m, r, c or s here; None where it does not fit this space."""
        if node.op.name in _REDUCTIONS and not self._is_product(node):
            return self._reduced(node)
        return self.kind_of_shape(canonical(node.types[0].shape))

    def kind_of_shape(self, shape: Shape) -> Kind | None:
        """m or r, by shape."""
        if shape == self.shape:
            return "m"
        return "r" if shape == self.shape[:-1] and len(self.shape) > 1 else None

    def _is_product(self, node: Node) -> bool:
        return node.op.name == "matmul"

    def _reduced(self, node: Node) -> Kind | None:
        given = node.inputs[0].shape
        real = [a for a, n in enumerate(given) if n != 1]
        gone = [a for a in node.attributes["axes"] if given[a] != 1]
        shape = canonical(given)
        if shape == self.shape:
            if gone == real:
                return "s"
            if gone == real[-1:]:
                return "r"
            return "c" if gone == real[:-1] and node.op.name == "sum" else None
        if shape == self.shape[:-1] and len(self.shape) > 1 and gone == real:
            return "s"
        return None

    def __str__(self) -> str:
        names = ", ".join(node.op.name for node in self.nodes)
        return f"{self.kind}[{' x '.join(map(str, self.shape)) or '1'}]: {names}"


def is_reduction(node: Node) -> bool:
    """Whether ``node`` is a sum or a maximum over axes."""
    return node.op.name in _REDUCTIONS


def form_groups(graph: Graph, vector_bytes: int, batch: int = 0) -> list[Group]:
    """The groups of ``graph``, each after those that it reads from.

    What goes row by row of a ``batch`` is kept apart from sums over the batch: see ``regions``.
    """
    nodes = needed_nodes(graph)
    home: dict[Node, Group] = {}
    for node in nodes:
        group = group_of(node)
        home[node] = group
        for value in reads(node):
            producer = home.get(producer_of(value))
            if producer is not None:
                group.before.add(producer)
                producer.after.add(group)
    # Scalars come last: merged early, they would stand between larger groups that belong together.
    for scalars in (False, True):
        for node in nodes:
            for value in sorted(reads(node), key=lambda v: producer_of(v).serial, reverse=True):
                producer = home.get(producer_of(value))
                if producer is None or producer is home[node]:
                    continue
                if not scalars and () in (producer.shape, home[node].shape):
                    continue
                merged = _merge(producer, home[node], vector_bytes, batch)
                if merged is not None:
                    for item in merged.nodes:
                        home[item] = merged
    return sort_groups(dict.fromkeys(home[node] for node in nodes))


def producer_of(value: Value) -> Node:
    """The node whose memory or registers ``value`` is read from, other reshapes looked through as well."""
    source = look_through(value).value
    while source.node.op.name == "reshape":
        source = look_through(source.node.inputs[0]).value
    return source.node


def operand(value: Value) -> tuple[Value, bool]:
    """What a matrix product reads for ``value``, and whether it reads it transposed."""
    node = value.node
    rank = len(value.shape)
    if node.op.name == "transpose" and node.attributes["order"] == (*range(rank - 2), rank - 1, rank - 2):
        return node.inputs[0], True
    return value, False


def reads(node: Node) -> list[Value]:
    """The values that ``node`` reads."""
    return [operand(value)[0] for value in node.inputs] if node.op.name == "matmul" else list(node.inputs)


def needed_nodes(graph: Graph) -> list[Node]:
    """The nodes that belong to groups: those that the outputs need, but for the virtual ones."""
    seen: set[Node] = set()
    stack = [value.node for value in graph.outputs]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(value.node for value in reads(node))
    return sorted((node for node in seen if not is_virtual(node)), key=lambda node: node.serial)


def group_of(node: Node) -> Group:
    """``node`` on its own."""
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
    """A one-hot code of one class has no class axis left to spread along."""
    return bool(node.attributes["classes"] > 1)


def _merge(a: Group, b: Group, vector_bytes: int, batch: int) -> Group | None:
    """``a`` (read by ``b``) and ``b`` as one group, if that is right."""
    shape = _common_shape(a, b)
    if shape is None or _between(a, b):
        return None
    if len(shape) > 1 and shape[0] == batch >= APART and _sums_batch(a) != _sums_batch(b):
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
    return any(group.kind_of(node) in ("r", "c") for node in group.nodes)


def _sums_batch(group: Group) -> bool:
    """Whether a node of ``group`` sums over its rows."""
    return any(is_reduction(node) and group.kind_of(node) in ("c", "s") for node in group.nodes)


def _between(a: Group, b: Group) -> bool:
    """Whether a third group reads from ``a`` and is read, at whatever distance, by ``b``."""
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
    """The lanes of a group's vectors: a full vector of its widest number."""
    widest = 4
    for node in group.nodes:
        for value in (*node.outputs, *(node.inputs if node.op.name != "matmul" else ())):
            widest = max(widest, SIZE[value.dtype])
    return vector_bytes // widest


def fits(group: Group, vector_bytes: int) -> bool:
    """Whether every node has its place in the group's space, and reads its fellows as they are computed."""
    inside = {value for node in group.nodes for value in node.outputs}
    long = group.columns > ROW_VECTORS * group_lanes(group, vector_bytes)
    reduced: set[Node] = set()  # r values that stand only at the end of a long row
    for node in group.nodes:
        kind = group.kind_of(node)
        if kind is None or (group.kind == "product" and (kind != "m" or node.op.name in _FUSED)):
            return False
        reader: Kind | None = kind
        if node.op.name in _REDUCTIONS and node.op.name != "matmul":
            reader = group.kind_of_shape(canonical(node.inputs[0].shape))
        if node.op.name == "matmul":
            continue  # its operands come from outside: see below
        for value in node.inputs:
            source = look_through(value)
            if source.number is not None:
                continue
            seen = access(group, "r" if node.op.name == "one_hot" else reader, source)
            if seen is None:
                return False
            if source.value in inside:
                given = group.kind_of(source.value.node)
                if given != seen or given in ("c", "s"):
                    return False
                if source.value.node in reduced:
                    if kind == "m" or reader == "m":
                        return False
                    reduced.add(node)
            elif producer_of(source.value) in {item.outputs[0].node for item in group.nodes}:
                return False  # another shape of a fellow's memory
        if long and kind == "r" and reader == "m":
            reduced.add(node)
    return not any(
        producer_of(value) in group.nodes
        for node in group.nodes
        if node.op.name == "matmul"
        for value in reads(node)
    )


def access(group: Group, reader: Kind | None, source: Source) -> Kind | None:
    """How a node of kind ``reader`` sees ``source`` in the group's space; None where it cannot."""
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
    """Topological order, the program's own order where it leaves a choice; ``extra`` pairs (first, then)."""
    listed = list(groups)
    waiting = {group: set(group.before) for group in listed}
    followers: dict[Group, set[Group]] = {group: set(group.after) for group in listed}
    for first, then in extra:
        waiting[then].add(first)
        followers[first].add(then)
    ready = [(group.order, i, group) for i, group in enumerate(listed) if not waiting[group]]
    heapq.heapify(ready)
    number = {group: i for i, group in enumerate(listed)}
    result = []
    while ready:
        _, _, group = heapq.heappop(ready)
        result.append(group)
        for other in followers[group]:
            waiting[other].discard(group)
            if not waiting[other]:
                heapq.heappush(ready, (other.order, number[other], other))
    if len(result) != len(listed):
        raise ValueError("the groups wait for one another")
    return result
