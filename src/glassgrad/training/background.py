"""The background of features: the value that most elements have, such as black in images or 0 in one-hot columns."""

from __future__ import annotations

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.ops.op import ZERO
from glassgrad.training.programs import BACKGROUND

ROWS = 256
"""The most rows that are sampled."""

NUMBERS = 1 << 18
"""The most elements that are sampled."""

COLUMNS = 64
"""Fewer columns than this are not worth skipping."""

TALL, WIDE = 4, 2
"""A matrix product skips blocks of ``TALL`` rows of a column, or of ``WIDE`` columns of a row."""

SHARE = 0.5
"""Skipping pays off up to this share of blocks that cannot be skipped."""

FAR = 4.0
"""A background further from 0 than this many standard deviations of the other elements would cost digits in sums."""


def background(features: Array) -> float | None:
    """The most frequent value of ``features`` [rows, ...], if enough blocks of it can be skipped; else None.

    The rows sampled are spread evenly over ``features``.
    """
    columns = features[:1].size
    sample_size = min(ROWS, NUMBERS // max(columns, 1)) // TALL * TALL
    if min(len(features), sample_size) < TALL or columns < COLUMNS or features.dtype.kind != "f":
        return None
    sample = features[:: max(1, len(features) // sample_size)][:sample_size]
    sample = sample.reshape(len(sample), columns)
    # A value that more than half of the elements have is their median.
    number = np.partition(sample.reshape(-1), sample.size // 2)[sample.size // 2]
    differs = sample != number
    rest = sample[differs]
    if not np.isfinite(number) or (rest.size and abs(number) > FAR * np.std(rest, dtype=np.float64)):
        return None
    tall = differs[: len(sample) // TALL * TALL].reshape(-1, TALL, columns).any(axis=1).mean()
    wide = differs[:, : columns // WIDE * WIDE].reshape(len(sample), -1, WIDE).any(axis=2).mean()
    return float(number) if (tall + wide) / 2 <= SHARE else None


def kind(number: float | None) -> str | None:
    """The argument ``background`` of ``training_program``."""
    return None if number is None else BACKGROUND if number else ZERO


def hyperparameter(number: float | None) -> dict[str, float]:
    """The hyperparameter that a program with such a background takes at run time; empty for a background of 0."""
    return {BACKGROUND: number} if number else {}
