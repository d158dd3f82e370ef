"""Ctrl-C and the signals that end a process: the first one stops the work, later ones are ignored.

After the first signal the process saves its results or cleans up. A second signal must not cut that short.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from glassgrad.common.interrupts import deferred, settle

__all__ = ["check", "deferred", "interruptible", "settle", "uninterrupted"]

SIGNALS = [
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
]
_signal_received = threading.Event()


@contextmanager
def interruptible() -> Iterator[None]:
    """In this block, the first signal in ``SIGNALS`` raises KeyboardInterrupt in the main thread.

    A signal that was ignored before (``nohup``, a background job) stays ignored.
    """
    _signal_received.clear()
    with _handled(_on_signal):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """In this block, the signals in ``SIGNALS`` are ignored."""
    with _handled(signal.SIG_IGN):
        yield


def check() -> None:
    """Raise KeyboardInterrupt if a signal has arrived.

    A library may have swallowed the first KeyboardInterrupt in one of its callbacks.
    """
    if _signal_received.is_set():
        raise KeyboardInterrupt


def _on_signal(number: int, frame: FrameType | None) -> None:
    if not _signal_received.is_set():
        _signal_received.set()
        raise KeyboardInterrupt


@contextmanager
def _handled(handler: signal._HANDLER) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change handlers, and only it is interrupted
        return
    previous_handlers = {}
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            previous_handlers[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in previous_handlers.items():
            signal.signal(number, previous)
