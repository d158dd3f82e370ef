"""Scores beyond the metrics of a run: quality of class probabilities, and regression outputs scored as labels."""

from __future__ import annotations

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.data.dataset import Dataset
from glassgrad.training.metrics import quantities
from glassgrad.training.model import Model
from glassgrad.training.run import Run

MOST_VALUES = 20
"""Targets with at most this many distinct values, all whole numbers, may be labels (as for ``task="auto"``)."""

LEAST_P = 0.01
"""Outputs read as probabilities are clipped to at least this, and at most 1 minus this."""


def further_scores(model: Model, features: Array, targets: Array) -> dict[str, float]:
    """Balanced accuracy, and, if the outputs give probabilities, their nll and Brier score.

    Balanced accuracy is the mean recall over the classes.
    """
    outputs = model.outputs_prepared(features, targets).astype(np.float64)
    right = model.loss.predicted_classes(outputs) == targets
    recalls = [float(right[targets == number].mean()) for number in np.unique(targets)]
    scores = {"balanced_accuracy": float(np.mean(recalls))}
    with np.errstate(all="ignore"):
        p = model.loss.probabilities(outputs)
    if p is None or not np.isfinite(p).all() or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        return scores
    if p.shape[1] <= int(targets.max()):
        return scores
    p_true = p[np.arange(len(p)), targets]
    return scores | {
        "nll": float(-np.log(np.maximum(p_true, 1e-12)).mean()),
        "brier": float(((p - np.eye(p.shape[1])[targets]) ** 2).sum(axis=1).mean()),
    }


def scores_as_labels(model: Model, features: Array, targets: Array) -> dict[str, float]:
    """A regression on few whole numbers, scored as a classification; empty for any other model.

    ``accuracy`` is the share of outputs that round to the right value. For two values, ``nll`` reads the output as a
    probability of at least ``LEAST_P``.
    """
    levels = levels_of(model.schema.decode_outputs(targets))
    if levels is None or model.loss.expects != "values":
        return {}
    outputs = model.schema.decode_outputs(
        quantities(model.loss, model.outputs_prepared(features).astype(float))
    )
    truth = nearest_level(model.schema.decode_outputs(targets), levels)
    scores = {"accuracy": float(np.mean(nearest_level(outputs, levels) == truth))}
    if len(levels) == 2:
        p = (outputs.reshape(-1) - levels[0]) / (levels[1] - levels[0])
        p_true = np.clip(np.where(truth == 1, p, 1 - p), LEAST_P, 1 - LEAST_P)
        scores["nll"] = float(-np.log(p_true).mean())
    return scores


def levels_of(values: Array) -> Array | None:
    """The distinct values of targets [rows] or [rows, 1] if they are few whole numbers; else None."""
    if values.size != len(values):
        return None
    levels = np.unique(np.round(values.reshape(-1), 4))
    few = 2 <= len(levels) <= MOST_VALUES and np.allclose(levels, np.round(levels))
    return levels if few else None


def nearest_level(values: Array, levels: Array) -> Array:
    """The index of the level nearest to each value of [rows] or [rows, 1]; int64 [rows]."""
    indices: Array = np.abs(values.reshape(-1, 1) - levels).argmin(axis=1)
    return indices


def scored_rows(run: Run, dataset: Dataset) -> tuple[Array, Array]:
    """The prepared rows that score ``run``: features and targets of its test rows, or else of its validation rows."""
    settings, schema = run.settings, run.model.schema
    assert run.split is not None
    rows = run.split.take(dataset, "test" if settings.test else "validation")
    assert rows is not None  # Every run of a trial holds out validation rows.
    features, _ = schema.take_features(rows[0], settings.dtype, dataset.name)
    return features, schema.encode_targets(rows[1], settings.dtype, dataset.name)
