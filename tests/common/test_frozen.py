"""``frozen`` classes behave like frozen dataclasses of the standard library."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgrad.common.frozen import frozen


class Working:
    """The base of both classes: one attribute computed at construction, and one computed on first use."""

    x: float
    y: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", abs(self.x) + abs(self.y))

    @cached_property
    def doubled(self) -> float:
        return 2 * self.x


@frozen
class Point(Working):
    """A class with all kinds of fields."""

    x: float
    y: float = 2.0
    near: list[int] = field(default_factory=list, repr=False)
    length: float = field(init=False)
    spare: str | None = field(default=None, init=False)
    own: list[int] = field(default_factory=list, init=False)
    kind: ClassVar[str] = "point"


@dataclass(frozen=True, eq=False)
class Standard(Working):
    """The same class as a dataclass of the standard library."""

    x: float
    y: float = 2.0
    near: list[int] = field(default_factory=list, repr=False)
    length: float = field(init=False)
    spare: str | None = field(default=None, init=False)
    own: list[int] = field(default_factory=list, init=False)
    kind: ClassVar[str] = "point"


@frozen
class Named(Point):
    """A subclass with one more field."""

    name: str = "somewhere"

    def __repr__(self) -> str:
        return f"<{self.name}>"


numbers = st.floats(allow_nan=False)


@given(x=numbers, y=numbers)
def test_it_behaves_like_a_standard_dataclass(x: float, y: float) -> None:
    ours, theirs = Point(x, y=y), Standard(x, y=y)
    assert vars(ours) == vars(theirs)
    assert repr(ours) == repr(theirs).replace("Standard", "Point")
    assert [item.name for item in fields(ours)] == [item.name for item in fields(theirs)]
    assert vars(replace(ours, x=3.0)) == vars(replace(theirs, x=3.0))
    assert ours != Point(x, y=y), "compared by identity"
    assert len({ours, Point(x, y=y)}) == 2


@pytest.mark.parametrize("name", ["x", "y", "near", "length", "spare", "own", "kind", "unknown"])
@pytest.mark.parametrize("kind", [Point, Standard, Named])
def test_no_attribute_can_be_set_or_deleted(kind: Callable[[float], Any], name: str) -> None:
    value = kind(1.0)
    before = dict(vars(value))
    with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr(value, name, 5.0)
    with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{name}'"):
        delattr(value, name)
    assert vars(value) == before


def test_cached_properties_are_cached() -> None:
    point = Point(4.0)
    assert point.doubled == 8.0
    assert vars(point)["doubled"] == 8.0


def test_a_subclass_inherits_fields_and_keeps_its_own_methods() -> None:
    value = Named(1.0, name="here")
    assert repr(value) == "<here>"
    assert (value.x, value.y, value.length) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    "through", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
)
def test_copies_are_frozen_too(through: Callable[[Any], Any]) -> None:
    duplicate = through(Point(1.0, near=[3]))
    assert vars(duplicate) == vars(Point(1.0, near=[3]))
    with pytest.raises(FrozenInstanceError):
        duplicate.x = 2.0


def test_invalid_arguments_raise_the_errors_of_a_standard_dataclass() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Point(1.0, z=2.0)  # type: ignore[call-arg]
