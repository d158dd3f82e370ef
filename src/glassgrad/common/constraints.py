"""What a value may be, stated as data; and the one function that checks it.

A part (a layer, a loss, an optimizer ...) states a table of constraints, one per field. Each message has one form:
the field, what it must be, and what was given. A number of NumPy counts as Python's own; True and False are no
numbers; NaN and infinity are refused everywhere.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from glassgrad.common.errors import InputError, shown, unknown_name
from glassgrad.common.frozen import frozen


class Constraint(ABC):
    """What a value may be."""

    @abstractmethod
    def allows(self, value: Any) -> bool:
        """Whether ``value``, without NumPy's types, is allowed."""

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What an allowed value is, in words that follow "must be"."""

    def refusal(self, name: str, value: Any) -> InputError:
        """The error for a ``value`` of ``name`` that is not allowed."""
        return InputError(f"{name} must be {self.wanted}, not {shown(value)}")


@frozen
class Real(Constraint):
    """A finite number, int or float, within bounds: ``minimum`` and ``maximum`` belong to them, the others do not."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is a finite number within the bounds."""
        # Compared and not converted: a whole number may be too large for a float.
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
    def wanted(self) -> str:
        """For example "a number of at least 0 and below 1"."""
        if self.minimum is not None and self.maximum is not None:
            return f"a number from {_plain(self.minimum)} to {_plain(self.maximum)}"
        bounds = (
            ("of at least", self.minimum),
            ("above", self.above),
            ("of at most", self.maximum),
            ("below", self.below),
        )
        said = " and ".join(f"{word} {_plain(bound)}" for word, bound in bounds if bound is not None)
        return f"a number {said}" if said else "a finite number"


@frozen
class Whole(Constraint):
    """A whole number from ``minimum`` to ``maximum``, an int."""

    minimum: int
    maximum: int

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is an int within the bounds."""
        return (
            isinstance(value, int) and not isinstance(value, bool) and self.minimum <= value <= self.maximum
        )

    @property
    def wanted(self) -> str:
        """For example "a whole number from 1 to 100"."""
        return f"a whole number from {self.minimum} to {self.maximum}"


LONGEST_NAME = 80

COUNT = Whole(1, 2**31 - 1)
"""A number of things of which there must be one: units, rows, epochs."""

SHARE = Real(minimum=0, below=1)
"""A share that leaves something over."""


@frozen
class Flag(Constraint):
    """True or False."""

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is a bool."""
        return isinstance(value, bool)

    @property
    def wanted(self) -> str:
        """The two values."""
        return "True or False"


@frozen
class Choice(Constraint):
    """One of some names."""

    names: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is one of the names."""
        return isinstance(value, str) and value in self.names

    @property
    def wanted(self) -> str:
        """The names."""
        return f"one of {', '.join(self.names)}"

    def refusal(self, name: str, value: Any) -> InputError:
        """For a text, the error of an unknown name, which suggests the nearest."""
        if not isinstance(value, str) or len(value) > LONGEST_NAME:
            return super().refusal(name, value)
        return unknown_name(name, value, self.names)


@frozen
class Optional(Constraint):
    """What ``constraint`` allows, or None."""

    constraint: Constraint

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is None or allowed."""
        return value is None or self.constraint.allows(value)

    @property
    def wanted(self) -> str:
        """What is wanted, or None."""
        return f"{self.constraint.wanted}, or None"


def check(name: str, value: Any, constraint: Constraint) -> Any:
    """``value``, of Python's own type, where ``constraint`` allows it.

    Raises InputError that says what ``name`` must be and what was given.
    """
    own = python_value(value)
    if not constraint.allows(own):
        raise constraint.refusal(name, value)
    return own


def check_fields(part: Any, constraints: Mapping[str, Constraint], label: str | None = None) -> None:
    """Check the fields of ``part`` that ``constraints`` names; numbers of NumPy become Python's own there.

    ``label`` says in messages whose fields they are. Raises InputError for the first that is not allowed.
    """
    for field, constraint in constraints.items():
        value = getattr(part, field)
        own = check(field if label is None else f"{label}: {field}", value, constraint)
        if own is not value:
            object.__setattr__(part, field, own)


def _plain(bound: float) -> str:
    """A bound, in digits where it is whole."""
    return f"{bound:d}" if isinstance(bound, int) else f"{bound:g}"


def python_value(value: Any) -> Any:
    """A scalar of NumPy as Python's own; anything else as it is."""
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value
