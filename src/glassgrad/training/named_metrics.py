"""Metrics by name, beyond those that every evaluation has: each one record, computed in float64 on the host.

Their definitions are scikit-learn's. A metric that is undefined on the rows at hand (the area under the ROC curve
where all rows have one class) is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common.errors import InputError, unknown_name

CALIBRATION_BINS = 15
"""Bins of equal width over the confidence (C. Guo et al., On calibration of modern neural networks, ICML 2017)."""

SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities and divisors below this count as this."""


@dataclass(frozen=True)
class Metric:
    """One metric: what it is computed from, and whether more is better.

    ``takes`` says what ``compute`` gets beside the targets: "labels" (the predicted class, int [rows]),
    "probabilities" ([rows, classes]), both with targets of class numbers [rows]; or "values" ([rows, targets], with
    targets alike).
    """

    name: str
    takes: Literal["labels", "probabilities", "values"]
    higher_is_better: bool
    meaning: str
    compute: Callable[[Array, Array], float]


def _accuracy(labels: Array, targets: Array) -> float:
    return float(np.mean(labels == targets))


def _balanced_accuracy(labels: Array, targets: Array) -> float:
    return float(np.mean([np.mean(labels[targets == label] == label) for label in np.unique(targets)]))


def _f1(labels: Array, targets: Array) -> float:
    scores = []
    for label in np.union1d(labels, targets):
        hits = np.sum((labels == label) & (targets == label))
        scores.append(2 * hits / (np.sum(labels == label) + np.sum(targets == label)))
    return float(np.mean(scores))


def _log_loss(probabilities: Array, targets: Array) -> float:
    chosen = probabilities[np.arange(len(targets)), targets]
    return float(-np.mean(np.log(np.clip(chosen, SMALLEST, 1.0))))


def _one_against_rest(binary: Callable[[Array, Array], float]) -> Callable[[Array, Array], float]:
    """``binary``, of scores and truth [rows], for any number of classes: the mean over each against the rest."""

    def compute(probabilities: Array, targets: Array) -> float:
        if probabilities.shape[1] == 2:
            return binary(probabilities[:, 1], targets == 1)
        classes = range(probabilities.shape[1])
        return float(np.mean([binary(probabilities[:, label], targets == label) for label in classes]))

    return compute


