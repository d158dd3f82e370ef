"""The order in which an epoch visits the training rows, and orders drawn ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data.streams import SHUFFLE, Steps, generator

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    import numpy.typing as npt

WORTH_A_THREAD = 4_000  # rows; fewer are drawn in less time than another thread takes to be told
AHEAD = 1 << 18  # rows; short epochs are drawn so many at once: to tell a thread takes as long as one of them


def epoch_order(
    rows: int, *, seed: int, epoch: int, shuffle: bool = True, steps: Steps | None = None
) -> npt.NDArray[np.int32]:
    """A permutation of ``0 .. rows - 1``, int32 ``[rows]``: the same for the same ``(rows, seed, epoch)``.

    It depends on no earlier epoch, so a resumed run visits the rows as an unbroken one does. With ``shuffle``
    false, the rows come in their own order. ``steps`` are the generators of ``seed``, if they are at hand. Raises
    InputError for fewer than 0 or more than 2**31 - 1 rows.
    """
    if not 0 <= rows < 2**31:
        raise InputError(f"an epoch of {rows} rows cannot be ordered; give from 0 to 2**31 - 1 rows")
    if not shuffle:
        return np.arange(rows, dtype=np.int32)
    random = generator(seed, SHUFFLE, epoch) if steps is None else steps.at(epoch)
    return random.permutation(rows).astype(np.int32)  # an array of int32 would be permuted more slowly


class Orders:
    """The orders of the epochs of a run, most of them drawn while the epochs before are still trained on.

    Machine code runs without the GIL, so what is drawn on another thread meanwhile costs nothing. Nobody waits for
    that thread: an epoch that it has not come to is drawn on the spot.
    """

    def __init__(self, rows: int, batch: int, *, seed: int, epochs: int, shuffle: bool = True) -> None:
        """For epochs 1 to ``epochs`` over ``rows`` rows; each is padded with -1 to whole batches of ``batch``."""
        self.rows, self.seed, self.epochs, self.shuffle = rows, seed, epochs, shuffle
        self.length = -(-rows // batch) * batch
        self._own = Steps(seed, SHUFFLE)
        self._at = 1  # the next epoch
        self._ready: dict[int, npt.NDArray[np.int32]] = {}
        self._ahead: Future[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def take(self, first: int, count: int) -> npt.NDArray[np.int32]:
        """The order of ``count`` epochs from epoch ``first`` on, int32 ``[count * padded rows]``."""
        self._at = end = first + count
        found = [self._ready.pop(epoch, None) for epoch in range(first, end)]
        self._draw_following(2 * count)
        own = self._own
        orders = [self._drawn(first + i, own) if order is None else order for i, order in enumerate(found)]
        for epoch in [epoch for epoch in tuple(self._ready) if epoch < end]:  # which came too late
            self._ready.pop(epoch, None)
        return orders[0] if count == 1 else np.concatenate(orders)

    def _draw_following(self, least: int) -> None:
        """Have the thread draw at least so many epochs more, and many at once of short ones."""
        if self._ahead is not None and not self._ahead.done():
            return
        following = range(self._at, min(self._at + max(least, AHEAD // self.length), self.epochs + 1))
        lacking = [epoch for epoch in following if epoch not in self._ready]
        if len(lacking) * self.length < WORTH_A_THREAD:
            return
        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor

            self._thread = ThreadPoolExecutor(1, "glassgrad-orders")
        self._ahead = self._thread.submit(self._draw, lacking)

    def _draw(self, epochs: list[int]) -> None:
        steps = Steps(self.seed, SHUFFLE)
        for epoch in epochs:
            if epoch >= self._at:
                self._ready[epoch] = self._drawn(epoch, steps)

    def _drawn(self, epoch: int, steps: Steps) -> npt.NDArray[np.int32]:
        drawn = epoch_order(self.rows, seed=self.seed, epoch=epoch, shuffle=self.shuffle, steps=steps)
        if self.length == self.rows:
            return drawn
        order = np.full(self.length, -1, np.int32)
        order[: self.rows] = drawn
        return order

    def close(self) -> None:
        """Let the thread go."""
        self._at = self.epochs + 1
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
