"""Properties that are computed once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

T = TypeVar("T")


class cached_property(functools.cached_property[T]):
    """``functools.cached_property`` without the lock that it has before Python 3.12.

    All objects of a class share that lock. A process forked while another thread holds the lock would wait forever.
    Without the lock, two threads may both compute the property; they get the same value.
    """

    def __init__(self, func: Callable[[Any], T]) -> None:
        """Make a property whose value ``func`` computes from the object."""
        super().__init__(func)
        self.lock = nullcontext()
