"""A simple learner as a reference for the network: predictions of the targets without training.

It is least squares on the inputs and on random features of them, in closed form, so it does not depend on any
training setting. If it does clearly better than the network, something holds the network back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.backends.base import Array
from glassgrad.diagnosis.core.association import flat
from glassgrad.diagnosis.core.plain import plain_object

Floats = npt.NDArray[np.float64]

ROWS = 2000
HELD_ROWS = 1000
COLUMNS = 256
FEATURES = 256
PENALTIES = (1e-3, 1e-1, 1e1, 1e3)
"""Candidate ridge penalties per row; generalized cross-validation (Golub, Heath and Wahba 1979) selects one."""


@dataclass(frozen=True)
class SimpleLearner:
    """The scores of least squares on random features.

    ``left`` is the share of the baseline's mistakes (classes) or variance (quantities) that remains on ``rows``
    held-out rows. ``signal`` is the correlation of predictions and truth on one half of the training rows after
    fitting the other, in standard errors: below 3, no relation of inputs and targets is detected.
    """

    left: float
    signal: float
    rows: int

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(vars(self))


def simple_learner(
    train: tuple[Array, Array], held: tuple[Array, Array], classes: int | None, seed: int = 0
) -> SimpleLearner:
    """Fit on some of the rows of ``train`` (features and targets as the network takes them), score on ``held``."""
    random = np.random.default_rng(seed)
    rows = random.permutation(len(train[0]))[:ROWS]
    others = _some(random, len(held[0]), HELD_ROWS)
    x, x_held = flat(train[0][rows], held[0][others])
    x, x_held = _features(x, x_held, random)
    y, truth = (_columns(part, classes) for part in (train[1][rows], held[1][others]))
    mean = y.mean(axis=0)
    predicted = ridge(x, y - mean, x_held) + mean
    error = truth - predicted
    half = len(x) // 2
    signal = _signal(ridge(x[:half], y[:half] - y[:half].mean(axis=0), x[half:]), y[half:])
    if classes is None:
        left = float((error**2).sum()) / max(float(((truth - mean) ** 2).sum()), 1e-300)
    else:
        wrong = float(np.mean(predicted.argmax(axis=1) != truth.argmax(axis=1)))
        left = wrong / max(float(np.mean(truth.argmax(axis=1) != mean.argmax())), 1e-300)
    return SimpleLearner(left, signal, len(others))


def _signal(predicted: Floats, truth: Floats) -> float:
    """The correlation of predictions and truth [rows, n], in standard errors."""
    centred_truth, centred = truth - truth.mean(axis=0), predicted - predicted.mean(axis=0)
    norms = math.sqrt(float((centred_truth**2).sum()) * float((centred**2).sum()))
    return float((centred_truth * centred).sum()) / norms * math.sqrt(len(truth)) if norms > 0 else 0.0


def ridge(x: Floats, y: Floats, queries: Floats) -> Floats:
    """Ridge regression of centred ``y`` [rows, n] on ``x`` [rows, m]; predictions for ``queries``."""
    if x.shape[1] == 0:
        return np.zeros((len(queries), y.shape[1]))
    mean = x.mean(axis=0)
    values, vectors = np.linalg.eigh((x - mean).T @ (x - mean))
    values = np.maximum(values, 0)
    rotated, moment = (x - mean) @ vectors, vectors.T @ ((x - mean).T @ y)
    best_score, best_weights = math.inf, moment * 0
    for penalty in PENALTIES:
        inner = values + penalty * len(x) / 1000
        weights = moment / inner[:, None]
        free = 1 - float((values / inner).sum()) / len(x)
        score = float(((y - rotated @ weights) ** 2).mean()) / max(free, 1e-3) ** 2
        if score < best_score:
            best_score, best_weights = score, weights
    predicted: Floats = (queries - mean) @ (vectors @ best_weights)
    return predicted


def _features(x: Floats, x_held: Floats, random: np.random.Generator) -> tuple[Floats, Floats]:
    """The inputs (projected if there are many) and random features max(0, w x + b), for both parts."""
    if x.shape[1] > COLUMNS:
        project = random.standard_normal((x.shape[1], COLUMNS)) / math.sqrt(x.shape[1])
        x, x_held = x @ project, x_held @ project
    if x.shape[1] == 0:
        return x, x_held
    weights = random.standard_normal((x.shape[1], FEATURES)) * math.sqrt(2 / x.shape[1])
    bias = random.standard_normal(FEATURES)
    x, x_held = (np.hstack([part, np.maximum(part @ weights + bias, 0)]) for part in (x, x_held))
    return x, x_held


def _columns(targets: Array, classes: int | None) -> Floats:
    if classes is None:
        return np.asarray(targets, np.float64).reshape(len(targets), -1)
    one_hot: Floats = np.eye(classes)[np.asarray(targets)]
    return one_hot


def _some(random: np.random.Generator, rows: int, most: int) -> Any:
    return np.arange(rows) if rows <= most else np.sort(random.permutation(rows)[:most])
