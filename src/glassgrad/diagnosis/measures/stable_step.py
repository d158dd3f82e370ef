"""The largest stable step, by experiment: raise the rate until each seed diverges, then bisect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.measures.short_runs import ShortRuns

Floats = npt.NDArray[np.float64]

ROUNDS = 4
"""Number of bisections of a bracket of half a decade, which locate the edge within 7 %."""

LEARNS = 0.1
"""A run is stable if its gain over the start or the baseline is at least this share of the best rate's gain. Above
the edge the loss of a quadratic grows with every step, while a network may also collapse to a constant."""

DECADES = 6
"""Decades above a rate that learns in which the edge is searched."""


@frozen
class StableStep:
    """``limits`` [seeds, 2]: for each seed the largest rate that learned, and the smallest rate that did not.

    ``steps`` is the length of the runs. An upper limit is Inf if every rate learned.
    """

    limits: Floats
    steps: int

    @property
    def interval(self) -> tuple[float, float]:
        """The largest rate that is stable for every seed, and the smallest that is stable for none."""
        return float(self.limits[:, 0].min()), float(self.limits[:, 1].max())

    @property
    def rate(self) -> float:
        """The largest stable step: the geometric mean of the brackets' midpoints over the seeds."""
        low, high = self.limits.T
        return float(np.exp(np.log(np.where(np.isfinite(high), np.sqrt(low * high), low)).mean()))

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(
            {"rate": self.rate, "interval": self.interval, "limits": self.limits, "steps": self.steps}
        )


def stable_step(
    runs: ShortRuns, seeds: Sequence[int], start: float, threshold: float, steps: int, rounds: int = ROUNDS
) -> StableStep | None:
    """Bisect between ``start``, a rate that learns, and the first half decade above it that does not.

    ``threshold`` is the loss to beat. Runs have ``steps`` steps, and the last quarter of their losses counts. None if
    no rate down to three decades below ``start`` learns.
    """
    for _ in range(DECADES):
        typical = float(np.median([_end(losses) for losses in runs.losses([start], seeds, steps)[0]]))
        if typical < threshold:
            break
        start /= math.sqrt(10)
    else:
        return None
    best = np.full(len(seeds), typical)
    low, high = np.full(len(seeds), start), np.full(len(seeds), math.inf)
    for _ in range(2 * DECADES):
        unbounded = [i for i in range(len(seeds)) if math.isinf(high[i])]
        if not unbounded:
            break
        factor = math.sqrt(10)
        ends = _ends(runs, [(low[i] * factor, seeds[i]) for i in unbounded], steps)
        for i, end in zip(unbounded, ends, strict=True):
            best[i] = min(best[i], end)
            if _learns(end, threshold, best[i]):
                low[i] *= factor
            else:
                high[i] = low[i] * factor
    for _ in range(rounds):
        bounded = [i for i in range(len(seeds)) if math.isfinite(high[i])]
        if not bounded:
            break
        middles = np.sqrt(low * high)
        ends = _ends(runs, [(middles[i], seeds[i]) for i in bounded], steps)
        for i, end in zip(bounded, ends, strict=True):
            (low if _learns(end, threshold, best[i]) else high)[i] = middles[i]
    return StableStep(np.stack([low, high], axis=1), steps)


def _learns(end: float, threshold: float, best: float) -> bool:
    return end <= threshold - LEARNS * (threshold - best)


def _ends(runs: ShortRuns, pairs: Sequence[tuple[float, int]], steps: int) -> list[float]:
    return [_end(losses) for losses in runs.runs(pairs, steps)]


def _end(losses: Floats) -> float:
    return float(losses[-max(len(losses) // 4, 1) :].mean())
