"""A data set in memory: rows first, features and targets as they were given, checked as a whole."""

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
    """Features and targets, with a test part where the source brings its own.

    ``features`` is an array ``[rows, ...]`` with rank 2 or more (bool, integer or float, unscaled), or a table
    (without the target, which is called ``target`` if it has a name). ``targets`` has shape ``[rows]``
    (class labels, or one number per row) or ``[rows, n]`` (n numbers per row).
    ``test_features`` and ``test_targets`` are of the same kind, or both None. ``dropped`` rows of the source
    were left out because they have no target, and ``target_is_guessed`` where nobody named it.
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
    """The names of several targets, where they came from a table; else empty."""
    origin: Origin | None = field(default=None, init=False, repr=False)
    """Where it was read; None of arrays, and of what was made from another data set."""


def from_arrays(
    features: Any,
    targets: Any,
    *,
    name: str = "arrays",
    task: str = "auto",
    test_features: Any = None,
    test_targets: Any = None,
    place: str | None = None,
) -> Dataset:
    """A checked data set from ``features`` ``[rows, ...]`` and ``targets`` ``[rows]`` or ``[rows, n]``.

    Features may also be a DataFrame, or a dict of columns, of numbers, texts and times. One-dimensional features
    become one column. With ``task="auto"``, integer, bool and text targets mean classification and float targets
    mean regression; ``"classification"`` also takes whole floats as labels, ``"regression"`` also takes integers
    as quantities. ``place`` is what messages call the source (the name, unless given). Raises
    InputError for everything that ``validate`` refuses.
    """
    place = name if place is None else place
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    y = to_array(targets, place, "y")
    classification = task == "classification" or (task == "auto" and y.dtype.kind in LABEL_KINDS)
    convert = _labels if classification else _quantities
    dataset = Dataset(
        name=name,
        features=_columns(features, place, "X"),
        targets=convert(y, place, "y"),
        test_features=None if test_features is None else _columns(test_features, place, "test X"),
        test_targets=None
        if test_targets is None
        else convert(to_array(test_targets, place, "test y"), place, "test y"),
        classification=classification,
        target=_name_of(targets),
        target_names=_column_names(targets) if y.ndim == 2 else (),
    )
    validate(dataset, place)
    return dataset


def from_table(
    data: Any, target: str | None = None, *, name: str = "table", task: str = "auto", place: str | None = None
) -> Dataset:
    """A checked data set from a DataFrame or dict of columns, one of which, ``target``, is what is predicted.

    Without ``target`` that is the last column. With ``task="auto"``, text, true and false, and up to 20
    different whole numbers mean classification, other numbers regression. Rows without a target are left out.
    Raises InputError for a column that is not there, and for everything that ``validate`` refuses.
    """
    table = to_tabular(data, place)
    if table is None:
        raise InputError(f"a table is a DataFrame or a dict of columns, not {type(data).__name__}")
    chosen = table.names[-1] if target is None else target
    found, classification = training_targets(table, chosen, task)
    dataset = Dataset(
        name=name,
        features=found.features,
        targets=found.values,
        test_features=None,
        test_targets=None,
        classification=classification,
        target=chosen,
        target_is_guessed=target is None,
        dropped=found.dropped,
    )
    validate(dataset, table.place)
    return dataset


def validate(dataset: Dataset, place: str | None = None) -> None:
    """Raise InputError, one line that begins with ``place``, for the first thing wrong with ``dataset``.

    Refused are: zero rows or columns, wrong ranks and dtypes, row counts that differ, NaN and Inf (named by
    row and column), a single class, and a test part whose rows or classes do not fit the training part.
    """
    place = dataset.name if place is None else place
    X, y = dataset.features, dataset.targets
    _check_part(X, y, place, "", dataset.classification)
    if dataset.classification:
        classes = distinct(y).tolist()
        if len(classes) < 2:
            called = "y" if dataset.target is None else f"target {dataset.target!r}"
            raise InputError(
                f"{place}: {called} holds one class only, {classes[0]!r}; a classifier needs rows of two or more"
            )
    if dataset.test_features is None and dataset.test_targets is None:
        return
    if dataset.test_features is None or dataset.test_targets is None:
        raise InputError(f"{place}: a test part needs both features and targets; give both or neither")
    test_X, test_y = dataset.test_features, dataset.test_targets
    _check_part(test_X, test_y, place, "test ", dataset.classification)
    for label, train, test in (("X", X, test_X), ("y", y, test_y)):
        if isinstance(train, Table) != isinstance(test, Table):
            raise InputError(f"{place}: only one of {label} and test {label} is a table; give both as one")
        if not isinstance(train, Table) and train.shape[1:] != test.shape[1:]:
            raise InputError(
                f"{place}: one row of test {label} has shape {test.shape[1:]} but one row of {label} has "
                f"{train.shape[1:]}; make them equal"
            )
    if dataset.classification:
        known = set(classes)
        unseen = [label for label in np.unique(test_y).tolist() if label not in known]
        if unseen:
            raise InputError(
                f"{place}: test y holds classes that y has no row of: {some(unseen)}; remove those rows"
            )


def _check_part(X: Array | Table, y: Array, place: str, part: str, classification: bool) -> None:
    if not isinstance(X, Table):
        _check_features(X, place, part)
    if len(X) == 0:
        raise InputError(f"{place}: {part}X has no rows; give at least one")
    if isinstance(X, Table) and not X.columns:
        raise InputError(f"{place}: has no column beside the target; give one to learn from")
    if 0 in X.shape:
        raise InputError(f"{place}: {part}X has shape {X.shape}, so no columns; give at least one")
    if classification:
        if y.ndim != 1:
            raise InputError(
                f"{place}: {part}y has shape {y.shape} but class labels are one per row; give shape [rows]"
                ", or floats for several regression targets"
            )
        if y.dtype.kind not in LABEL_KINDS:
            raise InputError(f"{place}: {part}y has dtype {y.dtype}; class labels are integer, bool or text")
    else:
        if y.ndim not in (1, 2) or (y.ndim == 2 and y.shape[1] == 0):
            raise InputError(f"{place}: {part}y has shape {y.shape}; give [rows] or [rows, targets]")
        if y.dtype.kind != "f":
            raise InputError(f"{place}: {part}y has dtype {y.dtype}; regression targets are floats")
    if len(X) != len(y):
        raise InputError(
            f"{place}: {part}X has {len(X)} rows but {part}y has {len(y)}; they must have equally many"
        )
    if not isinstance(X, Table):
        check_finite(X, place, f"{part}X")
    check_finite(y, place, f"{part}y")


def _check_features(X: Array, place: str, part: str) -> None:
    if X.ndim < 2:
        raise InputError(f"{place}: {part}X has shape {X.shape}; give rows first, as [rows, columns]")
    if X.dtype.kind not in "biuf":
        raise InputError(f"{place}: {part}X has dtype {X.dtype}; features are numbers, so encode text first")


def _name_of(targets: Any) -> str | None:
    """The name of a Series."""
    name = getattr(targets, "name", None)
    return name if isinstance(name, str) else None


def _column_names(targets: Any) -> tuple[str, ...]:
    """The names of the columns of a DataFrame; none of an array, or where the names are not all different texts."""
    if isinstance(targets, np.ndarray):
        return ()
    try:
        table = to_tabular(targets)
    except InputError:
        return ()
    return () if table is None else tuple(table.names)


def _columns(values: Any, place: str, label: str) -> Array | Table:
    table = to_tabular(values, f"{place}: {label}")
    if table is not None:
        return table
    array = to_array(values, place, label)
    return array[:, np.newaxis] if array.ndim == 1 else array


def _labels(y: Array, place: str, label: str) -> Array:
    if y.dtype.kind != "f":
        return y
    check_finite(y, place, label)
    whole = (y == np.trunc(y)) & (np.abs(y) < 2.0**53)
    if not whole.all():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmin(whole)), y.shape))
        raise InputError(
            f"{place}: {label} has {y[index]} in {position(index)}, which is no class label; "
            "give whole numbers or text, or choose regression"
        )
    return y.astype(np.int64)


def _quantities(y: Array, place: str, label: str) -> Array:
    if y.dtype.kind == "U":
        raise InputError(f"{place}: {label} holds text, which cannot be regressed; choose classification")
    return y if y.dtype.kind == "f" else y.astype(np.float64)
