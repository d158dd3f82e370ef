"""The background of features: the one number that most of them are, such as black, or "not of this class"."""

from __future__ import annotations

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.ops.op import ZERO
from glassgrad.training.programs import BACKGROUND

ROWS = 256  # that are looked at, if they have no more than so many ...
NUMBERS = 1 << 18
COLUMNS = 64  # fewer are not worth it
TALL, WIDE = 4, 2  # elements that a product skips together: of so many rows, of so many columns
SHARE = 0.5  # of what cannot be skipped, from which on it does not pay
FAR = 4.0  # times the spread of the other numbers: sums over a background further off lose digits


def background(features: Array) -> float | None:
    """The number that most of ``features`` [rows, ...] are, if enough of them are to be passed over; else None.

    Looks at rows spread over all of them.
    """
    columns = features[:1].size
    most = min(ROWS, NUMBERS // max(columns, 1)) // TALL * TALL
    if min(len(features), most) < TALL or columns < COLUMNS or features.dtype.kind != "f":
        return None
    some = features[:: max(1, len(features) // most)][:most]
    some = some.reshape(len(some), columns)
    number = np.partition(some.reshape(-1), some.size // 2)[
        some.size // 2
    ]  # of more than half, it is the median
    differs = some != number
    rest = some[differs]
    if not np.isfinite(number) or (rest.size and abs(number) > FAR * np.std(rest, dtype=np.float64)):
        return None
    tall = differs[: len(some) // TALL * TALL].reshape(-1, TALL, columns).any(axis=1).mean()
    wide = differs[:, : columns // WIDE * WIDE].reshape(len(some), -1, WIDE).any(axis=2).mean()
    return float(number) if (tall + wide) / 2 <= SHARE else None


def kind(number: float | None) -> str | None:
    """The background as ``training_program`` takes it."""
    return None if number is None else BACKGROUND if number else ZERO


def hyperparameter(number: float | None) -> dict[str, float]:
    """What the program then takes besides when it runs."""
    return {BACKGROUND: number} if number else {}
