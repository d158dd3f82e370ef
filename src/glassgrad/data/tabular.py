"""Tables from Python objects: a DataFrame of any library, or a dict of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data.arrow_columns import load_arrow, to_table
from glassgrad.data.checks import some
from glassgrad.data.frames import as_table
from glassgrad.data.table import Table


def to_tabular(data: Any, source_name: str | None = None) -> Table | None:
    """``data`` as a table if it is a DataFrame, a dict of columns (lists or arrays), or a table; else None.

    ``source_name`` is its name in messages. Raises InputError for columns of different lengths, for columns whose
    values are not single numbers, texts or times, and for DataFrames that ``as_table`` refuses.
    """
    if not isinstance(data, Mapping):
        return as_table(data) if source_name is None else as_table(data, source_name)
    source_name = "the dict of columns" if source_name is None else source_name
    pa = load_arrow()
    columns = []
    for name, values in data.items():
        try:
            items = values if isinstance(values, np.ndarray) else list(values)
            columns.append((str(name), pa.chunked_array([pa.array(items, from_pandas=True)])))
        except (TypeError, ValueError, OverflowError, pa.ArrowException):
            raise InputError(
                f"{source_name}: column {some([name])} is not a list with one number, text or time per row"
            ) from None
    rows = {len(column) for _, column in columns}
    if len(rows) > 1:
        lengths = ", ".join(f"{name!r} {len(column)}" for name, column in columns[:10])
        raise InputError(
            f"{source_name}: the columns have different lengths ({lengths}); give one value per row"
        )
    return to_table(source_name, columns, rows.pop() if rows else 0, None)
