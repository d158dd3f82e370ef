"""Settings of the whole process that hold while any thread is at some work."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Condition, Lock, get_ident


class Meanwhile:
    """``with`` it, a setting is made; the last thread to leave takes it back, whichever came first.

    A process that is forked off has only the thread that forked: the setting is taken back there, unless that thread
    needs it. With ``alone`` a fork waits until the other threads have left, for work that takes locks which nobody
    would release in the new process.
    """

    def __init__(
        self, make: Callable[[], None], take_back: Callable[[], None], *, alone: bool = False
    ) -> None:
        self._make, self._take_back = make, take_back
        self._changed = Condition(Lock())
        self._inside: list[int] = []  # threads
        if hasattr(os, "register_at_fork"):
            if alone:
                os.register_at_fork(before=self._wait, after_in_parent=self._go_on)
            os.register_at_fork(after_in_child=self._forked)

    def __enter__(self) -> None:
        with self._changed:
            if not self._inside:
                self._make()
            self._inside.append(get_ident())

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside.remove(get_ident())
            if not self._inside:
                self._take_back()
            self._changed.notify_all()

    def _wait(self) -> None:
        self._changed.acquire()
        while set(self._inside) - {get_ident()}:
            self._changed.wait()

    def _go_on(self) -> None:
        self._changed.release()

    def _forked(self) -> None:
        self._changed = Condition(Lock())  # another thread may have held the old one
        was_made = bool(self._inside)
        self._inside = [thread for thread in self._inside if thread == get_ident()]
        if was_made and not self._inside:
            self._take_back()
