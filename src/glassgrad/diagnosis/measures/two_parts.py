"""Do training and test rows have the same distribution? Only features are compared; test targets are never read."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.backends.base import Array
from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core.association import FARTHEST
from glassgrad.diagnosis.core.evidence import Trial
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.measures.simple_learner import ridge

Floats = npt.NDArray[np.float64]

ROWS = 1000
COLUMNS = 64
FEWEST_ROWS = 40
SPLITS = 5
LEAST = 0.55
"""The parts count as equal if the AUC of one of the draws is below this."""


@frozen
class TwoParts:
    """A comparison of training and test features, on ``rows`` rows of each.

    ``auc`` is the probability that a simple classifier, fitted on one half of the rows, scores a test row of the
    other half above a training row: 0.5 for equal distributions (the classifier two-sample test, Lopez-Paz and Oquab
    2017). ``chance`` is its standard error. ``differences`` [inputs] are the differences of the means, in standard
    deviations of the training rows.
    """

    auc: float
    chance: float
    differences: Floats
    rows: int

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(vars(self))


def two_parts(train: Array, test: Array) -> TwoParts | None:
    """Compare prepared features [rows, ...]; None for too few rows."""
    count = min(len(train), len(test), ROWS)
    if count < FEWEST_ROWS:
        return None
    x_train, x_test = _rows(train, test, count, 0)
    deviation = x_train.std(axis=0)
    with np.errstate(all="ignore"):
        differences = np.where(deviation > 0, (x_test.mean(axis=0) - x_train.mean(axis=0)) / deviation, 0.0)
    x, labels = _squares(x_train, x_test)
    return TwoParts(_auc(x, labels, 0), float(np.sqrt(1 / (6 * (count // 2)))), differences, count)


def parts_trial(train: Array, test: Array, seconds: float = 0.0) -> Trial:
    """The AUC for several draws of rows (``after``), and with shuffled labels of the parts (``before``)."""
    before, after = [], []
    count = min(len(train), len(test), ROWS)
    for seed in range(SPLITS):
        x, labels = _squares(*_rows(train, test, count, seed))
        shuffled = np.random.default_rng(seed).permutation(labels)
        before.append(_auc(x, shuffled, seed))
        after.append(_auc(x, labels, seed))
    differ = min(after) > max(*before, LEAST)
    sides = ("with shuffled labels of the parts", "with the true labels")
    seeds = tuple(range(SPLITS))
    return Trial(seeds, "auc", tuple(before), tuple(after), differ, seconds, "higher", "proof", sides=sides)


def _rows(train: Array, test: Array, count: int, seed: int) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    sides = [part[np.sort(random.permutation(len(part))[:count])] for part in (train, test)]
    x_train, x_test = (np.asarray(side, np.float64).reshape(count, -1) for side in sides)
    return x_train, x_test


def _squares(x_train: Floats, x_test: Floats) -> tuple[Floats, Floats]:
    """Inputs and their squares, which show differences of mean and variance, and labels 0 (train) and 1 (test)."""
    x = np.vstack([x_train, x_test])
    deviation = x.std(axis=0)
    x = np.clip((x - x.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0], -FARTHEST, FARTHEST)
    if x.shape[1] > COLUMNS:
        x = x @ (np.random.default_rng(0).standard_normal((x.shape[1], COLUMNS)) / np.sqrt(x.shape[1]))
    return np.hstack([x, x**2]), np.repeat([0.0, 1.0], len(x_train))


def _auc(x: Floats, labels: Floats, seed: int) -> float:
    """The AUC, on one half, of a classifier fitted on the other: by ranks (Mann and Whitney 1947)."""
    order = np.random.default_rng(seed).permutation(len(x))
    fit, score = np.array_split(order, 2)
    predicted = ridge(x[fit], (labels[fit] - labels[fit].mean())[:, None], x[score])[:, 0]
    ranks = np.empty(len(score))
    ranks[np.argsort(predicted, kind="stable")] = np.arange(len(score))
    ones = labels[score] == 1
    n, m = int(ones.sum()), int((~ones).sum())
    if n == 0 or m == 0 or np.ptp(predicted) == 0:
        return 0.5
    return float((ranks[ones].sum() - n * (n - 1) / 2) / (n * m))
