"""What Python programs hold a table in: a DataFrame of any library, or a dict of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data.arrow_columns import load_arrow, to_table
from glassgrad.data.checks import some
from glassgrad.data.frames import as_table
from glassgrad.data.table import Table


def to_tabular(data: Any, place: str | None = None) -> Table | None:
    """``data`` as a table where it is a DataFrame, a dict of columns (lists or arrays), or a table; else None.

    ``place`` is what messages call it. Raises InputError for columns of unequal length, or of things that are
    not one number, text or time a row, and for what ``as_table`` refuses.
    """
    if not isinstance(data, Mapping):
        return as_table(data) if place is None else as_table(data, place)
    place = "the dict of columns" if place is None else place
    pa = load_arrow()
    columns = []
    for name, values in data.items():
        try:
            items = values if isinstance(values, np.ndarray) else list(values)
            columns.append((str(name), pa.chunked_array([pa.array(items, from_pandas=True)])))
        except (TypeError, ValueError, OverflowError, pa.ArrowException):
            raise InputError(
                f"{place}: column {some([name])} is not a list of numbers, of texts or of times, one a row"
            ) from None
    rows = {len(column) for _, column in columns}
    if len(rows) > 1:
        lengths = ", ".join(f"{name!r} {len(column)}" for name, column in columns[:10])
        raise InputError(f"{place}: the columns are of unequal length ({lengths}); give one value a row")
    return to_table(place, columns, rows.pop() if rows else 0, None)
