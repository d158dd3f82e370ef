"""Properties that are computed once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

T = TypeVar("T")


class cached_property(functools.cached_property[T]):
    """``functools.cached_property`` without its lock, which it has before Python 3.12.

    All objects of a class share that lock. A process that is forked off while another thread computes the property
    would wait for it for ever. Two threads may both compute the property, to the same value.
    """

    def __init__(self, func: Callable[[Any], T]) -> None:
        """``func`` computes the property of an object."""
        super().__init__(func)
        self.lock = nullcontext()
