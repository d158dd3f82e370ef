"""Are the probabilities right: of what is said with 80 % confidence, is 80 % right?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core.evidence import Trial
from glassgrad.diagnosis.core.plain import plain_object

Floats = npt.NDArray[np.float64]

BINS = 10
DRAWS = 200
FEWEST_ROWS = 50
TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(20), 47))
HALVES = 5


@frozen
class Calibration:
    """Reliability by bins of confidence (the probability of the class decided for).

    ``edges`` [bins + 1]; ``confidence``, ``right`` and ``counts`` [bins] are means and numbers of rows (NaN of
    empty bins). ``error`` is the expected calibration error: the mean over rows of |right - confidence| of their bin
    (Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017). ``chance`` is what it stays below in 95 % of cases where
    all probabilities are right (resampling, Broecker and Smith 2007). ``temperature`` is what the logits divided by
    it fit best.
    """

    edges: Floats
    confidence: Floats
    right: Floats
    counts: npt.NDArray[np.int64]
    error: float
    chance: float
    temperature: float

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(vars(self))


def calibration(probabilities: Floats, classes: npt.NDArray[Any]) -> Calibration | None:
    """Of probabilities [rows, classes] and the true classes [rows]; None of too few rows, or no probabilities."""
    if len(classes) < FEWEST_ROWS or not np.isfinite(probabilities).all():
        return None
    sure = np.clip(probabilities.max(axis=1), 0, 1)
    hits = probabilities.argmax(axis=1) == classes
    edges = np.linspace(0, 1, BINS + 1)
    place = np.clip((sure * BINS).astype(int), 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, sure, BINS) / counts
        right = np.bincount(place, hits, BINS) / counts
    random = np.random.default_rng(0)
    chances = [_error(place, sure, random.random(len(sure)) < sure) for _ in range(DRAWS)]
    return Calibration(
        edges,
        confidence,
        right,
        counts,
        _error(place, sure, hits),
        float(np.quantile(chances, 0.95)),
        best_temperature(probabilities, classes),
    )


def _error(place: npt.NDArray[Any], sure: Floats, hits: npt.NDArray[Any]) -> float:
    return float(np.abs(np.bincount(place, hits - sure, BINS)).sum()) / len(sure)


def best_temperature(probabilities: Floats, classes: npt.NDArray[Any]) -> float:
    """The temperature of the least negative log-likelihood (Guo et al. 2017), of a fixed list."""
    return float(TEMPERATURES[int(np.argmin([_likelihood(probabilities, classes, t) for t in TEMPERATURES]))])


def _likelihood(probabilities: Floats, classes: npt.NDArray[Any], temperature: float) -> float:
    logs = np.log(np.maximum(probabilities, 1e-30)) / temperature
    logs -= logs.max(axis=1, keepdims=True)
    own = logs[np.arange(len(logs)), classes]
    return float((np.log(np.exp(logs).sum(axis=1)) - own).mean())


def temperature_trial(probabilities: Floats, classes: npt.NDArray[Any], seconds: float = 0.0) -> Trial:
    """The temperature fitted on one half of the rows, the likelihood scored on the other, for several halves."""
    before, after = [], []
    for seed in range(HALVES):
        order = np.random.default_rng(seed).permutation(len(classes))
        fit, score = np.array_split(order, 2)
        found = best_temperature(probabilities[fit], classes[fit])
        before.append(_likelihood(probabilities[score], classes[score], 1.0))
        after.append(_likelihood(probabilities[score], classes[score], found))
    helped = all(one > other for one, other in zip(before, after, strict=True))
    sides = ("as they are", "with one temperature for all")
    seeds = tuple(range(HALVES))
    return Trial(seeds, "nll", tuple(before), tuple(after), helped, seconds, "lower", "proof", sides=sides)
