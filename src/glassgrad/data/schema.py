"""What travels with a model: how features become its input, and its output becomes labels or quantities."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.common.frozen import frozen
from glassgrad.data.checks import Array, check_finite, distinct, position, some, to_array
from glassgrad.data.encoding import TableEncoding
from glassgrad.data.scaling import Floats, chunks, moments, scaled
from glassgrad.data.table import Table
from glassgrad.data.tabular import to_tabular
from glassgrad.data.targets import Label, Targets, known_targets

if TYPE_CHECKING:
    from glassgrad.data.encoding_parts import Odd

SCALINGS = ("standard", "none")
_KEYS = (
    "task",
    "feature_shape",
    "classes",
    "target_shape",
    "scaling",
    "feature_mean",
    "feature_scale",
    "target_mean",
    "target_scale",
)


@frozen
class Schema:
    """The preprocessing of one model, fitted on its training rows.

    ``task`` is "classification" or "regression". ``feature_shape`` and ``target_shape`` are per row.
    ``classes`` lists the labels in the order of the model's outputs, or is None for regression. ``scaling``
    is "standard" or "none". ``feature_mean`` and ``feature_scale`` are float64, shape ``[columns]`` for
    tables and ``[]`` otherwise; ``target_mean`` and ``target_scale`` are float64 ``[outputs]`` for regression
    and ``[0]`` for classification. A scaled value is ``(value - mean) / scale``. ``table`` is how a table's
    columns become the features; None where the features were arrays. ``target_names`` are those of several
    regression targets; empty where they have none.
    """

    task: str
    feature_shape: tuple[int, ...]
    classes: tuple[Label, ...] | None
    target_shape: tuple[int, ...]
    scaling: str
    feature_mean: Floats
    feature_scale: Floats
    target_mean: Floats
    target_scale: Floats
    table: TableEncoding | None = None
    target_names: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """The number of classes, or of regression targets per row."""
        return len(self.target_mean) if self.classes is None else len(self.classes)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the regression targets; their numbers from 0 where they have no names."""
        return self.target_names or tuple(map(str, range(len(self.target_mean))))

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the network's inputs, in C order: "age", "workclass=Private"; of arrays x[3], x[3, 7]."""
        if self.table is not None:
            return self.table.names
        places = itertools.product(*map(range, self.feature_shape))
        return tuple(f"x[{', '.join(map(str, place))}]" for place in places)

    @classmethod
    def fit(
        cls,
        features: Array | Table,
        targets: Array,
        classification: bool,
        scaling: str = "standard",
        standardize_targets: bool = True,
        target: str | None = None,
        target_names: tuple[str, ...] = (),
    ) -> Schema:
        """The schema of the training rows.

        ``features`` is an array ``[rows, ...]`` (rank 2 or more) or a table (see ``TableEncoding``), ``targets``
        has shape ``[rows]`` or ``[rows, n]``, and ``target`` is its name (``target_names`` those of n of them).

        With "standard" scaling an array of rank 2 gets a mean and a standard deviation per column. Features of
        higher rank, such as images, get one of each over everything: per pixel, a pixel that is rarely lit
        would be blown up. Constant columns get scale 1. ``standardize_targets`` does the same to regression
        targets; leave it off for counts under a Poisson loss. Raises InputError for an unknown scaling, no
        rows, or values too large for float64 arithmetic.
        """
        if scaling not in SCALINGS:
            raise unknown_name("scaling", scaling, SCALINGS)
        if len(features) == 0 or len(features) != len(targets):
            raise InputError(
                f"cannot fit on {len(features)} rows of X and {len(targets)} of y; give equally many"
            )
        table, mean, scale = None, np.zeros(()), np.ones(())
        if isinstance(features, Table):
            table = TableEncoding.fit(features, target, curves=scaling == "standard")
            if scaling == "standard":
                mean, scale = table.moments(features)
        elif scaling == "none":
            pass
        elif features.ndim == 2:
            mean, scale = moments(features, "X")
        else:
            mean, scale = (moment.reshape(()) for moment in moments(features.reshape(-1, 1), "X"))
        columns = _as_columns(targets)
        if classification:
            target_mean, target_scale = np.zeros(0), np.ones(0)
        elif standardize_targets:
            target_mean, target_scale = moments(columns, "y")
        else:
            target_mean, target_scale = np.zeros(columns.shape[1]), np.ones(columns.shape[1])
        return cls(
            task="classification" if classification else "regression",
            feature_shape=features.shape[1:] if table is None else (table.width,),
            classes=tuple(distinct(targets).tolist()) if classification else None,
            target_shape=targets.shape[1:],
            scaling=scaling,
            feature_mean=mean,
            feature_scale=scale,
            target_mean=target_mean,
            target_scale=target_scale,
            table=table,
            target_names=() if classification else target_names,
        )

    def transform_features(self, features: Any, dtype: npt.DTypeLike, place: str = "features") -> Array:
        """Scaled ``features`` ``[rows, *feature_shape]``, C-contiguous, in the float ``dtype``.

        The first of what ``take_features`` gives.
        """
        return self.take_features(features, dtype, place)[0]

    def take_features(
        self, features: Any, dtype: npt.DTypeLike, place: str = "features", *, strict: bool = False
    ) -> tuple[Array, tuple[str, ...]]:
        """Scaled ``features`` ``[rows, *feature_shape]`` in the float ``dtype``, and what is odd about them.

        Where the model was fitted on a table they are a DataFrame, a dict of columns, or a table; see
        ``TableEncoding.transform`` for what is told, or (``strict``) refused. Otherwise they are an array; a
        one-dimensional one is taken as one column if the model has one. Raises InputError for another shape per
        row, text, and NaN or Inf before or after scaling; ``place`` begins the message.
        """
        if self.table is not None:
            return self._take_table(self.table, features, dtype, place, strict)
        if isinstance(features, Table):
            raise InputError(
                f"{features.place}: is a table, but this model was trained on arrays [rows, "
                f"{', '.join(map(str, self.feature_shape))}]; give it such an array"
            )
        array = to_array(features, place, "X")
        if array.ndim == 1 and self.feature_shape == (1,):
            array = array[:, np.newaxis]
        if array.ndim == 0 or array.shape[1:] != self.feature_shape:
            wanted = ", ".join(["rows", *map(str, self.feature_shape)])
            raise InputError(f"{place}: X has shape {list(array.shape)}; this model takes [{wanted}]")
        if array.dtype.kind == "U":
            raise InputError(f"{place}: X holds text; this model takes numbers")
        check_finite(array, place, "X")
        return _scaled(array, self.feature_mean, self.feature_scale, dtype, place, "X"), ()

    def _take_table(
        self, encoding: TableEncoding, features: Any, dtype: npt.DTypeLike, place: str, strict: bool
    ) -> tuple[Array, tuple[str, ...]]:
        table = to_tabular(features)
        if table is None:
            columns = some([column.name for column in encoding.used])
            raise InputError(
                f"{place}: this model takes tables with the columns {columns}; give a DataFrame, not "
                f"{type(features).__name__}"
            )
        told = encoding.check(table)
        odd: dict[tuple[str, str], Odd] = {}
        mean, scale = (
            np.broadcast_to(item, encoding.width) for item in (self.feature_mean, self.feature_scale)
        )
        measured = np.flatnonzero((mean != 0) | (scale != 1))
        mean, scale = mean[measured], scale[measured]
        result = np.empty((len(table), encoding.width), dtype)
        for part in chunks(len(table), 8 * encoding.width):  # small enough to stay in the cache
            rows = table[part]
            values = np.empty((len(rows), encoding.width))
            encoding.fill(rows, values, odd, strict=strict)
            with np.errstate(over="ignore"):
                values[:, measured] = (values[:, measured] - mean) / scale
                result[part] = values
            finite = np.isfinite(result[part])
            if not finite.all():
                row, number = divmod(int(np.argmin(finite)), encoding.width)
                raise InputError(
                    f"{table.place}: column {encoding.origins[number]!r} holds in {rows.where(row)} a number too "
                    f"large for {result.dtype.name} once scaled; correct it"
                )
        return result, (*told, *(item.sentence() for item in odd.values()))

    def take_targets(self, features: Any) -> Targets:
        """The targets in the table ``features`` (a DataFrame, a dict of columns, or a Table), and its other columns.

        Rows without a target are left out. Raises InputError where there is no table, no such column, a class
        that the model does not know, or no row left.
        """
        table = to_tabular(features)
        if table is None or self.table is None or self.table.target is None:
            raise InputError(
                "this model does not know which column of a table is its target; give the targets y"
            )
        return known_targets(table, self.table.target, self.classes)

    def encode_targets(self, targets: Any, dtype: npt.DTypeLike, place: str = "targets") -> Array:
        """What the loss compares with: class numbers int32 ``[rows]``, or scaled floats ``[rows, outputs]``.

        ``targets`` has shape ``[rows, *target_shape]``; ``dtype`` is that of regression targets. Raises
        InputError for another shape, NaN or Inf, or a class that the model does not know (named with its
        row).
        """
        array = to_array(targets, place, "y")
        if array.ndim == 0 or array.shape[1:] != self.target_shape:
            wanted = ", ".join(["rows", *map(str, self.target_shape)])
            raise InputError(f"{place}: y has shape {list(array.shape)}; this model takes [{wanted}]")
        if self.classes is None:
            if array.dtype.kind == "U":
                raise InputError(f"{place}: y holds text; this model predicts numbers")
            check_finite(array, place, "y")
            columns = _as_columns(array)
            return _scaled(columns, self.target_mean, self.target_scale, dtype, place, "y")
        numbers = {label: number for number, label in enumerate(self.classes)}
        labels, inverse = np.unique(array, return_inverse=True)
        coded = np.array([numbers.get(label, -1) for label in labels.tolist()], dtype=np.int32)[inverse]
        unknown = np.flatnonzero(coded < 0)
        if len(unknown):
            row = int(unknown[0])
            raise InputError(
                f"{place}: y has the unknown class {some([array[row].item()])} in {position((row,))}; "
                f"this model knows {some(list(self.classes))}"
            )
        return coded

    def decode_outputs(self, outputs: Array) -> Floats:
        """Regression ``outputs`` ``[rows, outputs]`` in the units of y, float64 ``[rows, *target_shape]``."""
        if self.classes is not None:
            raise InputError("a classifier's outputs are not quantities; use labels on the class numbers")
        units: Floats = outputs.astype(np.float64) * self.target_scale + self.target_mean
        return units.reshape(len(outputs), *self.target_shape)

    def labels(self, indices: npt.ArrayLike) -> Array:
        """The labels of class numbers ``indices``, in the same shape; the dtype is that of the classes."""
        if self.classes is None:
            raise InputError("a regression model has no class labels; use decode_outputs")
        # Left to itself, NumPy would make float64 of integers on both sides of 2**63.
        large = max((c for c in self.classes if isinstance(c, int)), default=0) >= 2**63
        classes = np.array(self.classes, dtype=np.uint64 if large else None)
        chosen: Array = classes[np.asarray(indices)]
        return chosen

    def to_document(self) -> dict[str, Any]:
        """The schema as plain JSON values, from which ``from_document`` restores every float to the bit."""
        document = {
            "task": self.task,
            "feature_shape": list(self.feature_shape),
            "classes": None if self.classes is None else list(self.classes),
            "target_shape": list(self.target_shape),
            "scaling": self.scaling,
            "feature_mean": self.feature_mean.tolist(),
            "feature_scale": self.feature_scale.tolist(),
            "target_mean": self.target_mean.tolist(),
            "target_scale": self.target_scale.tolist(),
        }
        if self.target_names:
            document["target_names"] = list(self.target_names)
        return document if self.table is None else document | {"table": self.table.to_document()}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Schema:
        """The schema that ``to_document`` described. Raises InputError for anything else."""
        if set(document) - {"table", "target_names"} != set(_KEYS):
            raise InputError(f"preprocessing: the entries are not {', '.join(_KEYS)}; save the model again")
        classification = document["task"] == "classification"
        if not classification and document["task"] != "regression":
            raise unknown_name("preprocessing task", str(document["task"]), ("classification", "regression"))
        if document["scaling"] not in SCALINGS:
            raise unknown_name("preprocessing scaling", str(document["scaling"]), SCALINGS)
        feature_shape = _shape(document, "feature_shape")
        target_shape = _shape(document, "target_shape")
        if classification and target_shape:
            raise InputError("preprocessing: target_shape of a classifier is not []; save the model again")
        table = TableEncoding.from_document(document["table"]) if "table" in document else None
        if table is not None and feature_shape != (table.width,):
            raise InputError(
                "preprocessing: the table has other inputs than the network; save the model again"
            )
        by_column = document["scaling"] == "standard" and len(feature_shape) == 1
        moments_shape = feature_shape if by_column else ()
        outputs = 0 if classification else math.prod(target_shape)
        return cls(
            task=document["task"],
            feature_shape=feature_shape,
            classes=_classes(document["classes"], classification),
            target_shape=target_shape,
            scaling=document["scaling"],
            feature_mean=_floats(document, "feature_mean", moments_shape),
            feature_scale=_floats(document, "feature_scale", moments_shape),
            target_mean=_floats(document, "target_mean", (outputs,)),
            target_scale=_floats(document, "target_scale", (outputs,)),
            table=table,
            target_names=_target_names(document.get("target_names", []), outputs),
        )


