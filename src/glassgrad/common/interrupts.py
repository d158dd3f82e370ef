"""Signals that wait for a good moment.

Python runs the handler of a signal between any two instructions of the main thread. A handler that raises there, as
that of Ctrl-C does, may leave a lock taken for ever, a file half written, or the result of an hour thrown away. In a
block of ``deferred`` a signal is only noted, and ``poll`` calls its handler, where the work can be left: between two
calls of a compiled step, while waiting for other threads, between two measurements. In other threads nothing has to
wait, because Python runs no handler there.
"""

from __future__ import annotations

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

_handlers: dict[int, Any] = {}  # by signal, what ``_note`` stands in for
_waiting: dict[int, None] = {}  # signals in the order in which they came; twice the same is once
_depth = 0  # blocks of ``deferred`` that the main thread is in
_held = 0  # blocks of ``held``


def deferred() -> Deferral:
    """A block in which signals wait for ``poll``; those that still wait at its end are handled there.

    Blocks may be nested: the outermost one counts. It has no effect in a thread other than the main one, on signals
    that are ignored or end the process, and on handlers that are not Python's.
    """
    return Deferral()


class Deferral:
    """What ``deferred`` gives."""

    def __enter__(self) -> None:
        global _depth
        self._counts = threading.current_thread() is threading.main_thread()
        if not self._counts:
            return
        if _depth == 0:
            try:
                for number in SIGNALS:
                    _stand_in(number)
            except ValueError:  # the main thread of another interpreter: it gets no signals
                self._counts = False
                return
            except BaseException:  # a handler raised before all were replaced
                _restore()
                raise
        _depth += 1

    def __exit__(self, *_: object) -> None:
        global _depth
        if not self._counts:
            return
        _depth -= 1
        if _depth == 0:
            # From here on ``_note`` passes a signal on, so that an exception in between loses none.
            _restore()
            _deliver()


@contextmanager
def held() -> Iterator[None]:
    """A block, inside of ``deferred``, in which ``poll`` does nothing: what is at work must not be left now."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1


def poll() -> None:
    """Handle the signals that wait, in a block of ``deferred``: what their handlers raise comes out of here."""
    if _waiting and not _held and threading.current_thread() is threading.main_thread():
        _deliver()


def settle() -> None:
    """The same, but without KeyboardInterrupt: a second Ctrl-C does not undo what the first one led to."""
    while _waiting and threading.current_thread() is threading.main_thread():
        with suppress(KeyboardInterrupt):
            _deliver()


def _note(number: int, frame: FrameType | None) -> None:
    """The handler inside of the block. Outside it stands for the one before, should it still be in its place."""
    if _depth:
        _waiting[number] = None
    else:
        _call(number, frame)


def _deliver() -> None:
    while _waiting:
        number = next(iter(_waiting))
        del _waiting[number]
        _call(number, sys._getframe(1))


def _call(number: int, frame: FrameType | None) -> None:
    handler = _handlers.get(number)
    if callable(handler):
        handler(number, frame)


def _stand_in(number: int) -> None:
    handler = signal.getsignal(number)
    if callable(handler) and handler is not _note:
        _handlers[number] = handler
        signal.signal(number, _note)


def _restore() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is _note:  # not where the block itself has put another one
            signal.signal(number, cast(Any, _handlers[number]))
