"""The orders of epochs as ``run`` takes them: drawn by NumPy at first, by machine code once it is worth having."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.native.cache import key_of, load, save
from glassgrad.backends.native.layout import ORDER_SLACK
from glassgrad.backends.native.loader import Loaded
from glassgrad.backends.native.machine import Library, host
from glassgrad.common.orders import Epochs
from glassgrad.common.streams import SHUFFLE

WORTH_CODE = 1 << 17  # rows: a few of them would take longer to draw, but most code is found on disk


class Drawer:
    """Draws orders into memory of its own, and knows those that it drew last. For one thread."""

    drawn = 0  # rows, in this process

    def __init__(self) -> None:
        self._last: Epochs | None = None
        self._room = np.empty(0, np.int32)
        self._valid = np.empty((0, 0), bool)

    def draw(self, epochs: Epochs) -> tuple[Array, Array]:
        """The row of each place, int32 [steps, batch], 0 where it is padding; and whether it is none (bool).

        They are good until it draws again.
        """
        each, steps, batch = epochs.steps_per_epoch, epochs.steps, epochs.batch
        skipped = steps.start // each
        count = -(-steps.stop // each) - skipped
        whole = replace(epochs, first=epochs.first + skipped, count=count, begin=0, end=None)
        if whole != self._last:
            self._last = None
            self._make_room(whole)
            Drawer.drawn += count * epochs.rows
            if Drawer.drawn > WORTH_CODE:
                self._by_machine(whole)
            else:
                np.maximum(np.asarray(whole), 0, out=self._room[: len(whole)])
            self._last = whole
        part = slice(steps.start - skipped * each, steps.stop - skipped * each)
        return self._room[: len(whole)].reshape(-1, batch)[part], self._valid[part]

    def _make_room(self, whole: Epochs) -> None:
        """Memory for the order of ``whole``, and which of its places are no padding."""
        if len(self._room) < len(whole) + ORDER_SLACK:
            self._room = np.empty(len(whole) + ORDER_SLACK, np.int32)
        length = whole.steps_per_epoch * whole.batch
        rows = np.arange(length) < whole.rows
        self._valid = np.tile(rows.reshape(-1, whole.batch), (whole.count, 1))

    def _by_machine(self, whole: Epochs) -> None:
        length = whole.steps_per_epoch * whole.batch
        words = [self._room.ctypes.data, whole.rows, length, whole.seed, SHUFFLE, whole.first, whole.count]
        args = np.array(words, np.uint64)
        _shuffle()(args.ctypes.data)


_making = threading.Lock()


def _shuffle() -> Any:
    with _making:
        return _made()[1]


@cache
def _made() -> tuple[Library | Loaded, Any]:
    """The function ``shuffle``, from the cache on disk or from LLVM, behind the memory that it lies in."""
    key = key_of(None)
    code = load(key)
    if code is None:
        code = import_module("glassgrad.backends.native.generate").generate_shuffle(host())
        save(key, code)
    library = code.library()
    return library, library.function("shuffle", 1)
