"""The order in which an epoch visits the training rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError
from glassgrad.common.streams import SHUFFLE, check_uint64, generator


def epoch_order(rows: int, *, seed: int, epoch: int, shuffle: bool = True) -> npt.NDArray[np.int32]:
    """A permutation of ``0 .. rows - 1``, int32 ``[rows]``: a pure function of ``(rows, seed, epoch)``.

    It does not depend on earlier epochs, so a resumed run visits the rows in the order of an uninterrupted one.
    Without ``shuffle`` it is ``0 .. rows - 1``. Raises InputError for fewer than 0 or more than 2**31 - 1 rows.

    Fisher-Yates shuffle (1938) as in NumPy: each position, from the last to the second, is swapped with a random
    position up to its own. The lowest bits of a random 32-bit word give that position; a word that gives a position
    beyond it is rejected.
    """
    check_rows(rows)
    if not shuffle:
        return np.arange(rows, dtype=np.int32)
    # NumPy permutes an int32 array more slowly.
    return generator(seed, SHUFFLE, epoch).permutation(rows).astype(np.int32)


def check_rows(rows: int) -> None:
    """Raise InputError unless an int32 can number ``rows`` rows."""
    if not 0 <= rows < 2**31:
        raise InputError(f"an epoch of {rows} rows cannot be ordered; give from 0 to 2**31 - 1 rows")


@dataclass(frozen=True)
class Epochs:
    """The row order of several shuffled epochs, not yet drawn. Each epoch is padded with -1 to whole batches.

    It represents an int32 array of shape ``[len]``, which ``numpy.asarray`` draws. Slices at batch boundaries are
    supported. The native backend draws it in machine code (``backends.native.codegen.shuffle``).
    """

    rows: int
    """Rows of the training set."""
    batch: int
    """Rows of a batch."""
    seed: int
    first: int = 1
    """The number of the first epoch."""
    count: int = 1
    """The number of epochs."""
    begin: int = 0
    """The first step of the range, counted from the start of the first epoch."""
    end: int | None = None
    """The end of the range of steps, exclusive; None: the end of the last epoch."""

    def __post_init__(self) -> None:
        """Raise InputError for a number of rows, a seed or an epoch out of range."""
        check_rows(self.rows)
        check_uint64("seed", self.seed)
        check_uint64("epoch", self.first)

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch, including a partial last one."""
        return -(-self.rows // self.batch)

    @property
    def length(self) -> int:
        """Entries per epoch, including padding."""
        return self.steps_per_epoch * self.batch

    @property
    def steps(self) -> range:
        """The range of steps, counted from the start of the first epoch."""
        return range(self.begin, self.count * self.steps_per_epoch if self.end is None else self.end)

    def __len__(self) -> int:
        """Entries in the range of steps, including padding."""
        return len(self.steps) * self.batch

    def rows_per_step(self) -> npt.NDArray[np.int64]:
        """The number of valid rows of each step, int64 ``[steps]``: a full batch, except at the end of an epoch."""
        per_epoch = self.steps_per_epoch
        is_last = np.arange(self.steps.start, self.steps.stop) % per_epoch == per_epoch - 1
        return np.where(is_last, self.rows - (per_epoch - 1) * self.batch, self.batch)

    def __getitem__(self, part: slice) -> Epochs:
        """The order that the slice ``part`` of the array represents.

        Raises ValueError unless both ends of the slice are batch boundaries.
        """
        begin, end, step = part.indices(len(self))
        if step != 1 or begin % self.batch or end % self.batch:
            raise ValueError(f"an order in batches of {self.batch} cannot be cut at {begin} and {end}")
        steps = self.steps[begin // self.batch : end // self.batch]
        return replace(self, begin=steps.start, end=steps.stop)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Draw the order: int32 ``[len]`` by default."""
        per_epoch, steps = self.steps_per_epoch, self.steps
        epochs = range(steps.start // per_epoch, -(-steps.stop // per_epoch)) if steps else range(0)
        orders = np.full((len(epochs), self.length), -1, np.int32 if dtype is None else dtype)
        for order, epoch in zip(orders, epochs, strict=True):
            order[: self.rows] = epoch_order(self.rows, seed=self.seed, epoch=self.first + epoch)
        start = (steps.start - epochs.start * per_epoch) * self.batch
        return orders.reshape(-1)[start : start + len(self)]
