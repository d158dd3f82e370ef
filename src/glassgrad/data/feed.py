"""The order in which an epoch visits the training rows, and orders drawn ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data.streams import SHUFFLE, generator

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    import numpy.typing as npt

WORTH_A_THREAD = 4_000  # rows; fewer are drawn in less time than another thread takes to be told


def epoch_order(rows: int, *, seed: int, epoch: int, shuffle: bool = True) -> npt.NDArray[np.int32]:
    """A permutation of ``0 .. rows - 1``, int32 ``[rows]``: the same for the same ``(rows, seed, epoch)``.

    It depends on no earlier epoch, so a resumed run visits the rows as an unbroken one does. With ``shuffle``
    false, the rows come in their own order. Raises InputError for fewer than 0 or more than 2**31 - 1 rows.
    """
    if not 0 <= rows < 2**31:
        raise InputError(f"an epoch of {rows} rows cannot be ordered; give from 0 to 2**31 - 1 rows")
    order = np.arange(rows, dtype=np.int32)
    return generator(seed, SHUFFLE, epoch).permutation(order) if shuffle else order


class Orders:
    """The orders of the epochs of a run, each drawn while the epochs before it are still trained on.

    Machine code runs without the GIL, so what is drawn on another thread meanwhile costs nothing.
    """

    def __init__(self, rows: int, batch: int, *, seed: int, epochs: int, shuffle: bool = True) -> None:
        """For epochs 1 to ``epochs`` over ``rows`` rows; each is padded with -1 to whole batches of ``batch``."""
        self.rows, self.seed, self.epochs, self.shuffle = rows, seed, epochs, shuffle
        self.length = -(-rows // batch) * batch
        self._ahead: tuple[int, int, Future[npt.NDArray[np.int32]]] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def take(self, first: int, count: int) -> npt.NDArray[np.int32]:
        """The order of ``count`` epochs from epoch ``first`` on, int32 ``[count * padded rows]``.

        As many again are then drawn ahead, where that takes a while.
        """
        known, self._ahead = self._ahead, None
        is_drawn = known is not None and known[:2] == (first, count)
        found = known[2].result() if known and is_drawn else self._draw(first, count)
        following = min(count, self.epochs - first - count + 1)
        if following * self.length >= WORTH_A_THREAD:
            if self._thread is None:
                from concurrent.futures import ThreadPoolExecutor

                self._thread = ThreadPoolExecutor(1, "glassgrad-orders")
            self._ahead = first + count, following, self._thread.submit(self._draw, first + count, following)
        return found

    def _draw(self, first: int, count: int) -> npt.NDArray[np.int32]:
        orders = np.full((count, self.length), -1, np.int32)
        for i in range(count):
            orders[i, : self.rows] = epoch_order(
                self.rows, seed=self.seed, epoch=first + i, shuffle=self.shuffle
            )
        return orders.reshape(-1)

    def close(self) -> None:
        """Let the thread go."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
