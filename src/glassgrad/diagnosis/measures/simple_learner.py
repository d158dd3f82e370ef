"""A simple learner beside the network: what can be said of the targets without training one.

Least squares on the inputs and on random features of them, in closed form, so that no setting of the training can
spoil it. It is no competitor: where it does clearly better than the network, something holds the network back.
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
"""Ridge penalties per row, of which generalized cross-validation (Golub, Heath and Wahba 1979) takes one."""


@dataclass(frozen=True)
class SimpleLearner:
    """How well least squares on random features predicts the held-out rows.

    ``left`` is the share of the constant predictor's mistakes (classes) or variance (numbers) that it leaves.
    ``signal`` is the correlation of what it says with the truth, in units of what chance gives, on one half of the
    training rows after fitting the other: below 3 there is no telling that the inputs have to do with the targets.
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
    x, other = flat(train[0][rows], held[0][others])
    x, other = _features(x, other, random)
    y, truth = (_columns(part, classes) for part in (train[1][rows], held[1][others]))
    middle = y.mean(axis=0)
    said = ridge(x, y - middle, other) + middle
    error = truth - said
    half = len(x) // 2
    signal = _signal(ridge(x[:half], y[:half] - y[:half].mean(axis=0), x[half:]), y[half:])
    if classes is None:
        left = float((error**2).sum()) / max(float(((truth - middle) ** 2).sum()), 1e-300)
    else:
        wrong = float(np.mean(said.argmax(axis=1) != truth.argmax(axis=1)))
        left = wrong / max(float(np.mean(truth.argmax(axis=1) != middle.argmax())), 1e-300)
    return SimpleLearner(left, signal, len(others))


def _signal(said: Floats, truth: Floats) -> float:
    """The correlation of both [rows, n], in standard errors."""
    centred, moves = truth - truth.mean(axis=0), said - said.mean(axis=0)
    norms = math.sqrt(float((centred**2).sum()) * float((moves**2).sum()))
    return float((centred * moves).sum()) / norms * math.sqrt(len(truth)) if norms > 0 else 0.0


def ridge(x: Floats, y: Floats, other: Floats) -> Floats:
    """Ridge regression of ``y`` [rows, n] (centred) on ``x``, applied to ``other``."""
    if x.shape[1] == 0:
        return np.zeros((len(other), y.shape[1]))
    middle = x.mean(axis=0)
    values, vectors = np.linalg.eigh((x - middle).T @ (x - middle))
    values = np.maximum(values, 0)
    turned, moment = (x - middle) @ vectors, vectors.T @ ((x - middle).T @ y)
    best, chosen = math.inf, moment * 0
    for penalty in PENALTIES:
        inner = values + penalty * len(x) / 1000
        weights = moment / inner[:, None]
        free = 1 - float((values / inner).sum()) / len(x)
        score = float(((y - turned @ weights) ** 2).mean()) / max(free, 1e-3) ** 2
        if score < best:
            best, chosen = score, weights
    found: Floats = (other - middle) @ (vectors @ chosen)
    return found


def _features(x: Floats, other: Floats, random: np.random.Generator) -> tuple[Floats, Floats]:
    """The inputs (projected, if there are many), and random units max(0, w x + b) of them."""
    if x.shape[1] > COLUMNS:
        project = random.standard_normal((x.shape[1], COLUMNS)) / math.sqrt(x.shape[1])
        x, other = x @ project, other @ project
    if x.shape[1] == 0:
        return x, other
    weights = random.standard_normal((x.shape[1], FEATURES)) * math.sqrt(2 / x.shape[1])
    bias = random.standard_normal(FEATURES)
    made = (np.hstack([part, np.maximum(part @ weights + bias, 0)]) for part in (x, other))
    first, second = made
    return first, second


def _columns(targets: Array, classes: int | None) -> Floats:
    if classes is None:
        return np.asarray(targets, np.float64).reshape(len(targets), -1)
    found: Floats = np.eye(classes)[np.asarray(targets)]
    return found


def _some(random: np.random.Generator, rows: int, most: int) -> Any:
    return np.arange(rows) if rows <= most else np.sort(random.permutation(rows)[:most])
