"""What the kinds about the size of the step share: the evidence, and other rates to try."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention
from glassgrad.diagnosis.core.judging import GAIN, LARGE_GAIN
from glassgrad.diagnosis.learning_rate.measurement import LearningRate

TOO_HIGH = GAIN
"""A rate is too high if a lower one wins this share of the way more on training rows: what its trial has to win."""

TOO_LOW = 0.8 * LARGE_GAIN
"""A rate is too low if a higher one wins this share more in as many steps; its trial has to win LARGE_GAIN."""

SWING = 0.02
"""A loss oscillates if in the second half it rises by this share of the way per epoch, over the epochs that fall too.
A loss that settles rises by a tenth of that."""


def rate_evidence(m: LearningRate) -> dict[str, Any]:
    """The numbers that every suspicion about the rate shows."""
    evidence: dict[str, Any] = {
        "learning_rate": m.rate,
        "training_loss": m.pace.end,
        "constant_loss": m.constant,
    }
    if m.stable is not None:
        evidence["largest_stable_step"] = m.stable.rate
        evidence["largest_stable_step_interval"] = list(m.stable.interval)
    if "start" in m.curvature:
        evidence["curvature_bound"] = m.curvature["start"].bound
    if m.range is not None:
        evidence["best_rate_of_short_runs"] = m.range.best
        evidence["steps_of_short_runs"] = m.range.steps
    if m.ratios:
        evidence["update_to_weight"] = float(np.median(list(m.ratios.values())))
    return evidence


def other_rates(m: LearningRate, *, lower: bool) -> list[Intervention]:
    """Rates on one side of the given one: what did best in whole runs, in short runs, and a tenth or tenfold."""
    wanted: list[float] = []
    if m.sweep is not None:
        scores = np.median(m.sweep.validation, axis=1)
        side = m.sweep.rates < 0.8 * m.rate if lower else m.sweep.rates > 1.25 * m.rate
        if np.isfinite(np.where(side, scores, np.inf)).any():
            wanted.append(float(m.sweep.rates[int(np.argmin(np.where(side, scores, np.inf)))]))
    if m.range is not None:
        scores = m.range.means
        side = m.range.rates < 0.8 * m.rate if lower else m.range.rates > 1.25 * m.rate
        if np.isfinite(np.where(side, scores, np.inf)).any():
            best = float(m.range.rates[int(np.argmin(np.where(side, scores, np.inf)))])
            wanted += [best, best / 10] if lower else [best, best / 3]
    if m.rate > 0:
        wanted.append(m.rate / 10 if lower else m.rate * 10)
    if (m.usual < m.rate) == lower:
        wanted.append(m.usual)
    rates: list[float] = []
    for rate in wanted:
        right_side = rate < m.rate if lower else rate > m.rate
        if right_side and all(abs(math.log(rate / known)) > 0.3 for known in rates):
            rates.append(float(f"{rate:.3g}"))
    return [Intervention({"learning_rate": rate}, f"Set the learning rate to {rate:g}.") for rate in rates]


def times(factor: float) -> str:
    """``factor`` as in "3.2 times", to two digits."""
    digits = max(1 - math.floor(math.log10(factor)), 0) if 0 < factor < math.inf else 0
    rounded = float(f"{factor:.2g}")
    return f"{rounded:,.{min(digits, 2)}f} times"
