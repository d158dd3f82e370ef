"""Lists on the command line: ``a,b``, and ``a:b:n`` for n values in a geometric sequence from a to b."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeVar

from glassgrad.common.errors import InputError, shown

T = TypeVar("T")
LIMIT = 10_000


def names(option: str, text: str) -> list[str]:
    """The distinct parts of a list such as ``relu,normal(0.1, seed=2)``.

    A comma inside brackets or quotes does not separate two parts. Raises InputError for an empty part.
    """
    parts, depth, quote, start = [], 0, "", 0
    for index, c in enumerate(f"{text},"):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c == "," and depth <= 0:
            parts.append(text[start:index].strip())
            start = index + 1
        else:
            depth += (c in "([{") - (c in ")]}")
    if start <= len(text):  # a bracket or quote that is never closed; the parser of the part reports it
        parts.append(text[start:].strip())
    return _distinct(option, text, parts)


def wholes(option: str, text: str) -> list[int]:
    """The whole numbers in a list such as ``32,64``. Raises InputError for anything else."""
    return _each(option, text, "whole numbers such as 32,64", _whole)


def rates(option: str, text: str) -> list[float]:
    """The distinct numbers in ``0.001,0.01``, or in ``1e-4:1:16`` (16 values from 1e-4 to 1 in equal ratios).

    Raises InputError for anything else, and for a number that is not above 0.
    """
    form = "numbers above 0 such as 0.01,0.1, or a range from:to:count such as 1e-4:1:16"
    ranges = _each(option, text, form, _range)
    return _distinct(option, text, [rate for rates_of_range in ranges for rate in rates_of_range])


def _range(text: str) -> list[float]:
    if ":" not in text:
        return [_above_zero(text)]
    first, last, count = text.split(":")
    low, high, n = _above_zero(first), _above_zero(last), _whole(count)
    if not 2 <= n <= LIMIT or low == high:
        raise ValueError
    ratio = math.log(high / low)
    # Rounded to ten digits: 0.001, not 0.0009999999999999998.
    between = [float(f"{low * math.exp(ratio * i / (n - 1)):.10g}") for i in range(1, n - 1)]
    return [low, *between, high]


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def _whole(text: str) -> int:
    if re.fullmatch(r"\d{1,18}", text.strip(), re.ASCII) is None:
        raise ValueError
    return int(text)


def _each(option: str, text: str, form: str, read: Callable[[str], T]) -> list[T]:
    """``read`` of each item of the list ``text``; ``form`` describes the list in the message of an InputError."""
    try:
        return [read(item) for item in text.split(",")]
    except (ValueError, OverflowError, ZeroDivisionError):
        raise InputError(f"--{option} must be {form}, not {shown(text)}") from None


def _distinct(option: str, text: str, items: list[T]) -> list[T]:
    if "" in items:
        raise InputError(f"--{option} {shown(text)} has an empty entry; remove it")
    return list(dict.fromkeys(items))
