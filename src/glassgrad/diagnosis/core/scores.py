"""Scores beyond the metrics of a run: what the probabilities of a classification are worth, and numbers as labels."""

from __future__ import annotations

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.data.dataset import Dataset
from glassgrad.training.metrics import quantities
from glassgrad.training.model import Model
from glassgrad.training.run import Run

MOST_VALUES = 20
"""Targets of no more than so many different values, all whole numbers, may be labels: as ``task="auto"`` has it."""

LEAST_P = 0.01
"""Numbers read as probabilities are read as no less than this, and no more than 1 minus it."""


def further_scores(model: Model, features: Array, targets: Array) -> dict[str, float]:
    """What the metrics of a classification lack: balanced accuracy; nll and Brier score of true probabilities.

    Balanced accuracy is the mean over the classes of the share of their rows that were decided right.
    """
    outputs = model.outputs_prepared(features, targets).astype(np.float64)
    right = model.loss.predicted_classes(outputs) == targets
    shares = [float(right[targets == number].mean()) for number in np.unique(targets)]
    found = {"balanced_accuracy": float(np.mean(shares))}
    with np.errstate(all="ignore"):
        p = model.loss.probabilities(outputs)
    if p is None or not np.isfinite(p).all() or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        return found
    if p.shape[1] <= int(targets.max()):
        return found
    own = p[np.arange(len(p)), targets]
    return found | {
        "nll": float(-np.log(np.maximum(own, 1e-12)).mean()),
        "brier": float(((p - np.eye(p.shape[1])[targets]) ** 2).sum(axis=1).mean()),
    }


def scores_as_labels(model: Model, features: Array, targets: Array) -> dict[str, float]:
    """Of a regression on few whole numbers, what it is worth as a classification: the share of values right after
    rounding; of two values also the nll of what it says, read as a probability (``LEAST_P`` or more)."""
    levels = levels_of(model.schema.decode_outputs(targets))
    if levels is None or model.loss.expects != "values":
        return {}
    said = model.schema.decode_outputs(quantities(model.loss, model.outputs_prepared(features).astype(float)))
    truth = nearest_level(model.schema.decode_outputs(targets), levels)
    found = {"accuracy": float(np.mean(nearest_level(said, levels) == truth))}
    if len(levels) == 2:
        p = (said.reshape(-1) - levels[0]) / (levels[1] - levels[0])
        own = np.clip(np.where(truth == 1, p, 1 - p), LEAST_P, 1 - LEAST_P)
        found["nll"] = float(-np.log(own).mean())
    return found


def levels_of(values: Array) -> Array | None:
    """The different values of targets [rows] or [rows, 1], if they are few whole numbers; else None."""
    if values.size != len(values):
        return None
    levels = np.unique(np.round(values.reshape(-1), 4))
    few = 2 <= len(levels) <= MOST_VALUES and np.allclose(levels, np.round(levels))
    return levels if few else None


def nearest_level(values: Array, levels: Array) -> Array:
    """The place among ``levels`` of the one that each value, [rows] or [rows, 1], is nearest to; int64 [rows]."""
    found: Array = np.abs(values.reshape(-1, 1) - levels).argmin(axis=1)
    return found


def scored_rows(run: Run, dataset: Dataset) -> tuple[Array, Array]:
    """The rows of ``run`` that it is scored on, prepared: test rows, if it has any, else validation rows."""
    settings, schema = run.settings, run.model.schema
    assert run.split is not None
    rows = run.split.take(dataset, "test" if settings.test else "validation")
    assert rows is not None  # a run that is scored has rows to be scored on
    features, _ = schema.take_features(rows[0], settings.dtype, dataset.name)
    return features, schema.encode_targets(rows[1], settings.dtype, dataset.name)