def _scaled(array: Array, mean: Floats, scale: Floats, dtype: npt.DTypeLike, place: str, label: str) -> Array:
    result = scaled(array, mean, scale, dtype)
    check_finite(result, place, f"{label} scaled for {result.dtype.name}")
    return result


def _as_columns(targets: Array) -> Array:
    return targets[:, np.newaxis] if targets.ndim == 1 else targets


def _shape(document: Mapping[str, Any], key: str) -> tuple[int, ...]:
    value = document[key]
    if not isinstance(value, list) or not all(type(size) is int and size > 0 for size in value):
        raise InputError(f"preprocessing: {key} is not a list of sizes; save the model again")
    return tuple(value)


def _classes(value: Any, classification: bool) -> tuple[Label, ...] | None:
    if not classification and value is None:
        return None
    if (
        classification
        and isinstance(value, list)
        and len({type(label) for label in value}) == 1
        and type(value[0]) in (int, bool, str)
        and len(set(value)) == len(value) > 1
        and (type(value[0]) is not int or _fit_an_integer(value))
    ):
        return tuple(value)
    raise InputError("preprocessing: classes are not a list of different labels; save the model again")


def _target_names(value: Any, outputs: int) -> tuple[str, ...]:
    named = isinstance(value, list) and all(type(name) is str for name in value)
    if not named or len(set(value)) != len(value) or len(value) not in (0, outputs):
        raise InputError("preprocessing: target_names are not a name for each target; save the model again")
    return tuple(value)


def _fit_an_integer(numbers: list[int]) -> bool:
    """Whether there is an integer dtype for all of ``numbers``."""
    low, high = min(numbers), max(numbers)
    return low >= -(2**63) and high < (2**64 if low >= 0 else 2**63)


def _floats(document: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> Floats:
    try:
        array = np.array(document[key], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.full(shape, np.nan)
    if array.shape != shape or not np.isfinite(array).all() or (key.endswith("scale") and (array <= 0).any()):
        raise InputError(f"preprocessing: {key} is not {list(shape)} usable numbers; save the model again")
    return array
