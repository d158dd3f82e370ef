"""Calibration of probabilities: of the predictions with 80 % confidence, are 80 % right?"""

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
    """Reliability by bins of confidence (the probability of the predicted class).

    ``edges`` [bins + 1] bound the bins. ``confidence`` and ``right`` [bins] are means (NaN for empty bins),
    ``counts`` [bins] numbers of rows. ``error`` is the expected calibration error: the mean over rows of |right -
    confidence| of their bin (Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017). ``chance`` is its 95 % quantile if
    all probabilities were right (resampling, Broecker and Smith 2007). ``temperature`` is the divisor of the logits
    with the best fit.
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
    """The calibration of probabilities [rows, classes] against true classes [rows]; None for too few rows or NaN."""
    if len(classes) < FEWEST_ROWS or not np.isfinite(probabilities).all():
        return None
    confidences = np.clip(probabilities.max(axis=1), 0, 1)
    hits = probabilities.argmax(axis=1) == classes
    edges = np.linspace(0, 1, BINS + 1)
    bins = np.clip((confidences * BINS).astype(int), 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bins, confidences, BINS) / counts
        right = np.bincount(bins, hits, BINS) / counts
    random = np.random.default_rng(0)
    chances = [_error(bins, confidences, random.random(len(confidences)) < confidences) for _ in range(DRAWS)]
    return Calibration(
        edges,
        confidence,
        right,
        counts,
        _error(bins, confidences, hits),
        float(np.quantile(chances, 0.95)),
        best_temperature(probabilities, classes),
    )


def _error(bins: npt.NDArray[Any], confidences: Floats, hits: npt.NDArray[Any]) -> float:
    return float(np.abs(np.bincount(bins, hits - confidences, BINS)).sum()) / len(confidences)


def best_temperature(probabilities: Floats, classes: npt.NDArray[Any]) -> float:
    """The temperature with the lowest negative log-likelihood (Guo et al. 2017), from a fixed list."""
    return float(
        TEMPERATURES[
            int(np.argmin([_negative_log_likelihood(probabilities, classes, t) for t in TEMPERATURES]))
        ]
    )


def _negative_log_likelihood(probabilities: Floats, classes: npt.NDArray[Any], temperature: float) -> float:
    logs = np.log(np.maximum(probabilities, 1e-30)) / temperature
    logs -= logs.max(axis=1, keepdims=True)
    true_logs = logs[np.arange(len(logs)), classes]
    return float((np.log(np.exp(logs).sum(axis=1)) - true_logs).mean())


def temperature_trial(probabilities: Floats, classes: npt.NDArray[Any], seconds: float = 0.0) -> Trial:
    """Fit the temperature on a random half of the rows and score the likelihood on the other, for several splits."""
    before, after = [], []
    for seed in range(HALVES):
        order = np.random.default_rng(seed).permutation(len(classes))
        fit, score = np.array_split(order, 2)
        temperature = best_temperature(probabilities[fit], classes[fit])
        before.append(_negative_log_likelihood(probabilities[score], classes[score], 1.0))
        after.append(_negative_log_likelihood(probabilities[score], classes[score], temperature))
    helped = all(old > new for old, new in zip(before, after, strict=True))
    sides = ("original probabilities", "with one temperature for all")
    seeds = tuple(range(HALVES))
    return Trial(seeds, "nll", tuple(before), tuple(after), helped, seconds, "lower", "proof", sides=sides)
