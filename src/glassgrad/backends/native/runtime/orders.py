"""The row orders of epochs in the layout that ``run`` takes: drawn by NumPy at first, later by machine code."""

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

# Rows that NumPy draws before machine code takes over. Most processes find that code in the cache.
WORTH_CODE = 1 << 17


class Drawer:
    """Draws orders into memory of its own, and caches the last ones. For use by one thread at a time."""

    drawn = 0  # rows drawn in this process

    def __init__(self, compile_shuffle: Callable[[Machine], Code]) -> None:
        """``compile_shuffle`` compiles ``shuffle`` for a processor; it is called if the cache has no code."""
        self._compile_shuffle = compile_shuffle
        self._last: Epochs | None = None
        self._memory = np.empty(0, np.int32)
        self._valid_layout = 0, 0  # the numbers of rows per epoch and per batch that ``_valid`` was made for
        self._valid = np.empty((0, 0), bool)

    def draw(self, epochs: Epochs) -> tuple[Array, Array]:
        """The row numbers, int32 [steps, batch], 0 for padding; and the mask of valid rows, bool [steps, batch].

        Both are views that the next call overwrites.
        """
        steps_per_epoch, steps, batch = epochs.steps_per_epoch, epochs.steps, epochs.batch
        skipped = steps.start // steps_per_epoch
        count = -(-steps.stop // steps_per_epoch) - skipped
        whole_epochs = replace(epochs, first=epochs.first + skipped, count=count, begin=0, end=None)
        if whole_epochs != self._last:
            self._last = None
            self._allocate(whole_epochs)
            Drawer.drawn += count * epochs.rows
            if Drawer.drawn <= WORTH_CODE or not self._draw_by_machine(whole_epochs):
                np.maximum(np.asarray(whole_epochs), 0, out=self._memory[: len(whole_epochs)])
            self._last = whole_epochs
        part = slice(steps.start - skipped * steps_per_epoch, steps.stop - skipped * steps_per_epoch)
        return self._memory[: len(whole_epochs)].reshape(-1, batch)[part], self._valid[part]

    def _allocate(self, epochs: Epochs) -> None:
        """Make room for the order of ``epochs``, and set the mask of its valid rows."""
        if len(self._memory) < len(epochs) + ORDER_SLACK:
            self._memory = np.empty(len(epochs) + ORDER_SLACK, np.int32)
        layout = epochs.rows, epochs.batch
        if layout != self._valid_layout or len(self._valid) < epochs.count * epochs.steps_per_epoch:
            is_valid = np.arange(epochs.length) < epochs.rows
            self._valid_layout, self._valid = (
                layout,
                np.tile(is_valid.reshape(-1, epochs.batch), (epochs.count, 1)),
            )

    def _draw_by_machine(self, epochs: Epochs) -> bool:
        """Draw epochs ``epochs`` by machine code; returns whether that was possible."""
        with _compilation.lock:
            shuffle = _load_shuffle(self._compile_shuffle)
        if shuffle is not None:
            _draw(shuffle[1], epochs, self._memory)
        return shuffle is not None


class _CompilationLock:
    """A lock for compiling. A forked process gets a new lock, since the thread that held the old one is gone."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock = threading.Lock()


_compilation = _CompilationLock()


@cache
def _load_shuffle(compile_shuffle: Callable[[Machine], Code]) -> tuple[Library | Loaded, Any] | None:
    """The library with ``shuffle``, from the cache on disk or from LLVM, and the function itself.

    None if its orders differ from NumPy's: another version of NumPy may draw others.
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
        memory = np.empty(len(sample) + ORDER_SLACK, np.int32)
        _draw(function, sample, memory)
        if not np.array_equal(memory[: len(sample)], np.maximum(np.asarray(sample), 0)):
            return None
    return library, function


def _draw(function: Any, epochs: Epochs, memory: Array) -> None:
    """Draw whole epochs into ``memory``, each padded with 0."""
    words = [memory.ctypes.data, epochs.rows, epochs.length, epochs.seed, SHUFFLE, epochs.first, epochs.count]
    args = np.array(words, np.uint64)
    function(args.ctypes.data)
