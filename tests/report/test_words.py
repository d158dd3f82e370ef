"""Numbers and lists formatted for people."""

from __future__ import annotations

import math

import numpy as np
import pytest

from glassgrad.report.words import evenly, listed, number, percent, plural, seconds, short


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (1, "1"),
        (0.5, "0.5"),
        (-0.0123456, "−0.0123"),
        (0.0001, "0.0001"),
        (0.9999, "1"),
        (12.345, "12.3"),
        (999.9, "1,000"),
        (1234.5, "1,234"),
        (9_999_999, "9,999,999"),
        (3.21e-7, "3.21×10⁻⁷"),
        (1e-5, "10⁻⁵"),
        (-1e8, "−10⁸"),
        (math.nan, "–"),
        (None, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (np.float32(0.25), "0.25"),
        ("text", "text"),
    ],
)
def test_numbers(value: object, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0%"),
        (1, "100%"),
        (0.975, "97.5%"),
        (0.5, "50%"),
        (0.00001, "<0.1%"),
        (0.99999, ">99.9%"),
        (1.2, "120%"),
        (math.nan, "–"),
    ],
)
def test_shares(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_times() -> None:
    assert [seconds(t) for t in (0.00035, 0.012, 3.4, 125)] == ["350 µs", "12 ms", "3.4 s", "2 min 5 s"]


def test_lists_and_nouns() -> None:
    assert [listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert plural(1, "layer") == "1 layer"
    assert plural(1200, "layer") == "1,200 layers"
    assert plural(2, "class", "classes") == "2 classes"
    assert short("a  long\nname", 8) == "a long…"
    assert short("short") == "short"


@pytest.mark.parametrize(
    ("count", "shown"), [(0, []), (1, [0]), (3, [0, 1, 2]), (5, [0, 2, 4]), (100, [0, 50, 99])]
)
def test_evenly_spaced_items(count: int, shown: list[int]) -> None:
    assert evenly(range(count), 3) == shown
