"""What a schedule is made for."""

from __future__ import annotations

from glassgrad.common.frozen import frozen


@frozen
class Target:
    """The width of a vector of the machine in bytes, and the names of the ops that have a lowering."""

    vector_bytes: int
    ops: frozenset[str]
