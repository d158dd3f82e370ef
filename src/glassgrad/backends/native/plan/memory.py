"""The arena (stage 2): every value in memory gets an offset; values that are never needed at once may share it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glassgrad.backends.native.ir.types import SIZE
from glassgrad.backends.native.runtime.arguments import ALIGNMENT
from glassgrad.graph.node import Type, Value


@dataclass(eq=False)
class Buffer:
    """A stretch of the arena: ``type`` laid out row by row, and up to a vector of slack behind it.

    A matrix may lie in panels instead: ``panel`` columns of all rows, then those to the right of them. What threads
    change column by column lies apart then: where it lies side by side, a core fetches ahead what belongs to another.

    ``first`` and ``last`` are the positions in the schedule between which it must keep its content; a
    ``lasting`` buffer keeps it from step to step.
    """

    type: Type
    lasting: bool = False
    first: int = -1
    last: int = -1
    offset: int = -1
    panel: int = 0

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self.type.size * SIZE[self.type.dtype]

    def touch(self, start: int, end: int) -> None:
        """Needed from position ``start`` to ``end``."""
        self.first = start if self.first < 0 else min(self.first, start)
        self.last = max(self.last, end)


def memory_of(value: Value) -> Value:
    """The value whose memory ``value`` lies in: reshapes share it."""
    while value.node.op.name == "reshape":
        value = value.node.inputs[0]
    return value


def rounded(size: int) -> int:
    """``size`` with its slack, in whole cache lines: a vector that begins inside may end outside."""
    return -(-size // ALIGNMENT) * ALIGNMENT + ALIGNMENT


def place_buffers(buffers: Iterable[Buffer], start: int = 0, taken: Sequence[Buffer] = ()) -> int:
    """Give every buffer without an offset its own; returns the size of the arena in bytes.

    Lasting buffers first, side by side. The others, largest first, each at the lowest offset at which no
    buffer lies that is alive at the same time. Where the arena is ``start`` bytes large already, the lasting ones
    come behind it, and the others anywhere where nothing is ``taken``.
    """
    listed = [buffer for buffer in buffers if buffer.offset < 0]
    always = list(taken)
    end = start
    for buffer in listed:
        if buffer.lasting:
            buffer.offset = end
            end += rounded(buffer.size)
            if start:
                always.append(buffer)
    placed: list[Buffer] = []
    top = end
    for buffer in sorted((b for b in listed if not b.lasting), key=lambda b: (-b.size, b.first)):
        rivals = [b for b in placed if b.first <= buffer.last and buffer.first <= b.last]
        spot = 0 if start else end
        for other in sorted([*always, *rivals], key=lambda b: b.offset):
            if spot + rounded(buffer.size) <= other.offset:
                break
            spot = max(spot, other.offset + rounded(other.size))
        buffer.offset = spot
        placed.append(buffer)
        top = max(top, spot + rounded(buffer.size))
    return top