def _roc_auc(scores: Array, truth: Array) -> float:
    """The share of (positive, negative) pairs that the scores order rightly, ties counting half."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    wins = ranks[inverse][truth].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def _average_precision(scores: Array, truth: Array) -> float:
    """The sum of precisions, each weighted by the rise in recall, over the distinct scores from above."""
    positives = int(truth.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(truth[order])[ends]
    precision, recall = hits / (ends + 1), hits / positives
    return float(np.sum(precision * np.diff(recall, prepend=0.0)))


def _brier(probabilities: Array, targets: Array) -> float:
    if probabilities.shape[1] == 2:
        return float(np.mean((probabilities[:, 1] - (targets == 1)) ** 2))
    truth = np.eye(probabilities.shape[1])[targets]
    return float(np.mean(np.sum((probabilities - truth) ** 2, axis=1)))


def _calibration_error(probabilities: Array, targets: Array) -> float:
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [abs(np.sum(right[bins == b]) - np.sum(confidence[bins == b])) for b in np.unique(bins)]
    return float(np.sum(gaps) / len(targets))


def _rmse(values: Array, targets: Array) -> float:
    return float(np.mean(np.sqrt(np.mean((values - targets) ** 2, axis=0))))


def _mae(values: Array, targets: Array) -> float:
    return float(np.mean(np.abs(values - targets)))


def _r2(values: Array, targets: Array) -> float:
    scores = []
    for column, true in zip(values.T, targets.T, strict=True):
        square = float(np.sum((column - true) ** 2))
        spread = float(np.sum((true - true.mean()) ** 2)) if true.max() > true.min() else 0.0
        scores.append(1 - square / spread if spread > 0 else float(square == 0))
    return float(np.mean(scores))


def _mape(values: Array, targets: Array) -> float:
    return float(np.mean(np.abs(values - targets) / np.maximum(np.abs(targets), SMALLEST)))


def pinball(quantile: float) -> Callable[[Array, Array], float]:
    """The pinball loss of a quantile (R. Koenker and G. Bassett, 1978): mean of max(q e, (q - 1) e), e = y - f."""

    def compute(values: Array, targets: Array) -> float:
        error = targets - values
        return float(np.mean(np.maximum(quantile * error, (quantile - 1) * error)))

    return compute


_ALL = (
    Metric("accuracy", "labels", True, "share of rows whose class is right", _accuracy),
    Metric(
        "balanced_accuracy",
        "labels",
        True,
        "mean over the classes of the share that is right",
        _balanced_accuracy,
    ),
    Metric("f1", "labels", True, "F1 score of each class, averaged (macro)", _f1),
    Metric("log_loss", "probabilities", False, "mean of -log of the right class's probability", _log_loss),
    Metric(
        "roc_auc",
        "probabilities",
        True,
        "area under the ROC curve; one against the rest",
        _one_against_rest(_roc_auc),
    ),
    Metric(
        "average_precision",
        "probabilities",
        True,
        "mean precision over the recalls; one against the rest",
        _one_against_rest(_average_precision),
    ),
    Metric("brier", "probabilities", False, "mean squared error of the probabilities", _brier),
    Metric(
        "calibration_error", "probabilities", False, "expected calibration error, 15 bins", _calibration_error
    ),
    Metric("rmse", "values", False, "root mean squared error, averaged over targets", _rmse),
    Metric("mae", "values", False, "mean absolute error", _mae),
    Metric("r2", "values", True, "1 - squared error / variance, averaged over targets", _r2),
    Metric(
        "pinball",
        "values",
        False,
        "pinball loss of the quantile trained for, else of the median",
        pinball(0.5),
    ),
    Metric("mape", "values", False, "mean absolute error relative to the target", _mape),
)
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""All metrics by name."""

OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "auc": "roc_auc",
        "ap": "average_precision",
        "ece": "calibration_error",
        "logloss": "log_loss",
        "f1_macro": "f1",
    }
)
"""Common short names."""


def metric(name: str) -> Metric:
    """The metric called ``name``, or by a common short name; InputError for an unknown one."""
    if not isinstance(name, str):
        raise InputError(f"a metric is given by its name, such as roc_auc, not {name!r}")
    full_name = OTHER_NAMES.get(name, name)
    if full_name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[full_name]


def lower_is_better(name: str) -> float:
    """The factor that turns a metric (or "loss") so that lower is better: 1 or -1."""
    return -1.0 if name != "loss" and metric(name).higher_is_better else 1.0


def named_metrics(
    names: Iterable[str],
    targets: Array,
    *,
    labels: Array | None = None,
    probabilities: Array | None = None,
    values: Array | None = None,
    quantile: float | None = None,
) -> dict[str, float]:
    """The metrics called ``names``, in this order; ``quantile`` is that of ``pinball`` (None: the median's).

    Raises InputError for an unknown metric, and for one of another kind of task, or of a model without probabilities.
    """
    given = {"labels": labels, "probabilities": probabilities, "values": values}
    results: dict[str, float] = {}
    with np.errstate(all="ignore"):
        for name in names:
            item = metric(name)
            predictions = given[item.takes]
            if predictions is None:
                usable = [known.name for known in _ALL if given[known.takes] is not None]
                raise InputError(
                    f"metric {name!r} needs {item.takes}, which this model does not give; use one of "
                    f"{', '.join(usable)}"
                )
            compute = pinball(quantile) if item.name == "pinball" and quantile is not None else item.compute
            results[item.name] = compute(np.asarray(predictions), np.asarray(targets))
    return results
