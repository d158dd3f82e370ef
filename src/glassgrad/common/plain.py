"""Values as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from glassgrad.common.errors import InputError


@runtime_checkable
class Documented(Protocol):
    """What describes itself as plain values: a network, settings, a schema."""

    def to_document(self) -> dict[str, Any]:
        """The description; raises InputError where a part has no name."""


def plain(value: Any, *, other: Callable[[Any], Any] = str, null_for_nan: bool = True) -> Any:
    """``value`` as JSON values: dictionaries with text keys, lists, text, numbers, booleans and None.

    NumPy's numbers and arrays become Python's; a set becomes a sorted list; what has a ``to_document`` is replaced by
    its document, or by its text where that raises InputError. JSON has no NaN and no infinity: they become None,
    unless ``null_for_nan`` is false. Anything else is given to ``other``.
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
            except InputError:  # a part that is not registered has no description
                return str(item)
        return other(item)

    return convert(value)
