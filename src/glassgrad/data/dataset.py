"""A data set in memory: features and targets, rows first, validated together."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import numpy as np

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.common.frozen import frozen
from glassgrad.data.checks import LABEL_KINDS, Array, check_finite, distinct, position, some, to_array
from glassgrad.data.origin import Origin
from glassgrad.data.table import Table
from glassgrad.data.tabular import to_tabular
from glassgrad.data.targets import TASKS, training_targets


@frozen
class Dataset:
    """Features and targets, with a test part if the source has one.

    ``features`` is an array ``[rows, ...]`` of rank 2 or more (bool, integer or float, unscaled), or a table without
    the target column. ``targets`` has shape ``[rows]`` (class labels, or one number per row) or ``[rows, n]`` (n
    numbers per row). ``test_features`` and ``test_targets`` have the same form, or are both None. ``target`` is the
    name of the target, if it has one; ``target_is_guessed`` is True if the caller did not name it. ``dropped`` is the
    number of rows of the source that were left out because they have no target.
    """

    name: str
    features: Array | Table
    targets: Array
    test_features: Array | Table | None
    test_targets: Array | None
    classification: bool
    target: str | None = None
    target_is_guessed: bool = False
    dropped: int = 0
    target_names: tuple[str, ...] = ()
    """The names of several targets that came from a table; else empty."""
    origin: Origin | None = field(default=None, init=False, repr=False)
    """The source that it was read from; None for arrays, and for a data set derived from another one."""


def from_arrays(
    features: Any,
    targets: Any,
    *,
    name: str = "arrays",
    task: str = "auto",
    test_features: Any = None,
    test_targets: Any = None,
    source_name: str | None = None,
) -> Dataset:
    """A checked data set from ``features`` ``[rows, ...]`` and ``targets`` ``[rows]`` or ``[rows, n]``.

    Features may also be a DataFrame, or a dict of columns, of numbers, texts and times. One-dimensional features
    become one column. With ``task="auto"``, integer, bool and text targets mean classification and float targets
    mean regression; ``"classification"`` also accepts whole floats as labels, ``"regression"`` also accepts integers
    as quantities. ``source_name`` is the name of the source in messages (default: ``name``). Raises InputError for
    invalid data, see ``validate``.
    """
    source_name = name if source_name is None else source_name
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    y = to_array(targets, source_name, "y")
    classification = task == "classification" or (task == "auto" and y.dtype.kind in LABEL_KINDS)
    convert = _labels if classification else _quantities
    dataset = Dataset(
        name=name,
        features=_columns(features, source_name, "X"),
        targets=convert(y, source_name, "y"),
        test_features=None if test_features is None else _columns(test_features, source_name, "test X"),
        test_targets=None
        if test_targets is None
        else convert(to_array(test_targets, source_name, "test y"), source_name, "test y"),
        classification=classification,
        target=_name_of(targets),
        target_names=_column_names(targets) if y.ndim == 2 else (),
    )
    validate(dataset, source_name)
    return dataset


def from_table(
    data: Any,
    target: str | None = None,
    *,
    name: str = "table",
    task: str = "auto",
    source_name: str | None = None,
) -> Dataset:
    """A checked data set from a DataFrame or dict of columns. The column ``target`` is predicted from the others.

    The default of ``target`` is the last column. With ``task="auto"``, text, booleans and up to 20 distinct whole
    numbers mean classification, other numbers regression. Rows without a target are left out. Raises InputError for
    a missing column and for invalid data, see ``validate``.
    """
    table = to_tabular(data, source_name)
    if table is None:
        raise InputError(f"a table is a DataFrame or a dict of columns, not {type(data).__name__}")
    target_name = table.names[-1] if target is None else target
    targets, classification = training_targets(table, target_name, task)
    dataset = Dataset(
        name=name,
        features=targets.features,
        targets=targets.values,
        test_features=None,
        test_targets=None,
        classification=classification,
        target=target_name,
        target_is_guessed=target is None,
        dropped=targets.dropped,
    )
    validate(dataset, table.source_name)
    return dataset


def validate(dataset: Dataset, source_name: str | None = None) -> None:
    """Raise InputError for the first fault of ``dataset``. The message is one line that begins with ``source_name``.

    Faults are: no rows or columns, wrong ranks and dtypes, different row counts, NaN and Inf (named by row and
    column), a single class, and a test part whose rows or classes do not match the training part.
    """
    source_name = dataset.name if source_name is None else source_name
    X, y = dataset.features, dataset.targets
    _check_part(X, y, source_name, "", dataset.classification)
    if dataset.classification:
        classes = distinct(y).tolist()
        if len(classes) < 2:
            label = "y" if dataset.target is None else f"target {dataset.target!r}"
            raise InputError(
                f"{source_name}: {label} has only one class, {classes[0]!r}; a classifier needs rows of at least two"
            )
    if dataset.test_features is None and dataset.test_targets is None:
        return
    if dataset.test_features is None or dataset.test_targets is None:
        raise InputError(f"{source_name}: a test part needs both features and targets; give both or neither")
    test_X, test_y = dataset.test_features, dataset.test_targets
    _check_part(test_X, test_y, source_name, "test ", dataset.classification)
    for label, train, test in (("X", X, test_X), ("y", y, test_y)):
        if isinstance(train, Table) != isinstance(test, Table):
            raise InputError(
                f"{source_name}: only one of {label} and test {label} is a table; give both as tables"
            )
        if not isinstance(train, Table) and train.shape[1:] != test.shape[1:]:
            raise InputError(
                f"{source_name}: one row of test {label} has shape {test.shape[1:]} but one row of {label} has "
                f"{train.shape[1:]}; give rows of the same shape"
            )
    if dataset.classification:
        unseen = [label for label in np.unique(test_y).tolist() if label not in set(classes)]
        if unseen:
            raise InputError(
                f"{source_name}: test y has classes that y does not have: {some(unseen)}; remove those rows"
            )


def _check_part(X: Array | Table, y: Array, source_name: str, part: str, classification: bool) -> None:
    if not isinstance(X, Table):
        _check_features(X, source_name, part)
    if len(X) == 0:
        raise InputError(f"{source_name}: {part}X has no rows; give at least one")
    if isinstance(X, Table) and not X.columns:
        raise InputError(f"{source_name}: has no column besides the target; give at least one to learn from")
    if 0 in X.shape:
        raise InputError(
            f"{source_name}: {part}X has shape {X.shape}, which has no columns; give at least one"
        )
    if classification:
        if y.ndim != 1:
            raise InputError(
                f"{source_name}: {part}y has shape {y.shape} but class labels are one per row; give shape [rows]"
                ", or floats for several regression targets"
            )
        if y.dtype.kind not in LABEL_KINDS:
            raise InputError(
                f"{source_name}: {part}y has dtype {y.dtype}; class labels are integer, bool or text"
            )
    else:
        if y.ndim not in (1, 2) or (y.ndim == 2 and y.shape[1] == 0):
            raise InputError(f"{source_name}: {part}y has shape {y.shape}; give [rows] or [rows, targets]")
        if y.dtype.kind != "f":
            raise InputError(f"{source_name}: {part}y has dtype {y.dtype}; regression targets are floats")
    if len(X) != len(y):
        raise InputError(
            f"{source_name}: {part}X has {len(X)} rows but {part}y has {len(y)}; give the same number of rows"
        )
    if not isinstance(X, Table):
        check_finite(X, source_name, f"{part}X")
    check_finite(y, source_name, f"{part}y")


def _check_features(X: Array, source_name: str, part: str) -> None:
    if X.ndim < 2:
        raise InputError(f"{source_name}: {part}X has shape {X.shape}; give rows first, as [rows, columns]")
    if X.dtype.kind not in "biuf":
        raise InputError(
            f"{source_name}: {part}X has dtype {X.dtype}; features are numbers, so encode text first"
        )


def _name_of(targets: Any) -> str | None:
    """The name of ``targets`` if it is a Series with a name; else None."""
    name = getattr(targets, "name", None)
    return name if isinstance(name, str) else None


def _column_names(targets: Any) -> tuple[str, ...]:
    """The names of the columns of a DataFrame; empty for an array, or if the names are not distinct texts."""
    if isinstance(targets, np.ndarray):
        return ()
    try:
        table = to_tabular(targets)
    except InputError:
        return ()
    return () if table is None else tuple(table.names)


def _columns(values: Any, source_name: str, label: str) -> Array | Table:
    table = to_tabular(values, f"{source_name}: {label}")
    if table is not None:
        return table
    array = to_array(values, source_name, label)
    return array[:, np.newaxis] if array.ndim == 1 else array


def _labels(y: Array, source_name: str, label: str) -> Array:
    if y.dtype.kind != "f":
        return y
    check_finite(y, source_name, label)
    whole = (y == np.trunc(y)) & (np.abs(y) < 2.0**53)
    if not whole.all():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmin(whole)), y.shape))
        raise InputError(
            f"{source_name}: {label} has {y[index]} in {position(index)}, which is not a class label; "
            "give whole numbers or text, or choose regression"
        )
    return y.astype(np.int64)


def _quantities(y: Array, source_name: str, label: str) -> Array:
    if y.dtype.kind == "U":
        raise InputError(
            f"{source_name}: {label} holds text, but a regression needs numbers; choose classification"
        )
    return y if y.dtype.kind == "f" else y.astype(np.float64)
