"""The largest stable step, by experiment: several seeds are driven to divergence, and the edge is bisected."""

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
"""Bisections of a bracket of half a decade: the edge is then known to 7 %."""

LEARNS = 0.1
"""A run is stable if it wins at least this share of what the best rate wins over the start, or over the best
constant guess. Above the edge the loss of a quadratic grows with every step; a network may also end as a constant,
which is no better."""

DECADES = 6
"""How far above a rate that learns the edge is sought."""


@frozen
class StableStep:
    """``limits`` [seeds, 2]: the largest rate at which each seed still learned, and the smallest at which it did not.

    ``steps`` is the length of the runs. An upper limit is Inf where no rate tried was too large.
    """

    limits: Floats
    steps: int

    @property
    def interval(self) -> tuple[float, float]:
        """From the largest rate that is stable for every seed to the smallest that is for none."""
        return float(self.limits[:, 0].min()), float(self.limits[:, 1].max())

    @property
    def rate(self) -> float:
        """The largest stable step: the geometric mean over the seeds of the middles of their brackets."""
        low, high = self.limits.T
        return float(np.exp(np.log(np.where(np.isfinite(high), np.sqrt(low * high), low)).mean()))

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(
            {"rate": self.rate, "interval": self.interval, "limits": self.limits, "steps": self.steps}
        )


def stable_step(
    runs: ShortRuns, seeds: Sequence[int], start: float, bar: float, steps: int, rounds: int = ROUNDS
) -> StableStep | None:
    """Bisect between ``start``, a rate that learns, and the smallest half decade above it that does not.

    ``bar`` is the loss to beat. Runs have ``steps`` steps; the last quarter of their losses counts. None where
    no rate down to three decades below ``start`` learns.
    """
    for _ in range(DECADES):
        typical = float(np.median([_end(losses) for losses in runs.losses([start], seeds, steps)[0]]))
        if typical < bar:
            break
        start /= math.sqrt(10)
    else:
        return None
    best = np.full(len(seeds), typical)
    low, high = np.full(len(seeds), start), np.full(len(seeds), math.inf)
    for _ in range(2 * DECADES):
        open_ = [i for i in range(len(seeds)) if math.isinf(high[i])]
        if not open_:
            break
        factor = math.sqrt(10)
        ends = _ends(runs, [(low[i] * factor, seeds[i]) for i in open_], steps)
        for i, end in zip(open_, ends, strict=True):
            best[i] = min(best[i], end)
            if _learns(end, bar, best[i]):
                low[i] *= factor
            else:
                high[i] = low[i] * factor
    for _ in range(rounds):
        known = [i for i in range(len(seeds)) if math.isfinite(high[i])]
        if not known:
            break
        middles = np.sqrt(low * high)
        ends = _ends(runs, [(middles[i], seeds[i]) for i in known], steps)
        for i, end in zip(known, ends, strict=True):
            (low if _learns(end, bar, best[i]) else high)[i] = middles[i]
    return StableStep(np.stack([low, high], axis=1), steps)


def _learns(end: float, bar: float, best: float) -> bool:
    return end <= bar - LEARNS * (bar - best)


def _ends(runs: ShortRuns, pairs: Sequence[tuple[float, int]], steps: int) -> list[float]:
    return [_end(losses) for losses in runs.runs(pairs, steps)]


def _end(losses: Floats) -> float:
    return float(losses[-max(len(losses) // 4, 1) :].mean())
