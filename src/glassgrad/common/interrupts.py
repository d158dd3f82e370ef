"""Deferred signals: handlers run only at safe points.

Python runs a signal handler between any two instructions of the main thread. A handler that raises there, as that of
Ctrl-C does, may leave a lock held forever, a file half written, or an hour of work lost. In a ``deferred`` block a
signal is only recorded. ``poll`` then calls its handler at a safe point: between two calls of a compiled step, while
waiting for other threads, or between two measurements. Other threads need no deferral, because Python runs signal
handlers in the main thread only.
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

# Signals that ask a process, or part of its work, to end. Profilers use other signals and need them at once.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGXCPU")
SIGNALS = tuple(signal.Signals[name] for name in NAMES if name in signal.Signals.__members__)


class _State:
    """State of the main thread."""

    def __init__(self) -> None:
        self.handlers: dict[int, Any] = {}  # by signal: the handler that ``_record`` replaces
        self.pending: dict[int, None] = {}  # recorded signals in order of arrival, without duplicates
        self.depth = 0  # nesting depth of ``deferred`` blocks
        self.held = 0  # nesting depth of ``held`` blocks


_state = _State()


def deferred() -> Deferral:
    """A context manager that defers signals until ``poll``; its exit handles those that are still pending.

    Blocks may be nested: only the outermost one takes effect. The block has no effect outside the main thread, on
    ignored signals, on signals with the default action, and on handlers that were not installed from Python.
    """
    return Deferral()


class Deferral:
    """The context manager that ``deferred`` returns."""

    def __enter__(self) -> None:
        self._active = threading.current_thread() is threading.main_thread()
        if not self._active:
            return
        if _state.depth == 0:
            try:
                for number in SIGNALS:
                    _replace_handler(number)
            except ValueError:  # the main thread of a subinterpreter, which receives no signals
                self._active = False
                return
            except BaseException:  # a handler raised before all handlers were replaced
                _restore()
                raise
        _state.depth += 1

    def __exit__(self, *_: object) -> None:
        if not self._active or _state.depth == 0:
            return
        _state.depth -= 1
        if _state.depth == 0:
            # From here on ``_record`` calls the original handler at once, which may raise.
            try:
                _restore()
            finally:
                _deliver()


@contextmanager
def held() -> Iterator[None]:
    """A block inside ``deferred`` in which ``poll`` does nothing, for work that must not be interrupted."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    _state.held += in_main_thread
    try:
        yield
    finally:
        _state.held = max(_state.held - in_main_thread, 0)


def poll() -> None:
    """Call the handlers of pending signals in a ``deferred`` block. Raises what a handler raises."""
    if _state.pending and not _state.held and threading.current_thread() is threading.main_thread():
        _deliver()


def settle() -> bool:
    """Call the handlers of pending signals after the work is done, and suppress KeyboardInterrupt.

    Returns whether a handler raised KeyboardInterrupt. Raises any other exception of a handler.
    """
    interrupted = False
    while _state.pending and threading.current_thread() is threading.main_thread():
        try:
            _deliver()
        except KeyboardInterrupt:
            interrupted = True
    return interrupted


def _record(number: int, frame: FrameType | None) -> None:
    """The handler in a ``deferred`` block. If it is still installed after the block, it calls the original one."""
    if _state.depth:
        _state.pending[number] = None
    else:
        _call(number, frame)


def _deliver() -> None:
    while _state.pending:
        number = next(iter(_state.pending))
        del _state.pending[number]
        _call(number, sys._getframe(1))


def _call(number: int, frame: FrameType | None) -> None:
    handler = _state.handlers.get(number)
    if callable(handler):
        handler(number, frame)


def _replace_handler(number: int) -> None:
    handler = signal.getsignal(number)
    if callable(handler) and handler is not _record:
        _state.handlers[number] = handler
        signal.signal(number, _record)


def _restore() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is _record:  # keep a handler that the block itself has installed
            signal.signal(number, cast(Any, _state.handlers[number]))


def _reset() -> None:
    """Leave all blocks in a forked process, whose own work might never call ``poll``."""
    _state.depth = _state.held = 0
    _state.pending.clear()
    with suppress(ValueError):
        _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset)
