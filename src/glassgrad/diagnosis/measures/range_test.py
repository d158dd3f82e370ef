"""The range test: the loss that a short run ends with, against the learning rate.

L. Smith, Cyclical learning rates for training neural networks, WACV 2017, proposed one run of growing rate; here
every rate has a run of its own, from the same starts, so that one does not spoil the next.
"""

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

LAST = 0.1
"""The share of the steps whose losses are averaged at the end."""

EXTENSIONS = 4
"""So many times the rates are extended by a decade where the best is the lowest or the highest of them."""


@frozen
class RangeTest:
    """``curves`` [rates, seeds, points] are the mean losses of equal parts of a run, ``losses`` [rates, seeds]
    those of its end: Inf where it met NaN or Inf. ``rates`` rise; ``points`` are the steps at the ends of the parts.
    """

    rates: Floats
    losses: Floats
    curves: Floats
    points: Floats
    steps: int
    batch: int

    @property
    def means(self) -> Floats:
        """The loss of each rate at the end: the median over the seeds."""
        found: Floats = np.median(self.losses, axis=1)
        return found

    @property
    def best(self) -> float:
        """The rate of the lowest loss."""
        return float(self.rates[int(np.argmin(self.means))])

    def loss(self, rate: float) -> float:
        """The loss at one of the rates."""
        return float(self.means[int(np.argmin(np.abs(np.log(self.rates / rate))))])

    def curve(self, rate: float) -> Floats:
        """The mean losses of the parts of a run at one of the rates [points]."""
        place = int(np.argmin(np.abs(np.log(self.rates / rate))))
        found: Floats = np.median(self.curves[place], axis=0)
        return found

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(
            {
                "rates": self.rates,
                "losses": self.losses,
                "best": self.best,
                "steps": self.steps,
                "batch": self.batch,
            }
        )


def usual_rates(given: float, default: float) -> list[float]:
    """1, 3, 10, 30 ... from a hundredth of ``default`` to its thousandfold, and ``given``; all above 0."""
    low, high = math.log10(default) - 2, math.log10(default) + 3
    found = rates_between(low, high)
    if given > 0:
        found = [rate for rate in found if abs(math.log(rate / given)) > 0.3] + [given]
    return sorted(found)


def rates_between(low: float, high: float) -> list[float]:
    """1 and 3 times the powers of ten, from 10 ** ``low`` to 10 ** ``high``."""
    found = [
        factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in (1.0, 3.0)
    ]
    return [float(f"{rate:.3g}") for rate in found if low - 1e-6 <= math.log10(rate) <= high + 1e-6]


def range_test(runs: ShortRuns, rates: Sequence[float], seeds: Sequence[int], steps: int) -> RangeTest:
    """Short runs of ``steps`` steps; ``rates`` are extended while the best is at an end of them, or all diverge."""
    found = dict(zip(rates, runs.losses(rates, seeds, steps), strict=True))
    ends = {rate: _end(losses) for rate, losses in found.items()}
    for _ in range(EXTENSIONS):
        ordered = sorted(found)
        scores = [ends[rate] for rate in ordered]
        place = int(np.argmin(scores))
        if not math.isfinite(scores[place]) or place == 0:
            bottom = math.log10(ordered[0])
            added = rates_between(bottom - 1, bottom - 0.2)
        elif place == len(ordered) - 1:
            top = math.log10(ordered[-1])
            added = rates_between(top + 0.2, top + 1)
        else:
            break
        if not 1e-12 <= min(added) <= max(added) <= 1e9:
            break
        found |= dict(zip(added, runs.losses(added, seeds, steps), strict=True))
        ends |= {rate: _end(found[rate]) for rate in added}
    ordered = sorted(found)
    losses = np.array([found[rate] for rate in ordered])
    parts = np.array_split(np.arange(steps), min(steps, 40))
    curves = np.stack([losses[:, :, part].mean(axis=2) for part in parts], axis=2)
    points = np.array([part[-1] + 1.0 for part in parts])
    return RangeTest(np.array(ordered), _tail(losses), curves, points, steps, runs.batch)


def _tail(losses: Floats) -> Floats:
    count = max(round(LAST * losses.shape[-1]), min(3, losses.shape[-1]))
    found: Floats = losses[..., -count:].mean(axis=-1)
    return found


def _end(losses: Floats) -> float:
    """The loss of one rate at the end, from [seeds, steps]."""
    return float(np.median(_tail(losses)))
