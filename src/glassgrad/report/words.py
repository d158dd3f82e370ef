"""Numbers and lists formatted for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

MOST = 12
"""The largest number of layers or neurons that one figure shows."""

T = TypeVar("T")

_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_MINUS = "\N{MINUS SIGN}"


def number(value: Any, digits: int = 3) -> str:
    """Format ``value`` with ``digits`` significant digits: 0.0123, 1,234, 3.2×10⁻⁷; a dash for None and NaN."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    value = float(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    magnitude = abs(value)
    if magnitude == 0:
        text = "0"
    elif magnitude >= 1e7 or magnitude < 1e-4:
        mantissa, _, exponent = f"{magnitude:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
        text = power if mantissa == "1" else f"{mantissa}×{power}"
    elif magnitude >= 10 ** (digits - 1):
        text = f"{magnitude:,.0f}"
    else:
        text = f"{magnitude:.{max(digits - 1 - math.floor(math.log10(magnitude)), 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{_MINUS}{text}" if value < 0 else text


def percent(share: float, digits: int = 1) -> str:
    """Format a fraction as a percentage: 0.975 is 97.5%. Only an exact 0 or 1 becomes 0% or 100%."""
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
    """Format a duration in seconds: 350 µs, 12 ms, 3.4 s, 2 min 5 s."""
    if value < 1e-3:
        return f"{number(value * 1e6)} µs"
    if value < 1:
        return f"{number(value * 1e3)} ms"
    if value < 120:
        return f"{number(value)} s"
    return f"{int(value // 60)} min {round(value % 60)} s"


def plural(count: int, noun: str, plural_noun: str | None = None) -> str:
    """A count with its noun: ``1 layer``, ``1,200 layers``. ``plural_noun`` is for irregular plurals."""
    return f"{count:,} {noun if count == 1 else plural_noun or noun + 's'}"


def listed(items: Sequence[object], last: str = "and") -> str:
    """Join ``items`` as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    texts = [str(item) for item in items]
    return f"{', '.join(texts[:-1])} {last} {texts[-1]}" if len(texts) > 1 else "".join(texts)


def evenly(items: Sequence[T], most: int = MOST) -> list[T]:
    """At most ``most`` evenly spaced ``items``, including the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def short(text: object, length: int = 24) -> str:
    """``text`` on one line. Text longer than ``length`` characters is cut and ends with an ellipsis."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
