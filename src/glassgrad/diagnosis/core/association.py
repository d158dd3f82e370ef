"""How much single inputs explain of the targets, and whether that is more than chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glassgrad.backends.base import Array

Floats = npt.NDArray[np.float64]

ROWS = 2000
SHUFFLES = 100
FARTHEST = 5.0
"""Scaled inputs are clipped to this magnitude, so that one outlier cannot dominate the fit."""


def flat(train: Array, held: Array) -> tuple[Floats, Floats]:
    """Flat float64 rows [rows, columns], standardized by the training rows, without constant columns, clipped."""
    x, x_held = (np.asarray(part, np.float64).reshape(len(part), -1) for part in (train, held))
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    varies = deviation > 1e-9 * np.maximum(np.abs(mean), 1e-12)
    x, x_held = ((part[:, varies] - mean[varies]) / deviation[varies] for part in (x, x_held))
    return np.clip(x, -FARTHEST, FARTHEST), np.clip(x_held, -FARTHEST, FARTHEST)


def basis(values: Array) -> Floats:
    """An orthonormal basis [rows, rank] of the centred columns; [rows, 0] if no column varies."""
    columns = np.asarray(values, np.float64).reshape(len(values), -1)
    left, sizes, _ = np.linalg.svd(columns - columns.mean(axis=0), full_matrices=False)
    vectors: Floats = left[:, sizes > 1e-6 * max(float(np.abs(columns).max(initial=0.0)), 1e-300)]
    return vectors


def truth_basis(targets: Array, classes: int | None) -> Floats:
    """``basis`` of the targets: quantities [rows, n], or class numbers [rows] as indicator columns."""
    if classes is None:
        return basis(targets)
    return basis(targets[:, None] == np.unique(targets))


def explained(inputs: Floats, truth: Floats) -> float:
    """The sum of the squared canonical correlations of two bases, times the number of rows.

    If the two are independent, it is distributed as chi squared with rank * rank degrees of freedom (K. Pillai, Some
    new test criteria in multivariate analysis, 1955).
    """
    return len(inputs) * float(((inputs.T @ truth) ** 2).sum())


def signal_of_one_input(features: Array, targets: Array, classes: int | None) -> float:
    """What the best single input explains, in standard deviations above what the best one explains of shuffled
    targets (P. Westfall and S. Young, Resampling-based multiple testing, 1993)."""
    random = np.random.default_rng(0)
    rows = random.permutation(len(features))[:ROWS]
    inputs, _ = flat(features[rows], features[:1])
    inputs = inputs - inputs.mean(axis=0)
    inputs /= np.maximum(np.sqrt((inputs**2).sum(axis=0)), 1e-300)
    truth = truth_basis(targets[rows], classes)

    def best(truth: Floats) -> float:
        return float(((inputs.T @ truth) ** 2).sum(axis=1).max(initial=0.0))

    shuffled = np.array([best(random.permutation(truth)) for _ in range(SHUFFLES)])
    return (best(truth) - float(shuffled.mean())) / max(float(shuffled.std()), 1e-300)
