"""The seconds that a diagnosis may take, and what there was no time for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Clock:
    """Counts down. A part of the work may be given a limit of its own; limits nest."""

    def __init__(self, budget: float, now: Callable[[], float] = time.perf_counter) -> None:
        """``budget`` in seconds; ``now`` is a clock in seconds."""
        self.budget = budget
        self._now = now
        self._start = now()
        self._ends = [self._start + budget]
        self.left_out: list[str] = []

    def spent(self) -> float:
        """Seconds since the start."""
        return self._now() - self._start

    def left(self) -> float:
        """Seconds until the nearest limit; never below 0."""
        return max(min(self._ends) - self._now(), 0.0)

    def allows(self, seconds: float, what: str | None = None) -> bool:
        """Whether so many seconds are left; if not, ``what`` is noted as left out."""
        fits = seconds <= self.left()
        if not fits and what is not None:
            self.left_out.append(what)
        return fits

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """In this block at most ``seconds`` are left."""
        self._ends.append(self._now() + seconds)
        try:
            yield
        finally:
            self._ends.pop()

    @contextmanager
    def collecting(self) -> Iterator[list[str]]:
        """What is left out in this block; it is noted nowhere else."""
        outer, self.left_out = self.left_out, []
        try:
            yield self.left_out
        finally:
            self.left_out = outer
