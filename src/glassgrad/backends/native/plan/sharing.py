"""Decides what threads share: a single kernel, and the gathering of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from glassgrad.backends.native.plan.items import Chain, Schedule
from glassgrad.backends.native.plan.memory import Buffer

# Least work of a shared kernel: a few microseconds, many times the cost of sharing.
PRODUCT_WORK = 1 << 18  # multiplications
ROWS_WORK = 1 << 15  # elements
GATHER_BYTES = 1 << 16  # least bytes of a batch whose copying is shared


def is_worth_sharing(units: int, work: int, is_product: bool) -> bool:
    """Whether threads share a kernel of ``units`` units with ``work`` multiplications (or elements)."""
    return units > 1 and work >= (PRODUCT_WORK if is_product else ROWS_WORK)


def is_gather_worth_sharing(size: int) -> bool:
    """Whether threads share the copying of a batch of ``size`` bytes."""
    return size >= GATHER_BYTES


def gathering_chain(schedule: Schedule, data: Sequence[Buffer]) -> Chain | None:
    """The chain that gathers the rows of ``data`` itself: the first item that reads ``data``, if it is a chain."""
    for item in schedule.items:
        if not schedule.touched(item).isdisjoint(data):
            return item if isinstance(item, Chain) else None
    return None
