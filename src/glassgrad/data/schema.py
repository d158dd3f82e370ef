"""The preprocessing that is stored with a model: features to inputs, and outputs to labels or quantities."""

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
    from glassgrad.data.encoding_parts import UnseenCells

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
    and ``[0]`` for classification. A scaled value is ``(value - mean) / scale``. ``table`` is the encoding of a
    table's columns as features; None if the features were arrays. ``target_names`` are the names of several
    regression targets; empty if they have none.
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
        """The names of the regression targets, or their numbers from 0 if they have no names."""
        return self.target_names or tuple(map(str, range(len(self.target_mean))))

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the network's inputs, in C order: "age" or "workclass=Private"; "x[3, 7]" for arrays."""
        if self.table is not None:
            return self.table.names
        indices = itertools.product(*map(range, self.feature_shape))
        return tuple(f"x[{', '.join(map(str, index))}]" for index in indices)

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
        has shape ``[rows]`` or ``[rows, n]``. ``target`` is the name of one target, ``target_names`` are the names of
        n targets.

        With "standard" scaling an array of rank 2 gets a mean and a standard deviation per column. Features of
        higher rank, such as images, get a single mean and a single standard deviation: scaled on its own, a pixel
        that is rarely lit would get very large values. Constant columns get scale 1. ``standardize_targets`` scales
        regression targets in the same way; turn it off for counts with a Poisson loss. Raises InputError for an
        unknown scaling, no rows, or values too large for float64 arithmetic.
        """
        if scaling not in SCALINGS:
            raise unknown_name("scaling", scaling, SCALINGS)
        if len(features) == 0 or len(features) != len(targets):
            raise InputError(
                f"cannot fit on {len(features)} rows of X and {len(targets)} of y; give equally many"
            )
        table, mean, scale = None, np.zeros(()), np.ones(())
        if isinstance(features, Table):
            table = TableEncoding.fit(features, target, transform_tails=scaling == "standard")
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

    def transform_features(self, features: Any, dtype: npt.DTypeLike, source_name: str = "features") -> Array:
        """Scaled ``features`` ``[rows, *feature_shape]``, C-contiguous, in the float ``dtype``.

        ``take_features`` without its notices.
        """
        return self.take_features(features, dtype, source_name)[0]

    def take_features(
        self, features: Any, dtype: npt.DTypeLike, source_name: str = "features", *, strict: bool = False
    ) -> tuple[Array, tuple[str, ...]]:
        """Scaled ``features`` ``[rows, *feature_shape]`` in the float ``dtype``, and notices about unusual cells.

        For a model fitted on a table, ``features`` is a DataFrame, a dict of columns, or a table;
        ``TableEncoding.transform`` describes the notices and ``strict``. Otherwise it is an array; an array of rank 1
        counts as one column if the model has one. Raises InputError for another shape per row, text, and NaN or Inf
        before or after scaling. The message begins with ``source_name``.
        """
        if self.table is not None:
            return self._take_table(self.table, features, dtype, source_name, strict)
        if isinstance(features, Table):
            raise InputError(
                f"{features.source_name}: is a table, but this model takes arrays of shape [rows, "
                f"{', '.join(map(str, self.feature_shape))}]; give such an array"
            )
        array = to_array(features, source_name, "X")
        if array.ndim == 1 and self.feature_shape == (1,):
            array = array[:, np.newaxis]
        if array.ndim == 0 or array.shape[1:] != self.feature_shape:
            expected = ", ".join(["rows", *map(str, self.feature_shape)])
            raise InputError(f"{source_name}: X has shape {list(array.shape)}; this model takes [{expected}]")
        if array.dtype.kind == "U":
            raise InputError(f"{source_name}: X holds text; this model takes numbers")
        check_finite(array, source_name, "X")
        return _scaled(array, self.feature_mean, self.feature_scale, dtype, source_name, "X"), ()

    def _take_table(
        self, encoding: TableEncoding, features: Any, dtype: npt.DTypeLike, source_name: str, strict: bool
    ) -> tuple[Array, tuple[str, ...]]:
        table = to_tabular(features)
        if table is None:
            columns = some([column.name for column in encoding.used])
            raise InputError(
                f"{source_name}: this model takes tables with the columns {columns}; give a DataFrame, not "
                f"{type(features).__name__}"
            )
        notices = encoding.check(table)
        unseen: dict[tuple[str, str], UnseenCells] = {}
        mean, scale = (
            np.broadcast_to(moment, encoding.width) for moment in (self.feature_mean, self.feature_scale)
        )
        standardized_inputs = np.flatnonzero((mean != 0) | (scale != 1))
        mean, scale = mean[standardized_inputs], scale[standardized_inputs]
        result = np.empty((len(table), encoding.width), dtype)
        for part in chunks(len(table), 8 * encoding.width):  # small enough for the cache
            rows = table[part]
            values = np.empty((len(rows), encoding.width))
            encoding.fill(rows, values, unseen, strict=strict)
            with np.errstate(over="ignore"):
                values[:, standardized_inputs] = (values[:, standardized_inputs] - mean) / scale
                result[part] = values
            finite = np.isfinite(result[part])
            if not finite.all():
                row, number = divmod(int(np.argmin(finite)), encoding.width)
                raise InputError(
                    f"{table.source_name}: column {encoding.origins[number]!r} has a number in {rows.where(row)} "
                    f"that is too large for {result.dtype.name} after scaling; correct it"
                )
        return result, (*notices, *(item.sentence() for item in unseen.values()))

    def take_targets(self, features: Any) -> Targets:
        """The targets in the table ``features`` (a DataFrame, a dict of columns, or a Table), and its other columns.

        Rows without a target are left out. Raises InputError if ``features`` is not a table, has no target column,
        has a class that the model does not know, or has no row with a target.
        """
        table = to_tabular(features)
        if table is None or self.table is None or self.table.target is None:
            raise InputError(
                "there are no targets; give y or, to a model trained on a table, a table with the target column"
            )
        return known_targets(table, self.table.target, self.classes)

    def encode_targets(self, targets: Any, dtype: npt.DTypeLike, source_name: str = "targets") -> Array:
        """The targets for the loss: class numbers int32 ``[rows]``, or scaled floats ``[rows, outputs]``.

        ``targets`` has shape ``[rows, *target_shape]``; regression targets get the data type ``dtype``. Raises
        InputError for another shape, NaN or Inf, or a class that the model does not know (named with its row).
        """
        array = to_array(targets, source_name, "y")
        if array.ndim == 0 or array.shape[1:] != self.target_shape:
            expected = ", ".join(["rows", *map(str, self.target_shape)])
            raise InputError(f"{source_name}: y has shape {list(array.shape)}; this model takes [{expected}]")
        if self.classes is None:
            if array.dtype.kind == "U":
                raise InputError(f"{source_name}: y holds text; this model predicts numbers")
            check_finite(array, source_name, "y")
            columns = _as_columns(array)
            return _scaled(columns, self.target_mean, self.target_scale, dtype, source_name, "y")
        numbers = {label: number for number, label in enumerate(self.classes)}
        labels, inverse = np.unique(array, return_inverse=True)
        codes = np.array([numbers.get(label, -1) for label in labels.tolist()], dtype=np.int32)[inverse]
        unknown = np.flatnonzero(codes < 0)
        if len(unknown):
            row = int(unknown[0])
            raise InputError(
                f"{source_name}: y has the unknown class {some([array[row].item()])} in {position((row,))}; "
                f"this model knows {some(list(self.classes))}"
            )
        return codes

    def decode_outputs(self, outputs: Array) -> Floats:
        """Regression ``outputs`` ``[rows, outputs]`` in the units of y, float64 ``[rows, *target_shape]``."""
        if self.classes is not None:
            raise InputError(
                "the outputs of a classifier are not quantities; call labels with the class numbers"
            )
        units: Floats = outputs.astype(np.float64) * self.target_scale + self.target_mean
        return units.reshape(len(outputs), *self.target_shape)

    def labels(self, indices: npt.ArrayLike) -> Array:
        """The labels of class numbers ``indices``, in the same shape; the dtype is that of the classes."""
        if self.classes is None:
            raise InputError("a regression model has no class labels; use decode_outputs")
        # By default, NumPy converts integers below and above 2**63 to float64.
        large = max((c for c in self.classes if isinstance(c, int)), default=0) >= 2**63
        classes = np.array(self.classes, dtype=np.uint64 if large else None)
        labels: Array = classes[np.asarray(indices)]
        return labels

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
            raise InputError(
                "preprocessing: the target_shape of a classifier is not []; save the model again"
            )
        table = TableEncoding.from_document(document["table"]) if "table" in document else None
        if table is not None and feature_shape != (table.width,):
            raise InputError(
                "preprocessing: the table and the network have different inputs; save the model again"
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


def _scaled(
    array: Array, mean: Floats, scale: Floats, dtype: npt.DTypeLike, source_name: str, label: str
) -> Array:
    result = scaled(array, mean, scale, dtype)
    check_finite(result, source_name, f"{label} scaled for {result.dtype.name}")
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
    is_text_list = isinstance(value, list) and all(type(name) is str for name in value)
    if not is_text_list or len(set(value)) != len(value) or len(value) not in (0, outputs):
        raise InputError("preprocessing: target_names are not a name for each target; save the model again")
    return tuple(value)


def _fit_an_integer(numbers: list[int]) -> bool:
    """Whether one integer dtype can hold all of ``numbers``."""
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
