"""The learning rate range test: the final loss of a short run, by learning rate.

L. Smith, Cyclical learning rates for training neural networks, WACV 2017, proposed one run with a growing rate. Here
every rate has its own run from the same initial weights, so that the rates do not influence each other.
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
"""The share of the steps, at the end of a run, whose losses are averaged."""

EXTENSIONS = 4
"""Number of times the rates are extended by a decade while the best one is the lowest or the highest."""


@frozen
class RangeTest:
    """The results of a range test.

    ``rates`` are ascending. ``curves`` [rates, seeds, points] are the mean losses of equal parts of a run, and
    ``losses`` [rates, seeds] the final losses: Inf if the run met NaN or Inf. ``points`` are the steps at the ends of
    the parts.
    """

    rates: Floats
    losses: Floats
    curves: Floats
    points: Floats
    steps: int
    batch: int

    @property
    def means(self) -> Floats:
        """The final loss at each rate: the median over the seeds."""
        medians: Floats = np.median(self.losses, axis=1)
        return medians

    @property
    def best(self) -> float:
        """The rate with the lowest final loss."""
        return float(self.rates[int(np.argmin(self.means))])

    def loss(self, rate: float) -> float:
        """The final loss at the tested rate nearest to ``rate``."""
        return float(self.means[int(np.argmin(np.abs(np.log(self.rates / rate))))])

    def curve(self, rate: float) -> Floats:
        """The mean losses [points] of the parts of a run at the tested rate nearest to ``rate``."""
        index = int(np.argmin(np.abs(np.log(self.rates / rate))))
        curve: Floats = np.median(self.curves[index], axis=0)
        return curve

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
    """Rates 1, 3, 10, 30 ... from ``default`` / 100 to ``default`` * 1000, and the user's rate ``given`` if > 0."""
    low, high = math.log10(default) - 2, math.log10(default) + 3
    rates = rates_between(low, high)
    if given > 0:
        rates = [rate for rate in rates if abs(math.log(rate / given)) > 0.3] + [given]
    return sorted(rates)


def rates_between(low: float, high: float) -> list[float]:
    """1 and 3 times the powers of ten, from 10 ** ``low`` to 10 ** ``high``."""
    rates = [
        factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in (1.0, 3.0)
    ]
    return [float(f"{rate:.3g}") for rate in rates if low - 1e-6 <= math.log10(rate) <= high + 1e-6]


def range_test(runs: ShortRuns, rates: Sequence[float], seeds: Sequence[int], steps: int) -> RangeTest:
    """Short runs of ``steps`` steps. ``rates`` are extended while the best one is at an end, or all diverge."""
    losses_by_rate = dict(zip(rates, runs.losses(rates, seeds, steps), strict=True))
    ends = {rate: _end(losses) for rate, losses in losses_by_rate.items()}
    for _ in range(EXTENSIONS):
        ordered = sorted(losses_by_rate)
        scores = [ends[rate] for rate in ordered]
        index = int(np.argmin(scores))
        if not math.isfinite(scores[index]) or index == 0:
            bottom = math.log10(ordered[0])
            added = rates_between(bottom - 1, bottom - 0.2)
        elif index == len(ordered) - 1:
            top = math.log10(ordered[-1])
            added = rates_between(top + 0.2, top + 1)
        else:
            break
        if not 1e-12 <= min(added) <= max(added) <= 1e9:
            break
        losses_by_rate |= dict(zip(added, runs.losses(added, seeds, steps), strict=True))
        ends |= {rate: _end(losses_by_rate[rate]) for rate in added}
    ordered = sorted(losses_by_rate)
    losses = np.array([losses_by_rate[rate] for rate in ordered])
    parts = np.array_split(np.arange(steps), min(steps, 40))
    curves = np.stack([losses[:, :, part].mean(axis=2) for part in parts], axis=2)
    points = np.array([part[-1] + 1.0 for part in parts])
    return RangeTest(np.array(ordered), _tail(losses), curves, points, steps, runs.batch)


def _tail(losses: Floats) -> Floats:
    count = max(round(LAST * losses.shape[-1]), min(3, losses.shape[-1]))
    means: Floats = losses[..., -count:].mean(axis=-1)
    return means


def _end(losses: Floats) -> float:
    """The final loss at one rate, from ``losses`` [seeds, steps]."""
    return float(np.median(_tail(losses)))
