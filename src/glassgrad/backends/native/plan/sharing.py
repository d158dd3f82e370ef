"""What is worth sharing among threads: a kernel on its own, and the gathering of a batch."""

from __future__ import annotations

# A kernel is shared out from this much work on: a few microseconds, many times what sharing costs.
PRODUCT_WORK = 1 << 18  # multiplications


ROWS_WORK = 1 << 15  # elements


GATHER_BYTES = 1 << 16


def is_worth_sharing(units: int, work: int, is_product: bool) -> bool:
    """Whether a kernel of so many ``units``, with ``work`` multiplications (or elements), is shared out."""
    return units > 1 and work >= (PRODUCT_WORK if is_product else ROWS_WORK)
