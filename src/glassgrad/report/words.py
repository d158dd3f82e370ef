"""Numbers and lists as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

MOST = 12
"""So many layers, neurons or the like have a place in one picture."""

T = TypeVar("T")

_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_MINUS = "\N{MINUS SIGN}"


def number(value: Any, digits: int = 3) -> str:
    """``value`` with ``digits`` significant digits: 0.0123, 1,234, 3.2×10⁻⁷; a dash for None and NaN."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    value = float(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    size = abs(value)
    if size == 0:
        text = "0"
    elif size >= 1e7 or size < 1e-4:
        mantissa, _, exponent = f"{size:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        power = f"10{str(int(exponent)).translate(_RAISED)}"
        text = power if mantissa == "1" else f"{mantissa}×{power}"
    elif size >= 10 ** (digits - 1):
        text = f"{size:,.0f}"
    else:
        text = f"{size:.{max(digits - 1 - math.floor(math.log10(size)), 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{_MINUS}{text}" if value < 0 else text


def percent(share: float, digits: int = 1) -> str:
    """``share`` (1 is all) in percent: 97.5%; never 0% or 100% for what is not."""
    value = 100.0 * float(share)
    if not math.isfinite(value):
        return "–"
    smallest = 10.0**-digits
    if 0 < value < smallest / 2:
        return f"<{smallest:g}%"
    if 100 - smallest / 2 < value < 100:
        return f">{100 - smallest:g}%"
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


def seconds(value: float) -> str:
    """A time: 350 µs, 12 ms, 3.4 s, 2 min 5 s."""
    if value < 1e-3:
        return f"{number(value * 1e6)} µs"
    if value < 1:
        return f"{number(value * 1e3)} ms"
    if value < 120:
        return f"{number(value)} s"
    return f"{int(value // 60)} min {round(value % 60)} s"


def plural(count: int, noun: str, several: str | None = None) -> str:
    """``1 layer``, ``1,200 layers``."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def listed(items: Sequence[object], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    texts = [str(item) for item in items]
    return f"{', '.join(texts[:-1])} {last} {texts[-1]}" if len(texts) > 1 else "".join(texts)


def evenly(items: Sequence[T], most: int = MOST) -> list[T]:
    """``items``; of more than ``most`` evenly spaced ones, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def short(text: object, length: int = 24) -> str:
    """``text`` on one line, cut to ``length`` characters with an ellipsis where it is longer."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
