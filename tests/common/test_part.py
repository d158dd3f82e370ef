"""Parts are frozen values that compare by class and fields."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass

import pytest

import glassgrad as gg
from glassgrad.common.part import Part
from glassgrad.common.process_setting import ProcessSetting
from glassgrad.init.initializers import initializer


@dataclass(frozen=True, eq=False)
class Pair(Part):
    a: int
    b: int = 0


@dataclass(frozen=True)
class Twin(Part):
    a: int
    b: int = 0


class Plain(Part):
    def __init__(self, a: int) -> None:
        self.a = a


def test_parts_of_one_class_with_equal_fields_are_equal() -> None:
    assert Pair(1) == Pair(1, 0)
    assert hash(Pair(1)) == hash(Pair(1, 0))
    assert Pair(1) != Pair(2)
    assert Pair(1) != Twin(1)
    assert len({Twin(1), Twin(1), Twin(2)}) == 2
    assert gg.nn.Dense(3, "relu") == gg.nn.Dense(3, "relu")
    assert gg.nn.Dense(3, "relu") != gg.nn.Dense(3, "tanh")


def test_a_part_that_is_not_a_dataclass_compares_by_identity() -> None:
    one, other = Plain(1), Plain(1)
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2


class Same(Pair):
    """A subclass without new fields."""

    kind = "same"


class Counting(Pair):
    """A subclass with its own ``__init__``."""

    def __init__(self, a: int) -> None:
        super().__init__(a)
        self.calls = 0


@pytest.mark.parametrize("name", ["a", "kind", "unknown"])
@pytest.mark.parametrize("value", [Pair(1), Same(1), gg.nn.Add(), gg.nn.Dense(3)])
def test_parts_are_frozen(value: Part, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, 5)
    with pytest.raises(FrozenInstanceError):
        delattr(value, name)


def test_a_class_constant_cannot_be_changed_through_an_instance() -> None:
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'scale'"):
        initializer("he_normal").scale = 5.0  # type: ignore[attr-defined]


def test_a_part_with_its_own_init_is_mutable() -> None:
    for part in (Counting(1), Plain(1)):
        part.calls = 3  # type: ignore[union-attr]
        assert part.calls == 3  # type: ignore[union-attr]
        del part.calls  # type: ignore[union-attr]
    with pytest.raises(FrozenInstanceError):
        Counting(1).a = 2  # type: ignore[misc]


def test_a_setting_is_reverted_when_the_last_block_ends() -> None:
    events: list[str] = []
    setting = ProcessSetting(lambda: events.append("apply"), lambda: events.append("revert"))
    setting.__enter__()
    setting.__enter__()
    setting.__exit__()
    assert events == ["apply"]
    setting.__exit__()
    assert events == ["apply", "revert"]
