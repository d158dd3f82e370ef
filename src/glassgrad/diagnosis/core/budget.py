"""The time budget of a diagnosis, and the list of what was skipped for lack of time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from glassgrad.common.errors import InputError

UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0}


class Clock:
    """A countdown. Parts of the work can have their own limits; limits nest."""

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
        """Whether ``seconds`` are left; if not, record ``what`` as skipped."""
        fits = seconds <= self.left()
        if not fits and what is not None:
            self.left_out.append(what)
        return fits

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Context in which at most ``seconds`` are left."""
        self._ends.append(self._now() + seconds)
        try:
            yield
        finally:
            self._ends.pop()

    @contextmanager
    def collecting(self) -> Iterator[list[str]]:
        """Context that collects what is skipped inside it, instead of adding it to ``left_out``."""
        outer, self.left_out = self.left_out, []
        try:
            yield self.left_out
        finally:
            self.left_out = outer


def seconds_of(text: str | float) -> float:
    """``30s``, ``2min``, ``500ms`` or a plain number, in seconds; raises InputError for anything else."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*([a-z]*)\s*", str(text).lower())
    if match is None or match[2] not in UNITS or float(match[1]) * UNITS[match[2]] <= 0:
        raise InputError(f"budget must be a positive time such as 30s or 2min, not {text!r}")
    return float(match[1]) * UNITS[match[2]]
