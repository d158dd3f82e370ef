"""The order in which an epoch visits the training rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError
from glassgrad.common.streams import SHUFFLE, check_word, generator


def epoch_order(rows: int, *, seed: int, epoch: int, shuffle: bool = True) -> npt.NDArray[np.int32]:
    """A permutation of ``0 .. rows - 1``, int32 ``[rows]``: the same for the same ``(rows, seed, epoch)``.

    It depends on no earlier epoch, so a resumed run visits the rows as an unbroken one does. With ``shuffle``
    false, the rows come in their own order. Raises InputError for fewer than 0 or more than 2**31 - 1 rows.

    R. Fisher and F. Yates, 1938, as NumPy does it: from the last place to the second, each changes with one up to
    its own. A word of 32 bits chooses it; one whose lowest bits name a later place is passed over.
    """
    check_rows(rows)
    if not shuffle:
        return np.arange(rows, dtype=np.int32)
    # An array of int32 would be permuted more slowly.
    return generator(seed, SHUFFLE, epoch).permutation(rows).astype(np.int32)


def check_rows(rows: int) -> None:
    """Raises InputError for a number of rows that cannot be ordered."""
    if not 0 <= rows < 2**31:
        raise InputError(f"an epoch of {rows} rows cannot be ordered; give from 0 to 2**31 - 1 rows")


@dataclass(frozen=True)
class Epochs:
    """The order of whole epochs, each padded with -1 to whole batches: what it is, before anybody has drawn it.

    It stands for an array of int32, which ``numpy.asarray`` gives, and is cut like one: at the ends of batches. A
    backend that can draws it in machine code (see ``backends.native.codegen.shuffle``).
    """

    rows: int
    batch: int
    seed: int
    first: int = 1
    """The number of the first epoch."""
    count: int = 1
    """How many epochs there are."""
    begin: int = 0
    """The first step of them that is meant."""
    end: int | None = None
    """The end of those that are; None: all."""

    def __post_init__(self) -> None:
        """Raises InputError for numbers that are out of range."""
        check_rows(self.rows)
        check_word("seed", self.seed)
        check_word("epoch", self.first)

    @property
    def steps_per_epoch(self) -> int:
        """Batches that an epoch is cut into."""
        return -(-self.rows // self.batch)

    @property
    def length(self) -> int:
        """Places in the order of one epoch, padding included."""
        return self.steps_per_epoch * self.batch

    @property
    def steps(self) -> range:
        """The steps that are meant, counted from the first of the first epoch on."""
        return range(self.begin, self.count * self.steps_per_epoch if self.end is None else self.end)

    def __len__(self) -> int:
        """Places in the order, padding included."""
        return len(self.steps) * self.batch

    def rows_per_step(self) -> npt.NDArray[np.int64]:
        """How many rows each of the steps visits: a batch, but for the last one of an epoch."""
        each = self.steps_per_epoch
        last = np.arange(self.steps.start, self.steps.stop) % each == each - 1
        return np.where(last, self.rows - (each - 1) * self.batch, self.batch)

    def __getitem__(self, part: slice) -> Epochs:
        """The part of it that a slice of the array would be; its ends must be those of batches."""
        begin, end, step = part.indices(len(self))
        if step != 1 or begin % self.batch or end % self.batch:
            raise ValueError(f"an order in batches of {self.batch} cannot be cut at {begin} and {end}")
        steps = self.steps[begin // self.batch : end // self.batch]
        return replace(self, begin=steps.start, end=steps.stop)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Draw it: int32 ``[len]``."""
        each, steps = self.steps_per_epoch, self.steps
        epochs = range(steps.start // each, -(-steps.stop // each)) if steps else range(0)
        drawn = np.full((len(epochs), self.length), -1, np.int32 if dtype is None else dtype)
        for place, epoch in zip(drawn, epochs, strict=True):
            place[: self.rows] = epoch_order(self.rows, seed=self.seed, epoch=self.first + epoch)
        start = (steps.start - epochs.start * each) * self.batch
        return drawn.reshape(-1)[start : start + len(self)]
