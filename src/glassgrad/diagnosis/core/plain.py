"""Measurements as plain JSON objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glassgrad.common.plain import plain


def plain_object(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` as a JSON object."""
    return {key: plain(value) for key, value in values.items()}
