"""Constraints on values, stated as data, and the function that checks them.

A part (a layer, a loss, an optimizer ...) has a table of constraints, one per field. Every message names the field,
the allowed values and the rejected value. A NumPy scalar counts as the Python scalar. True and False do not count as
numbers. NaN and infinity are always rejected.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from glassgrad.common.errors import InputError, shown, unknown_name
from glassgrad.common.frozen import frozen


class Constraint(ABC):
    """A set of allowed values."""

    @abstractmethod
    def allows(self, value: Any) -> bool:
        """Whether ``value``, which is not of a NumPy type, is allowed."""

    @property
    @abstractmethod
    def requirement(self) -> str:
        """The allowed values, in words that follow "must be"."""

    def refusal(self, name: str, value: Any) -> InputError:
        """The error for a ``value`` of ``name`` that is not allowed."""
        return InputError(f"{name} must be {self.requirement}, not {shown(value)}")


@frozen
class Real(Constraint):
    """A finite int or float. ``minimum`` and ``maximum`` are inclusive bounds, ``above`` and ``below`` exclusive."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is a finite number within the bounds."""
        # Compare without converting: an int may be too large for a float.
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and -sys.float_info.max <= value <= sys.float_info.max
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    @property
    def requirement(self) -> str:
        """For example "a number of at least 0 and below 1"."""
        if self.minimum is not None and self.maximum is not None:
            return f"a number from {_format(self.minimum)} to {_format(self.maximum)}"
        bounds = (
            ("of at least", self.minimum),
            ("above", self.above),
            ("of at most", self.maximum),
            ("below", self.below),
        )
        limits = " and ".join(f"{word} {_format(bound)}" for word, bound in bounds if bound is not None)
        return f"a number {limits}" if limits else "a finite number"


@frozen
class Whole(Constraint):
    """An int from ``minimum`` to ``maximum``, both inclusive."""

    minimum: int
    maximum: int

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is an int within the bounds."""
        return (
            isinstance(value, int) and not isinstance(value, bool) and self.minimum <= value <= self.maximum
        )

    @property
    def requirement(self) -> str:
        """For example "a whole number from 1 to 100"."""
        return f"a whole number from {self.minimum} to {self.maximum}"


LONGEST_NAME = 80
"""Characters of the longest text that gets a suggestion of a similar name."""

COUNT = Whole(1, 2**31 - 1)
"""A positive count: units, rows, epochs."""

SHARE = Real(minimum=0, below=1)
"""A fraction that may be 0 but not 1."""


@frozen
class Flag(Constraint):
    """True or False."""

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is a bool."""
        return isinstance(value, bool)

    @property
    def requirement(self) -> str:
        """The two values."""
        return "True or False"


@frozen
class Choice(Constraint):
    """One of the texts ``names``."""

    names: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is one of the names."""
        return isinstance(value, str) and value in self.names

    @property
    def requirement(self) -> str:
        """The names."""
        return f"one of {', '.join(self.names)}"

    def refusal(self, name: str, value: Any) -> InputError:
        """For a short text, the error for an unknown name, which suggests the most similar one."""
        if not isinstance(value, str) or len(value) > LONGEST_NAME:
            return super().refusal(name, value)
        return unknown_name(name, value, self.names)


@frozen
class Optional(Constraint):
    """A value that ``constraint`` allows, or None."""

    constraint: Constraint

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is None or ``constraint`` allows it."""
        return value is None or self.constraint.allows(value)

    @property
    def requirement(self) -> str:
        """The requirement of ``constraint``, or None."""
        return f"{self.constraint.requirement}, or None"


def check(name: str, value: Any, constraint: Constraint) -> Any:
    """``value`` with a NumPy scalar converted to a Python scalar.

    Raises InputError, which names ``name``, the allowed values and ``value``, if ``constraint`` does not allow it.
    """
    converted = python_value(value)
    if not constraint.allows(converted):
        raise constraint.refusal(name, value)
    return converted


def check_fields(part: Any, constraints: Mapping[str, Constraint], label: str | None = None) -> None:
    """Check the fields of ``part`` that ``constraints`` names, and convert NumPy scalars in them to Python scalars.

    ``label`` names the part in messages. Raises InputError for the first field whose value is not allowed.
    """
    for field, constraint in constraints.items():
        value = getattr(part, field)
        converted = check(field if label is None else f"{label}: {field}", value, constraint)
        if converted is not value:
            object.__setattr__(part, field, converted)


def _format(bound: float) -> str:
    """``bound`` as text: an int in full, a float in short form."""
    return f"{bound:d}" if isinstance(bound, int) else f"{bound:g}"


def python_value(value: Any) -> Any:
    """A NumPy scalar as a Python scalar; any other value unchanged."""
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value
