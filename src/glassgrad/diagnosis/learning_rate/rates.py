"""Shared by the kinds about the size of the step: evidence, and other rates to try."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention
from glassgrad.diagnosis.core.judging import GAIN, LARGE_GAIN
from glassgrad.diagnosis.learning_rate.measurement import LearningRate

TOO_HIGH = GAIN
"""A rate is too high if a lower one gains this share of the gap on training rows, as its trial must."""

TOO_LOW = 0.8 * LARGE_GAIN
"""A rate is too low if a higher one gains this share of the gap in as many steps; its trial must gain LARGE_GAIN."""

SWING = 0.02
"""A loss oscillates if its mean rise per epoch in the second half is this share of the gap, where epochs that fall
count as 0. A converging loss has a tenth of that."""


def rate_evidence(m: LearningRate) -> dict[str, Any]:
    """The evidence for suspicions about the rate."""
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
    """Rates below or above the user's: the best of full runs, the best of short runs, and a factor of ten."""
    candidates: list[float] = []
    if m.sweep is not None:
        scores = np.median(m.sweep.validation, axis=1)
        side = m.sweep.rates < 0.8 * m.rate if lower else m.sweep.rates > 1.25 * m.rate
        if np.isfinite(np.where(side, scores, np.inf)).any():
            candidates.append(float(m.sweep.rates[int(np.argmin(np.where(side, scores, np.inf)))]))
    if m.range is not None:
        scores = m.range.means
        side = m.range.rates < 0.8 * m.rate if lower else m.range.rates > 1.25 * m.rate
        if np.isfinite(np.where(side, scores, np.inf)).any():
            best = float(m.range.rates[int(np.argmin(np.where(side, scores, np.inf)))])
            candidates += [best, best / 10] if lower else [best, best / 3]
    if m.rate > 0:
        candidates.append(m.rate / 10 if lower else m.rate * 10)
    if (m.usual < m.rate) == lower:
        candidates.append(m.usual)
    rates: list[float] = []
    for rate in candidates:
        right_side = rate < m.rate if lower else rate > m.rate
        if right_side and all(abs(math.log(rate / other)) > 0.3 for other in rates):
            rates.append(float(f"{rate:.3g}"))
    return [Intervention({"learning_rate": rate}, f"Set the learning rate to {rate:g}.") for rate in rates]


def times(factor: float) -> str:
    """``factor`` as in "3.2 times", to two digits."""
    digits = max(1 - math.floor(math.log10(factor)), 0) if 0 < factor < math.inf else 0
    rounded = float(f"{factor:.2g}")
    return f"{rounded:,.{min(digits, 2)}f} times"
