"""Lists on the command line: ``a,b``, and ``a:b:n`` for n values in equal ratios."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeVar

from glassgrad.common.errors import InputError, shown

T = TypeVar("T")
LIMIT = 10_000


def names(option: str, text: str) -> list[str]:
    """``relu,normal(0.1, seed=2)``: a comma inside of brackets or quotes separates nothing."""
    found, depth, quote, start = [], 0, "", 0
    for place, c in enumerate(f"{text},"):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c == "," and depth <= 0:
            found.append(text[start:place].strip())
            start = place + 1
        else:
            depth += (c in "([{") - (c in ")]}")
    if start <= len(text):  # a bracket or quote that is never closed: for the part to complain about
        found.append(text[start:].strip())
    return _distinct(option, text, found)


def wholes(option: str, text: str) -> list[int]:
    """``32,64``."""
    return _each(option, text, "whole numbers such as 32,64", _whole)


def rates(option: str, text: str) -> list[float]:
    """``0.001,0.01``, or ``1e-4:1:16`` for 16 values from 1e-4 to 1 in equal ratios; all above 0."""
    wanted = "numbers above 0 such as 0.01,0.1, or a range such as 1e-4:1:16 (from, to, how many)"
    found = _each(option, text, wanted, _range)
    return _distinct(option, text, [rate for part in found for rate in part])


def _range(text: str) -> list[float]:
    if ":" not in text:
        return [_above_zero(text)]
    first, last, count = text.split(":")
    low, high, n = _above_zero(first), _above_zero(last), _whole(count)
    if not 2 <= n <= LIMIT or low == high:
        raise ValueError
    ratio = math.log(high / low)
    # To ten digits: 0.001 is meant where 0.0009999999999999998 comes out.
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


def _each(option: str, text: str, wanted: str, read: Callable[[str], T]) -> list[T]:
    try:
        return [read(item) for item in text.split(",")]
    except (ValueError, OverflowError, ZeroDivisionError):
        raise InputError(f"--{option} takes {wanted}; not {shown(text)}") from None


def _distinct(option: str, text: str, found: list[T]) -> list[T]:
    if "" in found:
        raise InputError(f"--{option} {shown(text)} has an empty entry; take out a comma")
    return list(dict.fromkeys(found))
