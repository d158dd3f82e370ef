"""The arena (stage 2): an offset for every value in memory. Values with disjoint lifetimes may share memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glassgrad.backends.native.ir.types import SIZE
from glassgrad.backends.native.runtime.arguments import ALIGNMENT
from glassgrad.graph.node import Type, Value


@dataclass(eq=False)
class Buffer:
    """A range of the arena: a row-major array of ``type``, followed by up to one vector of slack.

    A matrix may lie in panels instead: ``panel`` columns of all rows, then the next ``panel`` columns. Columns that
    different threads write are then far apart. In row-major order they would be neighbours, and the prefetcher of one
    core would fetch cache lines that another core is writing.

    ``first`` and ``last`` are the positions in the schedule between which the buffer must keep its content. A
    ``lasting`` buffer keeps its content from step to step.
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
        """Extend the lifetime to positions ``start`` to ``end``."""
        self.first = start if self.first < 0 else min(self.first, start)
        self.last = max(self.last, end)


def memory_of(value: Value) -> Value:
    """The value whose memory holds ``value``: a reshape shares the memory of its operand."""
    while value.node.op.name == "reshape":
        value = value.node.inputs[0]
    return value


def rounded(size: int) -> int:
    """``size`` bytes plus slack, in whole cache lines: a vector that begins inside a buffer may end behind it."""
    return -(-size // ALIGNMENT) * ALIGNMENT + ALIGNMENT


def place_buffers(buffers: Iterable[Buffer], start: int = 0, reserved: Sequence[Buffer] = ()) -> int:
    """Assign an offset to every buffer without one; returns the size of the arena in bytes.

    Lasting buffers come first, one after another. Each of the others, largest first, gets the lowest offset at which
    it overlaps no buffer that is alive at the same time. With ``start`` > 0 the arena has that many bytes already:
    the lasting buffers come after them, and the others may lie anywhere outside of the ``reserved`` buffers.
    """
    unplaced = [buffer for buffer in buffers if buffer.offset < 0]
    always_alive = list(reserved)
    end = start
    for buffer in unplaced:
        if buffer.lasting:
            buffer.offset = end
            end += rounded(buffer.size)
            if start:
                always_alive.append(buffer)
    placed: list[Buffer] = []
    arena_size = end
    for buffer in sorted((b for b in unplaced if not b.lasting), key=lambda b: (-b.size, b.first)):
        alive_together = [b for b in placed if b.first <= buffer.last and buffer.first <= b.last]
        offset = 0 if start else end
        for other in sorted([*always_alive, *alive_together], key=lambda b: b.offset):
            if offset + rounded(buffer.size) <= other.offset:
                break
            offset = max(offset, other.offset + rounded(other.size))
        buffer.offset = offset
        placed.append(buffer)
        arena_size = max(arena_size, offset + rounded(buffer.size))
    return arena_size
