"""Settings of the whole process that hold while any thread is at some work."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock


class Meanwhile:
    """``with`` it, a setting is made; the last thread to leave takes it back, whichever came first."""

    def __init__(self, make: Callable[[], None], take_back: Callable[[], None]) -> None:
        self._make, self._take_back = make, take_back
        self._lock = Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._make()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._take_back()
