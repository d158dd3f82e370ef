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
        self._ready: dict[int, npt.NDArray[np.int32]] = {}
        self._ahead: Future[dict[int, npt.NDArray[np.int32]]] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def take(self, first: int, count: int) -> npt.NDArray[np.int32]:
        """The order of ``count`` epochs from epoch ``first`` on, int32 ``[count * padded rows]``.

        Twice as many are then drawn ahead, where that takes a while: the next call may be twice as long.
        """
        if self._ahead is not None:
            self._ready |= self._ahead.result()
            self._ahead = None
        end = first + count
        found = [
            self._ready.pop(epoch) if epoch in self._ready else self._drawn(epoch)
            for epoch in range(first, end)
        ]
        following = [
            epoch for epoch in range(end, min(end + 2 * count, self.epochs + 1)) if epoch not in self._ready
        ]
        if len(following) * self.length >= WORTH_A_THREAD:
            if self._thread is None:
                from concurrent.futures import ThreadPoolExecutor

                self._thread = ThreadPoolExecutor(1, "glassgrad-orders")
            self._ahead = self._thread.submit(lambda: {epoch: self._drawn(epoch) for epoch in following})
        return found[0] if count == 1 else np.concatenate(found)

    def _drawn(self, epoch: int) -> npt.NDArray[np.int32]:
        order = np.full(self.length, -1, np.int32)
        order[: self.rows] = epoch_order(self.rows, seed=self.seed, epoch=epoch, shuffle=self.shuffle)
        return order

    def close(self) -> None:
        """Let the thread go."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
