"""The course of the loss over the epochs of a run: its end, whether it was still falling, and whether it oscillated.

All numbers are in units of the gap from ``constant``, the loss of the baseline, to ``reach``, the lowest loss known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassgrad.diagnosis.core.plain import plain_object

History = Sequence[Mapping[str, float | int]]


@dataclass(frozen=True)
class Pace:
    """The course of the loss; NaN for what is unknown.

    ``end`` is the training loss of the last epochs (Inf if the run diverged or had no epoch). ``falling`` is the
    share of the gap gained by the last third of the run (a third of the sum of its learning rates, not of its
    epochs). ``swing`` is the mean rise per epoch in the second half, where epochs that fell count as 0. ``rises`` is
    the share of epochs that rose. ``gap`` is the gap itself.
    """

    end: float
    falling: float
    swing: float
    rises: float
    gap: float
    late: bool = True
    """Whether the validation loss was lowest in the last third of the epochs; True without validation."""

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(vars(self))


def ended(history: History, diverged: bool = False) -> float:
    """The final training loss of a run: the median of its last quarter of epochs; Inf if it diverged."""
    losses = _losses(history)
    if diverged or not len(losses):
        return math.inf
    median = float(np.median(losses[-max(len(losses) // 4, 1) :]))
    return median if math.isfinite(median) else math.inf


def pace(history: History, constant: float, reach: float, diverged: bool = False) -> Pace:
    """The pace of a run."""
    losses = _losses(history)
    losses = losses[np.isfinite(losses)]
    gap = constant - reach
    end = ended(history, diverged)
    if not gap > 0 or len(losses) < 3:
        return Pace(end, math.nan, math.nan, math.nan, gap)
    validation = np.array([record.get("validation_loss", math.nan) for record in history], np.float64)
    late = not np.isfinite(validation).all() or int(np.argmin(validation)) >= 2 * len(validation) // 3
    losses = np.minimum(losses, constant + gap)  # Huge losses would dominate the means.
    begin = _last_third(history, len(losses))
    before, after = losses[begin], losses[-1]
    if len(losses) - begin > 3:
        before, after = (
            float(np.median(part)) for part in (losses[max(begin - 1, 0) : begin + 2], losses[-3:])
        )
    moves = np.diff(losses[len(losses) // 2 :] if len(losses) >= 6 else losses)
    swing = float(np.maximum(moves, 0).mean()) / gap if len(moves) else math.nan
    rises = float((moves > 0).mean()) if len(moves) else math.nan
    return Pace(end, float(before - after) / gap, swing, rises, gap, late)


def _last_third(history: History, count: int) -> int:
    """The epoch (from 0) after which a third of the sum of all learning rates remains.

    Epochs are weighted by their rate, so that a loss that stands still because the schedule ended does not count as
    stuck.
    """
    rates = np.array([record.get("learning_rate", 1.0) for record in history[:count]], np.float64)
    if not rates.sum() > 0:
        rates = np.ones(count)
    reached = np.cumsum(rates) / rates.sum()
    return min(int(np.searchsorted(reached, 2 / 3)), count - 2)


def _losses(history: History) -> Any:
    return np.array([record.get("train_loss", math.nan) for record in history], np.float64)
