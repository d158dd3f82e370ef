"""Parts are values; what is no dataclass is itself only."""

from __future__ import annotations

from dataclasses import dataclass

import glassgrad as gg
from glassgrad.common.meanwhile import Meanwhile
from glassgrad.common.part import Part


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
    assert gg.Dense(3, "relu") == gg.Dense(3, "relu")
    assert gg.Dense(3, "relu") != gg.Dense(3, "tanh")


def test_a_part_that_is_no_dataclass_is_equal_to_itself_only() -> None:
    one, other = Plain(1), Plain(1)
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2


def test_a_setting_holds_until_the_last_one_leaves() -> None:
    told: list[str] = []
    setting = Meanwhile(lambda: told.append("made"), lambda: told.append("taken back"))
    setting.__enter__()
    setting.__enter__()
    setting.__exit__()
    assert told == ["made"]
    setting.__exit__()
    assert told == ["made", "taken back"]
