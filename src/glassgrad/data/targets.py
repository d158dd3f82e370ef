"""The target column of a table: its task (classification or regression), and its cells as labels or quantities."""

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
"""With the task "auto", up to this number of distinct whole numbers are class labels."""

Label = int | bool | str


@frozen
class Targets:
    """The rows of a table that have a target.

    ``features`` are the other columns, ``values`` the targets [rows], and ``dropped`` the number of rows that were
    left out because they have no target.
    """

    features: Table
    values: Array
    dropped: int


def training_targets(table: Table, name: str, task: str) -> tuple[Targets, bool]:
    """The target column ``name`` of ``table``, and whether the task is a classification.

    With ``task`` "auto", text, booleans and up to ``LABELS`` distinct whole numbers (fewer than rows) mean a
    classification, other numbers a regression. Labels are text, bool or int64, quantities float64. Rows without a
    target are left out. Raises InputError for an unknown column or task, a target that does not suit the task, and
    a column without any value.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    features, column, dropped = _present(table, table.column(name))
    if task == "auto":
        task = "classification" if _is_label(column) else "regression"
    convert = _labels if task == "classification" else _quantities
    return Targets(features, convert(column, features), dropped), task == "classification"


def known_targets(table: Table, name: str, classes: tuple[Label, ...] | None) -> Targets:
    """The target column ``name`` of ``table`` for a trained model with ``classes`` (None for a regression).

    Raises InputError if there is no such column, for a class that the model does not know, and if no row has a
    target.
    """
    if name not in table.names:
        raise InputError(
            f"{table.source_name}: has no column {name!r}, which is this model's target; add it, or use predict "
            "instead of evaluate"
        )
    features, column, dropped = _present(table, table.column(name))
    if classes is None:
        return Targets(features, _quantities(column, features), dropped)
    index = {str(label): number for number, label in enumerate(classes)}
    codes = cells.codes(column, index, -1)
    if (codes < 0).any():
        row = int(np.argmin(codes))
        raise InputError(
            f"{table.source_name}: target {name!r} has {cells.shown(column, row)} in {features.where(row)}, which "
            f"is not a class of this model; its classes are {some(list(classes))}"
        )
    return Targets(features, np.array(classes)[codes], dropped)


def _present(table: Table, column: Column) -> tuple[Table, Column, int]:
    """The other columns and the target, without the rows that have no target, and the number of those rows."""
    features = table.without(column.name)
    if not column.missing.any():
        return features, column, 0
    if column.missing.all():
        raise InputError(
            f"{table.source_name}: target {column.name!r} has no value in any row; choose another"
        )
    is_present = ~column.missing
    target = Column(column.name, column.values[is_present], column.missing[is_present])
    return features[is_present], target, int(column.missing.sum())


def _is_label(column: Column) -> bool:
    kind = column.values.dtype.kind
    if kind not in "if" or not cells.all_whole(column.values):
        return kind in "Ob"
    distinct = len(np.unique(column.values))
    return distinct <= LABELS and distinct < len(column.values)  # labels that never repeat are not classes


def _labels(column: Column, table: Table) -> Array:
    values = column.values
    if values.dtype.kind == "O":
        distinct = len(set(values.tolist()))
        if distinct > max(FEW, len(values) / 2):
            raise InputError(
                f"{table.source_name}: target {column.name!r} has {distinct} distinct texts in {len(values)} rows, "
                "too many for classes; choose another target"
            )
        return values.astype(str)
    _check_no_date(column, table)
    if values.dtype.kind != "f":
        return values
    if not cells.all_whole(values):
        row = int(np.argmin(values == np.trunc(values)))
        raise InputError(
            f"{table.source_name}: target {column.name!r} has {values[row]:g} in {table.where(row)}, which is not a "
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
                .removeprefix(f"{table.source_name}: column ")
                .removesuffix("; correct it, or leave the cell empty")
            )
            raise InputError(
                f"{table.source_name}: target {cell}; a regression needs numbers, so correct it or choose "
                "classification"
            ) from None
    return cells.numbers(column, table)


def _check_no_date(column: Column, table: Table) -> None:
    if column.values.dtype.kind == "M":
        raise InputError(
            f"{table.source_name}: target {column.name!r} holds dates, which cannot be predicted; choose another "
            "target"
        )
