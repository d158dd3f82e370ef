"""Counter-based random numbers on the host. Each purpose has a stream of its own."""

from __future__ import annotations

import numpy as np

from glassgrad.common.constraints import Whole, check

UINT64 = Whole(0, 2**64 - 1)

SPLIT = 1
"""The stream that splits rows into training, validation and test."""

SHUFFLE = 2
"""The stream that shuffles the training rows of each epoch."""


def generator(seed: int, stream: int, step: int = 0) -> np.random.Generator:
    """The generator for ``(seed, stream, step)``, independent of the generators for other triples.

    Philox4x64-10 (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with the key
    ``(seed, stream)``. ``step`` is the highest word of the counter, so the numbers of two steps never overlap. Raises
    InputError for a seed or step outside 0 to 2**64 - 1.
    """
    check_uint64("seed", seed)
    check_uint64("epoch", step)
    key = np.array([seed, stream], dtype=np.uint64)
    counter = np.array([0, 0, 0, step], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def check_uint64(label: str, value: int) -> None:
    """Raise InputError, which names ``label``, unless ``value`` is an int from 0 to 2**64 - 1."""
    check(label, value, UINT64)
