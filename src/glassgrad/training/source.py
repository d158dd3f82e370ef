"""Turns the argument ``data`` of ``train`` and similar functions into a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glassgrad.common.errors import InputError
from glassgrad.data.dataset import Dataset, from_table
from glassgrad.data.sources import load_source
from glassgrad.data.tabular import to_tabular


def load(data: Any, *, target: str | None = None, task: str = "auto") -> Dataset:
    """The data set of ``data``: a ``Dataset``, a source by name or path, or a table. InputError for other types."""
    if isinstance(data, Dataset):
        if target is not None or task != "auto":
            raise InputError("a Dataset already has a target and a task; pass them to load_source instead")
        return data
    if isinstance(data, (str, Path)):
        return load_source(data, target=target, task=task)
    table = to_tabular(data)
    if table is None:
        raise InputError(
            f"data must be a source, a DataFrame or a Dataset, not {type(data).__name__}; use from_arrays(X, y)"
        )
    return from_table(table, target, task=task)
