"""Findings as plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.nn.network import Network


def plain(value: Any) -> Any:
    """``value`` as JSON has it: numbers of NumPy as Python's, arrays as lists, NaN and Inf as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Network):
        return _network(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def plain_object(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` as a JSON object."""
    return {key: plain(value) for key, value in values.items()}


def _network(network: Network) -> Any:
    try:
        return plain(network.to_document())
    except InputError:  # layers that are not registered
        return str(network)
