"""The target column of a table: which it is, what task it asks for, and its cells as labels or quantities."""

from __future__ import annotations

import numpy as np

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.common.frozen import frozen
from glassgrad.data import cells
from glassgrad.data.checks import Array, some
from glassgrad.data.inference import FEW
from glassgrad.data.table import Column, Table

TASKS = ("auto", "classification", "regression")
LABELS = 20
"""Up to so many different whole numbers are class labels, unless the task is said to be a regression."""

Label = int | bool | str


@frozen
class Targets:
    """The rows of a table that have a target.

    ``features`` are the other columns, ``values`` the targets [rows], and ``dropped`` the number of rows left
    out because they have none.
    """

    features: Table
    values: Array
    dropped: int


def training_targets(table: Table, name: str, task: str) -> tuple[Targets, bool]:
    """The target column ``name`` of ``table``, and whether the task is a classification.

    With ``task`` "auto" that is so for text, true and false, and up to ``LABELS`` different whole numbers
    (fewer than there are rows).
    Labels are text, bool or int64, quantities float64. Rows without a target are left out. Raises InputError
    for an unknown column or task, a target that does not suit the task, and where no row has one.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    features, column, dropped = _present(table, table.column(name))
    if task == "auto":
        task = "classification" if _is_label(column) else "regression"
    convert = _labels if task == "classification" else _quantities
    return Targets(features, convert(column, features), dropped), task == "classification"


def known_targets(table: Table, name: str, classes: tuple[Label, ...] | None) -> Targets:
    """The target column ``name`` of ``table`` as a model with these ``classes`` (None: a regression) has it.

    Raises InputError where there is no such column, for a class that the model does not know, and where no row
    has a target.
    """
    if name not in table.names:
        raise InputError(
            f"{table.place}: has no column {name!r}, which is this model's target and what its predictions are "
            "compared with; add it, or only predict"
        )
    features, column, dropped = _present(table, table.column(name))
    if classes is None:
        return Targets(features, _quantities(column, features), dropped)
    index = {str(label): number for number, label in enumerate(classes)}
    coded = cells.codes(column, index, -1)
    if (coded < 0).any():
        row = int(np.argmin(coded))
        raise InputError(
            f"{table.place}: target {name!r} holds {cells.shown(column, row)} in {features.where(row)}, which "
            f"is no class of this model; it knows {some(list(classes))}"
        )
    return Targets(features, np.array(classes)[coded], dropped)


def _present(table: Table, column: Column) -> tuple[Table, Column, int]:
    """Without the rows that have no target: the other columns, the target, and the number of those rows."""
    features = table.without(column.name)
    if not column.missing.any():
        return features, column, 0
    if column.missing.all():
        raise InputError(f"{table.place}: target {column.name!r} has no value in any row; choose another")
    there = ~column.missing
    kept = Column(column.name, column.values[there], column.missing[there])
    return features[there], kept, int(column.missing.sum())


def _is_label(column: Column) -> bool:
    kind = column.values.dtype.kind
    if kind not in "if" or not cells.whole(column.values):
        return kind in "Ob"
    distinct = len(np.unique(column.values))
    return distinct <= LABELS and distinct < len(column.values)  # a class of its own for every row is none


def _labels(column: Column, table: Table) -> Array:
    values = column.values
    if values.dtype.kind == "O":
        distinct = len(set(values.tolist()))
        if distinct > max(FEW, len(values) / 2):
            raise InputError(
                f"{table.place}: target {column.name!r} holds {distinct} different texts in {len(values)} rows, "
                "too many to be classes; choose another target"
            )
        return values.astype(str)
    _check_no_date(column, table)
    if values.dtype.kind != "f":
        return values
    if not cells.whole(values):
        row = int(np.argmin(values == np.trunc(values)))
        raise InputError(
            f"{table.place}: target {column.name!r} holds {values[row]:g} in {table.where(row)}, which is no "
            "class label; give whole numbers or text, or choose regression"
        )
    return values.astype(np.int64)


def _quantities(column: Column, table: Table) -> Array:
    _check_no_date(column, table)
    if column.values.dtype.kind == "O":
        try:
            return cells.numbers(column, table)
        except InputError as error:
            cell = (
                str(error)
                .removeprefix(f"{table.place}: column ")
                .removesuffix("; correct it, or leave the cell empty")
            )
            raise InputError(
                f"{table.place}: target {cell}; a regression needs numbers, so correct it or choose classification"
            ) from None
    return cells.numbers(column, table)


def _check_no_date(column: Column, table: Table) -> None:
    if column.values.dtype.kind == "M":
        raise InputError(
            f"{table.place}: target {column.name!r} holds dates, which cannot be predicted; choose another target"
        )
