"""What travels with a model: how features become its input, and its output becomes labels or quantities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.data.checks import Array, check_finite, position, some, to_array

Label = int | bool | str
Floats = npt.NDArray[np.float64]

SCALINGS = ("standard", "none")
_CHUNK = 1 << 20
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


@dataclass(frozen=True, eq=False)
class Schema:
    """The preprocessing of one model, fitted on its training rows.

    ``task`` is "classification" or "regression". ``feature_shape`` and ``target_shape`` are per row.
    ``classes`` lists the labels in the order of the model's outputs, or is None for regression. ``scaling``
    is "standard" or "none". ``feature_mean`` and ``feature_scale`` are float64, shape ``[columns]`` for
    tables and ``[]`` otherwise; ``target_mean`` and ``target_scale`` are float64 ``[outputs]`` for regression
    and ``[0]`` for classification. A scaled value is ``(value - mean) / scale``.
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

    @property
    def outputs(self) -> int:
        """The number of classes, or of regression targets per row."""
        return len(self.target_mean) if self.classes is None else len(self.classes)

    @classmethod
    def fit(
        cls,
        features: Array,
        targets: Array,
        classification: bool,
        scaling: str = "standard",
        standardize_targets: bool = True,
    ) -> Schema:
        """The schema of the training rows.

        ``features`` has shape ``[rows, ...]`` (rank 2 or more), ``targets`` ``[rows]`` or ``[rows, n]``.

        With "standard" scaling a table (rank 2) gets a mean and a standard deviation per column. Features of
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
        if scaling == "none":
            mean, scale = np.zeros(()), np.ones(())
        elif features.ndim == 2:
            mean, scale = _moments(features, "X")
        else:
            mean, scale = (moment.reshape(()) for moment in _moments(features.reshape(-1, 1), "X"))
        columns = _as_columns(targets)
        if classification:
            target_mean, target_scale = np.zeros(0), np.ones(0)
        elif standardize_targets:
            target_mean, target_scale = _moments(columns, "y")
        else:
            target_mean, target_scale = np.zeros(columns.shape[1]), np.ones(columns.shape[1])
        return cls(
            task="classification" if classification else "regression",
            feature_shape=features.shape[1:],
            classes=tuple(np.unique(targets).tolist()) if classification else None,
            target_shape=targets.shape[1:],
            scaling=scaling,
            feature_mean=mean,
            feature_scale=scale,
            target_mean=target_mean,
            target_scale=target_scale,
        )

    def transform_features(self, features: Any, dtype: npt.DTypeLike, place: str = "features") -> Array:
        """Scaled ``features`` ``[rows, *feature_shape]``, C-contiguous, in the float ``dtype``.

        A one-dimensional array is taken as one column if the model has one. Raises InputError for another
        shape per row, text, and NaN or Inf before or after scaling; ``place`` begins the message.
        """
        array = to_array(features, place, "X")
        if array.ndim == 1 and self.feature_shape == (1,):
            array = array[:, np.newaxis]
        if array.ndim == 0 or array.shape[1:] != self.feature_shape:
            wanted = ", ".join(["rows", *map(str, self.feature_shape)])
            raise InputError(f"{place}: X has shape {list(array.shape)}; this model takes [{wanted}]")
        if array.dtype.kind == "U":
            raise InputError(f"{place}: X holds text; this model takes numbers")
        check_finite(array, place, "X")
        return _scaled(array, self.feature_mean, self.feature_scale, dtype, place, "X")

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
        return {
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

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Schema:
        """The schema that ``to_document`` described. Raises InputError for anything else."""
        if set(document) != set(_KEYS):
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
        table = document["scaling"] == "standard" and len(feature_shape) == 1
        moments = feature_shape if table else ()
        outputs = 0 if classification else math.prod(target_shape)
        return cls(
            task=document["task"],
            feature_shape=feature_shape,
            classes=_classes(document["classes"], classification),
            target_shape=target_shape,
            scaling=document["scaling"],
            feature_mean=_floats(document, "feature_mean", moments),
            feature_scale=_floats(document, "feature_scale", moments),
            target_mean=_floats(document, "target_mean", (outputs,)),
            target_scale=_floats(document, "target_scale", (outputs,)),
        )


def _scaled(array: Array, mean: Floats, scale: Floats, dtype: npt.DTypeLike, place: str, label: str) -> Array:
    """``(array - mean) / scale``, computed in float64 a chunk of rows at a time, checked in ``dtype``."""
    result = np.empty(array.shape, dtype)
    step = max(1, _CHUNK // max(1, math.prod(array.shape[1:])))
    with np.errstate(over="ignore"):
        for start in range(0, len(array), step):
            rows = array[start : start + step].astype(np.float64)
            result[start : start + step] = (rows - mean) / scale
    check_finite(result, place, f"{label} scaled for {result.dtype.name}")
    return result


def _as_columns(targets: Array) -> Array:
    return targets[:, np.newaxis] if targets.ndim == 1 else targets


def _moments(values: Array, label: str) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the columns of ``values`` ``[rows, columns]``, in two passes."""
    rows, columns = values.shape
    step = max(1, _CHUNK // columns)
    chunks = [slice(start, start + step) for start in range(0, rows, step)]
    low, high = values.min(axis=0).astype(np.float64), values.max(axis=0).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean: Floats = (
            sum((values[c].sum(axis=0, dtype=np.float64) for c in chunks), np.zeros(columns)) / rows
        )
        # Rounding must not turn a constant column into one with a tiny spread.
        constant = low == high
        mean = np.where(constant, low, mean)
        # Deviations are measured in units of the largest, so that their squares neither overflow nor vanish.
        unit = np.where(constant, 1.0, np.maximum(high - mean, mean - low))
        squares = sum(
            (np.square((values[c].astype(np.float64) - mean) / unit).sum(axis=0) for c in chunks),
            np.zeros(columns),
        )
        scale = np.where(constant, 1.0, unit * np.sqrt(squares / rows))
    usable = np.isfinite(mean) & np.isfinite(scale) & (scale > 0)
    if not usable.all():
        column = int(np.argmin(usable))
        raise InputError(
            f"{label}: column {column} (from 0) spans {low[column]:g} to {high[column]:g}, "
            "which float64 arithmetic cannot standardise; rescale it"
        )
    return mean, scale


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
        and len(set(value)) == len(value)
    ):
        return tuple(value)
    raise InputError("preprocessing: classes are not a list of different labels; save the model again")


def _floats(document: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> Floats:
    try:
        array = np.array(document[key], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.full(shape, np.nan)
    if array.shape != shape or not np.isfinite(array).all() or (key.endswith("scale") and (array <= 0).any()):
        raise InputError(f"preprocessing: {key} is not {list(shape)} usable numbers; save the model again")
    return array
