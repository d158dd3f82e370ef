"""Process-wide settings that are in effect while at least one thread needs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Condition, Lock, get_ident


class ProcessSetting:
    """A context manager: the first thread to enter applies the setting, and the last one to leave reverts it.

    A forked process has only the thread that forked. The setting is reverted there unless that thread needs it. With
    ``alone``, a fork waits until the other threads have left. Use it for work that holds locks, which nothing would
    release in the forked process.
    """

    def __init__(self, apply: Callable[[], None], revert: Callable[[], None], *, alone: bool = False) -> None:
        """Call ``apply`` to put the setting into effect and ``revert`` to undo it."""
        self._apply, self._revert = apply, revert
        self._changed = Condition(Lock())
        self._inside: list[int] = []  # identifiers of the threads in the block, once per entry
        if hasattr(os, "register_at_fork"):
            if alone:
                os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork)
            os.register_at_fork(after_in_child=self._in_child)

    def __enter__(self) -> None:
        with self._changed:
            if not self._inside:
                self._apply()
            self._inside.append(get_ident())

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside.remove(get_ident())
            if not self._inside:
                self._revert()
            self._changed.notify_all()

    def _before_fork(self) -> None:
        self._changed.acquire()
        while set(self._inside) - {get_ident()}:
            self._changed.wait()

    def _after_fork(self) -> None:
        self._changed.release()

    def _in_child(self) -> None:
        self._changed = Condition(Lock())  # another thread may hold the lock of the old one
        was_applied = bool(self._inside)
        self._inside = [thread for thread in self._inside if thread == get_ident()]
        if was_applied and not self._inside:
            self._revert()
