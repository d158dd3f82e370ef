"""The orders of epochs as ``run`` takes them: drawn by NumPy at first, by machine code once it is worth having."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.native.runtime.arguments import ORDER_SLACK
from glassgrad.backends.native.runtime.cache import Code, key_of, load, save
from glassgrad.backends.native.runtime.loader import Loaded
from glassgrad.backends.native.runtime.machine import Library, Machine, host
from glassgrad.common.orders import Epochs
from glassgrad.common.streams import SHUFFLE

WORTH_CODE = 1 << 17  # rows: a few of them would take longer to draw, but most code is found on disk


class Drawer:
    """Draws orders into memory of its own, and knows those that it drew last. For one thread."""

    drawn = 0  # rows, in this process

    def __init__(self, compile_shuffle: Callable[[Machine], Code]) -> None:
        """``compile_shuffle`` makes the code of ``shuffle`` for a processor, where the cache has none."""
        self._compile_shuffle = compile_shuffle
        self._last: Epochs | None = None
        self._room = np.empty(0, np.int32)
        self._form = 0, 0  # the rows and the batch that ``_valid`` is of
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
            if Drawer.drawn <= WORTH_CODE or not self._by_machine(whole):
                np.maximum(np.asarray(whole), 0, out=self._room[: len(whole)])
            self._last = whole
        part = slice(steps.start - skipped * each, steps.stop - skipped * each)
        return self._room[: len(whole)].reshape(-1, batch)[part], self._valid[part]

    def _make_room(self, whole: Epochs) -> None:
        """Memory for the order of ``whole``, and which of its places are no padding."""
        if len(self._room) < len(whole) + ORDER_SLACK:
            self._room = np.empty(len(whole) + ORDER_SLACK, np.int32)
        form = whole.rows, whole.batch
        if form != self._form or len(self._valid) < whole.count * whole.steps_per_epoch:
            rows = np.arange(whole.length) < whole.rows
            self._form, self._valid = form, np.tile(rows.reshape(-1, whole.batch), (whole.count, 1))

    def _by_machine(self, whole: Epochs) -> bool:
        """Draw in machine code; whether that was possible."""
        with _compilation.lock:
            shuffle = _load_shuffle(self._compile_shuffle)
        if shuffle is not None:
            _draw(shuffle[1], whole, self._room)
        return shuffle is not None


class _CompilationLock:
    """One thread at a time compiles. A forked process lacks the thread that held the lock, and gets a new one."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock = threading.Lock()


_compilation = _CompilationLock()


@cache
def _load_shuffle(compile_shuffle: Callable[[Machine], Code]) -> tuple[Library | Loaded, Any] | None:
    """The function ``shuffle``, from the cache on disk or from LLVM, behind the memory that it lies in.

    None where it is not NumPy's order: another version of NumPy may have another.
    """
    key = key_of(None)
    code = load(key)
    if code is None:
        code = compile_shuffle(host())
        save(key, code)
    library = code.library()
    function = library.function("shuffle", 1)
    for rows in (7, 1000):
        sample = Epochs(rows, 8, seed=2**63, first=5)
        room = np.empty(len(sample) + ORDER_SLACK, np.int32)
        _draw(function, sample, room)
        if not np.array_equal(room[: len(sample)], np.maximum(np.asarray(sample), 0)):
            return None
    return library, function


def _draw(function: Any, epochs: Epochs, room: Array) -> None:
    """Whole epochs into ``room``, each padded with 0."""
    words = [room.ctypes.data, epochs.rows, epochs.length, epochs.seed, SHUFFLE, epochs.first, epochs.count]
    args = np.array(words, np.uint64)
    function(args.ctypes.data)
