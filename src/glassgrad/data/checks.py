"""Checks of arrays for data sets and schemas."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError

Array = npt.NDArray[Any]

LABEL_KINDS = "biuU"
"""The NumPy dtype kinds that class labels have: bool, integers, text."""


def to_array(values: Any, source_name: str, label: str) -> Array:
    """``values`` as a NumPy array of bool, integers, floats or text.

    Raises InputError for ragged lists, arrays of Python objects, and other dtypes (complex, dates ...). The message
    names the array by ``source_name`` (its source) and ``label`` (its name in the source).
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
    except (ValueError, TypeError, OverflowError):
        raise InputError(
            f"{source_name}: {label} is not a regular array; give rows of equal length"
        ) from None
    if array.dtype.kind == "T":
        array = np.array(array.tolist(), dtype=str)
    if array.dtype.kind == "O" and array.size and set(map(type, array.ravel().tolist())) == {str}:
        array = array.astype(str)  # for example from a Series of text
    if array.dtype.kind == "O":
        raise InputError(f"{source_name}: {label} holds Python objects; convert it to numbers or text first")
    if array.dtype.kind not in LABEL_KINDS + "f":
        raise InputError(
            f"{source_name}: {label} has dtype {array.dtype}; give numbers, or text for class labels"
        )
    return array


def check_finite(array: Array, source_name: str, label: str) -> None:
    """Raise InputError, with row and column, for the first NaN or Inf in ``array``."""
    if array.dtype.kind != "f":
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    index = np.unravel_index(int(np.argmin(finite)), array.shape)
    kind = "NaN" if np.isnan(array[index]) else "Inf"
    raise InputError(
        f"{source_name}: {label} has {kind} in {position(tuple(int(i) for i in index))}; "
        "remove the row or fill in a number"
    )


def distinct(array: Array) -> Array:
    """The distinct elements of ``array``, sorted."""
    # Without return_counts, NumPy imports its masked arrays. The import takes longer than a short training.
    return np.unique(array, return_counts=True)[0]


def position(index: tuple[int, ...]) -> str:
    """``index`` in words: row and column for rank 2, the row and the index within the row for a higher rank."""
    row, *rest = index
    if not rest:
        return f"row {row} (rows count from 0)"
    where = f"column {rest[0]}" if len(rest) == 1 else f"index {tuple(rest)}"
    return f"row {row}, {where} (both count from 0)"


def some(labels: list[Any]) -> str:
    """Up to ten of ``labels`` as text for a message."""
    shown = ", ".join(repr(label)[:40] for label in labels[:10])
    return shown + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")
