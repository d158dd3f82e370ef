"""The background of features: the one number that most of them are, such as black, or "not of this class"."""

from __future__ import annotations

import numpy as np

from glassgrad.backends.base import Array

ROWS = 256  # that are looked at
COLUMNS = 64  # fewer are not worth it
TALL, WIDE = 4, 2  # elements that a product skips together: of so many rows, of so many columns
SHARE = 0.5  # of what cannot be skipped, from which on it does not pay


def background(features: Array) -> float | None:
    """The number that most of ``features`` [rows, ...] are, if enough of them are to be passed over; else None.

    Looks at rows spread over all of them.
    """
    step = max(1, len(features) // ROWS)
    some = features[::step][:ROWS].reshape(min(ROWS, -(-len(features) // step)), -1)
    rows, columns = len(some) // TALL * TALL, some.shape[1] // WIDE * WIDE
    if not rows or columns < COLUMNS or some.dtype.kind != "f":
        return None
    number = float(
        np.partition(some.reshape(-1), some.size // 2)[some.size // 2]
    )  # more than half: the median is it
    if not np.isfinite(number):
        return None
    differs = some != some.dtype.type(number)
    tall = differs[:rows].reshape(-1, TALL, some.shape[1]).any(axis=1).mean()
    wide = differs[:, :columns].reshape(len(some), -1, WIDE).any(axis=2).mean()
    return number if (tall + wide) / 2 <= SHARE else None
