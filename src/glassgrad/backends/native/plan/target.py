"""The properties of the target that a schedule depends on."""

from __future__ import annotations

from glassgrad.common.frozen import frozen


@frozen
class Target:
    """The width of the machine's vectors in bytes, and the names of the ops that have a lowering."""

    vector_bytes: int
    ops: frozenset[str]
