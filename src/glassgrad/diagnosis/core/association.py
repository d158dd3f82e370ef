"""How much of the targets inputs explain one by one, and whether that is more than chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glassgrad.backends.base import Array

Floats = npt.NDArray[np.float64]

ROWS = 2000
DEALS = 100
FARTHEST = 5.0
"""Scaled inputs are cut here: one outlier must not make the fit."""


def flat(train: Array, held: Array) -> tuple[Floats, Floats]:
    """Rows as flat float64, scaled by the training rows; constant columns left out, outliers cut."""
    x, other = (np.asarray(part, np.float64).reshape(len(part), -1) for part in (train, held))
    middle, spread = x.mean(axis=0), x.std(axis=0)
    used = spread > 1e-9 * np.maximum(np.abs(middle), 1e-12)
    x, other = ((part[:, used] - middle[used]) / spread[used] for part in (x, other))
    return np.clip(x, -FARTHEST, FARTHEST), np.clip(other, -FARTHEST, FARTHEST)


def basis(values: Array) -> Floats:
    """An orthonormal basis [rows, rank] of columns without their means; [rows, 0] of columns that do not vary."""
    columns = np.asarray(values, np.float64).reshape(len(values), -1)
    left, sizes, _ = np.linalg.svd(columns - columns.mean(axis=0), full_matrices=False)
    found: Floats = left[:, sizes > 1e-6 * max(float(np.abs(columns).max(initial=0.0)), 1e-300)]
    return found


def truth_basis(targets: Array, classes: int | None) -> Floats:
    """The same of quantities [rows, n], or of the indicators of classes [rows]."""
    if classes is None:
        return basis(targets)
    return basis(targets[:, None] == np.unique(targets))


def explained(own: Floats, truth: Floats) -> float:
    """The sum of the squared canonical correlations of two bases, times the rows.

    It is distributed as chi squared where both are independent, with as many degrees as both ranks multiplied
    (K. Pillai, Some new test criteria in multivariate analysis, 1955).
    """
    return len(own) * float(((own.T @ truth) ** 2).sum())


def signal_of_one_input(features: Array, targets: Array, classes: int | None) -> float:
    """What the best single input explains, in standard deviations beyond what the best one does after the targets
    were dealt anew (P. Westfall and S. Young, Resampling-based multiple testing, 1993)."""
    random = np.random.default_rng(0)
    rows = random.permutation(len(features))[:ROWS]
    inputs, _ = flat(features[rows], features[:1])
    inputs = inputs - inputs.mean(axis=0)
    inputs /= np.maximum(np.sqrt((inputs**2).sum(axis=0)), 1e-300)
    truth = truth_basis(targets[rows], classes)

    def best(truth: Floats) -> float:
        return float(((inputs.T @ truth) ** 2).sum(axis=1).max(initial=0.0))

    dealt = np.array([best(random.permutation(truth)) for _ in range(DEALS)])
    return (best(truth) - float(dealt.mean())) / max(float(dealt.std()), 1e-300)
