"""Durations as people write them."""

from __future__ import annotations

import re

from glassgrad.common.errors import InputError, shown

UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
"""Seconds by unit."""


def seconds_of(text: str | float, name: str = "budget") -> float:
    """``30s``, ``2min``, ``500ms`` or a plain number, in seconds.

    Raises InputError, which calls the duration ``name``, for anything else and for a duration of 0.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*([a-z]*)\s*", str(text).lower())
    if match is None or match[2] not in UNITS or float(match[1]) * UNITS[match[2]] <= 0:
        raise InputError(f"{name} must be a time above 0 such as 30s or 2min, not {shown(text)}")
    return float(match[1]) * UNITS[match[2]]
