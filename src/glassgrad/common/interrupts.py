"""Signals that wait for a good moment.

Python runs the handler of a signal between any two instructions of the main thread. A handler that raises there, as
that of Ctrl-C does, may leave a lock taken for ever, a file half written, or the result of an hour thrown away. In a
block of ``deferred`` a signal is only noted, and ``poll`` calls its handler, where the work can be left: between two
calls of a compiled step, while waiting for other threads, between two measurements. In other threads nothing has to
wait, because Python runs no handler there.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, cast

# Those that ask a process, or a piece of its work, to end. Profilers use others, and want them at once.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGXCPU")
SIGNALS = tuple(signal.Signals[name] for name in NAMES if name in signal.Signals.__members__)


class _State:
    """Of the main thread."""

    def __init__(self) -> None:
        self.handlers: dict[int, Any] = {}  # by signal, what ``_note`` stands in for
        self.waiting: dict[int, None] = {}  # signals in the order in which they came; twice the same is once
        self.depth = 0  # blocks of ``deferred``
        self.held = 0  # blocks of ``held``


_state = _State()


def deferred() -> Deferral:
    """A block in which signals wait for ``poll``; those that still wait at its end are handled there.

    Blocks may be nested: the outermost one counts. It has no effect in a thread other than the main one, on signals
    that are ignored or end the process, and on handlers that are not Python's.
    """
    return Deferral()


class Deferral:
    """What ``deferred`` gives."""

    def __enter__(self) -> None:
        self._counts = threading.current_thread() is threading.main_thread()
        if not self._counts:
            return
        if _state.depth == 0:
            try:
                for number in SIGNALS:
                    _stand_in(number)
            except ValueError:  # the main thread of another interpreter: it gets no signals
                self._counts = False
                return
            except BaseException:  # a handler raised before all were replaced
                _restore()
                raise
        _state.depth += 1

    def __exit__(self, *_: object) -> None:
        if not self._counts or _state.depth == 0:
            return
        _state.depth -= 1
        if _state.depth == 0:
            # From here on ``_note`` passes a signal on, and may raise.
            try:
                _restore()
            finally:
                _deliver()


@contextmanager
def held() -> Iterator[None]:
    """A block, inside of ``deferred``, in which ``poll`` does nothing: what is at work must not be left now."""
    counts = threading.current_thread() is threading.main_thread()
    _state.held += counts
    try:
        yield
    finally:
        _state.held = max(_state.held - counts, 0)


def poll() -> None:
    """Handle the signals that wait, in a block of ``deferred``: what their handlers raise comes out of here."""
    if _state.waiting and not _state.held and threading.current_thread() is threading.main_thread():
        _deliver()


def settle() -> bool:
    """The same, but without KeyboardInterrupt, for work that is done; whether there would have been one."""
    interrupted = False
    while _state.waiting and threading.current_thread() is threading.main_thread():
        try:
            _deliver()
        except KeyboardInterrupt:
            interrupted = True
    return interrupted


def _note(number: int, frame: FrameType | None) -> None:
    """The handler inside of the block. Outside it stands for the one before, should it still be in its place."""
    if _state.depth:
        _state.waiting[number] = None
    else:
        _call(number, frame)


def _deliver() -> None:
    while _state.waiting:
        number = next(iter(_state.waiting))
        del _state.waiting[number]
        _call(number, sys._getframe(1))


def _call(number: int, frame: FrameType | None) -> None:
    handler = _state.handlers.get(number)
    if callable(handler):
        handler(number, frame)


def _stand_in(number: int) -> None:
    handler = signal.getsignal(number)
    if callable(handler) and handler is not _note:
        _state.handlers[number] = handler
        signal.signal(number, _note)


def _restore() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is _note:  # not where the block itself has put another one
            signal.signal(number, cast(Any, _state.handlers[number]))


def _leave_all() -> None:
    """In a process that was forked off, which begins something of its own: nobody there might ever poll."""
    _state.depth = _state.held = 0
    _state.waiting.clear()
    with suppress(ValueError):
        _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
