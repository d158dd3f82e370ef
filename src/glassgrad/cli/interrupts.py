"""Ctrl-C, and the signals that ask a process to end: the first one stops the work, the others change nothing.

What follows the first one is saving, or cleaning up; a second one must not leave half of that behind.
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
_asked = threading.Event()


@contextmanager
def interruptible() -> Iterator[None]:
    """In this block, the first of ``SIGNALS`` raises KeyboardInterrupt in the main thread.

    A signal that was ignored before (``nohup``, a job in the background) stays ignored.
    """
    _asked.clear()
    with _handled(_stop):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """In this block, ``SIGNALS`` do nothing."""
    with _handled(signal.SIG_IGN):
        yield


def check() -> None:
    """Raise KeyboardInterrupt if a signal came: a callback of some library may have lost the first one."""
    if _asked.is_set():
        raise KeyboardInterrupt


def _stop(number: int, frame: FrameType | None) -> None:
    if not _asked.is_set():
        _asked.set()
        raise KeyboardInterrupt


@contextmanager
def _handled(handler: signal._HANDLER) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change handlers, and only it is interrupted
        return
    before = {}
    for item in SIGNALS:
        if signal.getsignal(item) not in (signal.SIG_IGN, None):
            before[item] = signal.signal(item, handler)
    try:
        yield
    finally:
        for item, old in before.items():
            signal.signal(item, old)
