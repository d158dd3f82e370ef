"""Are training and test rows drawn alike? Asked of the features alone: test targets are never looked at."""

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
"""Parts that are told apart less often than this, by one of the draws, are drawn alike for all that matters."""


@frozen
class TwoParts:
    """Training and test features compared, on equally many rows of each.

    ``auc`` is how often a simple classifier, fitted on one half of the rows, puts a test row of the other half above
    a training row: 0.5 where they are drawn alike (the classifier two-sample test, Lopez-Paz and Oquab 2017).
    ``chance`` is the standard error of that. ``differences`` [inputs] are those of the means, in standard
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
    """Compare prepared features [rows, ...]; None of too few rows."""
    count = min(len(train), len(test), ROWS)
    if count < FEWEST_ROWS:
        return None
    one, other = _rows(train, test, count, 0)
    spread = one.std(axis=0)
    with np.errstate(all="ignore"):
        moved = np.where(spread > 0, (other.mean(axis=0) - one.mean(axis=0)) / spread, 0.0)
    x, named = _squares(one, other)
    return TwoParts(_auc(x, named, 0), float(np.sqrt(1 / (6 * (count // 2)))), moved, count)


def parts_trial(train: Array, test: Array, seconds: float = 0.0) -> Trial:
    """The same for several draws, beside rows whose names were dealt out anew."""
    before, after = [], []
    count = min(len(train), len(test), ROWS)
    for seed in range(SPLITS):
        x, named = _squares(*_rows(train, test, count, seed))
        dealt = np.random.default_rng(seed).permutation(named)
        before.append(_auc(x, dealt, seed))
        after.append(_auc(x, named, seed))
    apart = min(after) > max(*before, LEAST)
    sides = ("with the names of the parts dealt anew", "as they are")
    seeds = tuple(range(SPLITS))
    return Trial(seeds, "auc", tuple(before), tuple(after), apart, seconds, "higher", "proof", sides=sides)


def _rows(train: Array, test: Array, count: int, seed: int) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    sides = [part[np.sort(random.permutation(len(part))[:count])] for part in (train, test)]
    one, other = (np.asarray(side, np.float64).reshape(count, -1) for side in sides)
    return one, other


def _squares(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Inputs and their squares, so that another spread shows as well as another mean; and which part it is."""
    x = np.vstack([one, other])
    spread = x.std(axis=0)
    x = np.clip((x - x.mean(axis=0))[:, spread > 0] / spread[spread > 0], -FARTHEST, FARTHEST)
    if x.shape[1] > COLUMNS:
        x = x @ (np.random.default_rng(0).standard_normal((x.shape[1], COLUMNS)) / np.sqrt(x.shape[1]))
    return np.hstack([x, x**2]), np.repeat([0.0, 1.0], len(one))


def _auc(x: Floats, named: Floats, seed: int) -> float:
    """The area under the curve on one half of a classifier fitted on the other: by ranks (Mann and Whitney 1947)."""
    order = np.random.default_rng(seed).permutation(len(x))
    fit, score = np.array_split(order, 2)
    said = ridge(x[fit], (named[fit] - named[fit].mean())[:, None], x[score])[:, 0]
    ranks = np.empty(len(score))
    ranks[np.argsort(said, kind="stable")] = np.arange(len(score))
    ones = named[score] == 1
    n, m = int(ones.sum()), int((~ones).sum())
    if n == 0 or m == 0 or np.ptp(said) == 0:
        return 0.5
    return float((ranks[ones].sum() - n * (n - 1) / 2) / (n * m))
