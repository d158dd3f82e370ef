"""Conversion of values to the types of JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from glassgrad.common.errors import InputError


@runtime_checkable
class Documented(Protocol):
    """An object that can describe itself as JSON values: a network, settings, a schema."""

    def to_document(self) -> dict[str, Any]:
        """The description. Raises InputError if it contains a part that is not registered."""


def plain(value: Any, *, other: Callable[[Any], Any] = str, null_for_nan: bool = True) -> Any:
    """``value`` as JSON values: dictionaries with text keys, lists, text, numbers, booleans and None.

    NumPy scalars and arrays become Python numbers and lists. A set becomes a sorted list. An object with a
    ``to_document`` method becomes its document, or ``str`` of it if the method raises InputError. NaN and infinity,
    which JSON does not have, become None unless ``null_for_nan`` is false. ``other`` converts any other value.
    """

    def convert(item: Any) -> Any:
        if isinstance(item, np.ndarray):
            item = item.tolist()
        elif isinstance(item, np.generic):
            item = item.item()
        if item is None or isinstance(item, bool | int | str):
            return item
        if isinstance(item, float):
            return item if math.isfinite(item) or not null_for_nan else None
        if isinstance(item, Mapping):
            return {str(key): convert(entry) for key, entry in item.items()}
        if isinstance(item, list | tuple):
            return [convert(entry) for entry in item]
        if isinstance(item, set | frozenset):
            return [convert(entry) for entry in sorted(item, key=str)]
        if isinstance(item, Documented):
            try:
                return convert(item.to_document())
            except InputError:  # contains a part that is not registered
                return str(item)
        return other(item)

    return convert(value)
