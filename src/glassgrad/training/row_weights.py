"""The weight of each training row, from the weights of rows and of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common.constraints import Real, check
from glassgrad.common.errors import InputError, shown, unknown_name
from glassgrad.data.schema import Schema


def row_weights(
    schema: Schema,
    targets: Array,
    sample_weight: Any,
    rows: int,
    training_rows: Array,
    class_weight: Mapping[Any, float] | str | None,
    dtype: str,
) -> Array | None:
    """The weight of each training row: its sample weight times the weight of its class. None if no weights are given.

    ``targets`` are the encoded targets of the training rows. ``training_rows`` are the indices of these rows in the
    data set, which has ``rows`` rows. "balanced" gives every class the same total weight: the weight of a class is
    rows / (classes * rows of the class). Raises InputError for weights that are negative or not finite, and for a
    wrong number of weights.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(len(targets))
    if sample_weight is not None:
        try:
            sample_weights = np.asarray(sample_weight, dtype=np.float64)
        except (TypeError, ValueError):
            sample_weights = np.full(rows, np.nan)
        usable = sample_weights.shape == (rows,) and np.isfinite(sample_weights).all()
        if not usable or (sample_weights < 0).any():
            raise InputError(f"sample_weight needs {rows} finite numbers >= 0, one per row of the data")
        weights = sample_weights[training_rows]
    if class_weight is not None:
        weights = weights * _per_class(schema, targets, class_weight)[targets]
    if not weights.sum() > 0:
        raise InputError("all training rows have weight 0; give some of them a weight above 0")
    return np.ascontiguousarray(weights, dtype=dtype)


def _per_class(schema: Schema, targets: Array, class_weight: Mapping[Any, float] | str) -> Array:
    if schema.classes is None:
        raise InputError("class_weight is for classification; use sample_weight for a regression")
    counts = np.bincount(targets, minlength=len(schema.classes))
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise InputError(f"class_weight is a mapping or 'balanced', not {shown(class_weight)}")
        return len(targets) / (len(counts) * np.maximum(counts, 1))
    if not isinstance(class_weight, Mapping):
        raise InputError(f"class_weight is a mapping or 'balanced', not {shown(class_weight)}")
    for label, weight in class_weight.items():
        if label not in schema.classes:
            raise unknown_name("class", str(label), map(str, schema.classes))
        check(f"class_weight of {label!r}", weight, Real(minimum=0))
    return np.array([float(class_weight.get(label, 1.0)) for label in schema.classes])
