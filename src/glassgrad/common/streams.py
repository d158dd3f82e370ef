"""Counter-based random numbers outside of programs: one stream per purpose, none shared."""

from __future__ import annotations

import numpy as np

from glassgrad.common.constraints import Whole, check

WORD = Whole(0, 2**64 - 1)

SPLIT = 1
"""The stream that deals rows out to training, validation and test."""

SHUFFLE = 2
"""The stream that orders the training rows of each epoch."""


def generator(seed: int, stream: int, step: int = 0) -> np.random.Generator:
    """The generator for ``(seed, stream, step)``, independent of every other such triple.

    Philox4x64-10 (J. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011) with the key
    ``(seed, stream)``; ``step`` is the highest word of its counter, so steps never overlap. Raises InputError
    for a seed or step outside 0 to 2**64 - 1.
    """
    check_word("seed", seed)
    check_word("epoch", step)
    key = np.array([seed, stream], dtype=np.uint64)
    counter = np.array([0, 0, 0, step], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def check_word(label: str, value: int) -> None:
    """Raises InputError, naming ``label``, for a value that no word of 64 bits holds."""
    check(label, value, WORD)
