"""How the loss went: where it ended, whether it was still falling, whether it swung, by the epochs of a run.

All numbers are relative to what there is to win: the way from ``constant``, the loss of the best constant guess, to
``reach``, the lowest loss known.
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
    """``end`` is the training loss of the last epochs (Inf: diverged, or no epoch), ``falling`` the share of the way
    that the last third of the run won (a third of its rates, not of its epochs), ``swing`` the mean rise of an epoch
    of the second half (epochs that fell count as 0), ``rises`` the share of epochs that rose. ``gap`` is the whole
    way; NaN of what cannot be told.
    """

    end: float
    falling: float
    swing: float
    rises: float
    gap: float
    late: bool = True
    """Whether the validation loss, if there is one, was lowest in the last third of the epochs."""

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(vars(self))


def ended(history: History, diverged: bool = False) -> float:
    """The training loss that a run ended with: the median of its last quarter of epochs; Inf if it diverged."""
    losses = _losses(history)
    if diverged or not len(losses):
        return math.inf
    found = float(np.median(losses[-max(len(losses) // 4, 1) :]))
    return found if math.isfinite(found) else math.inf


def pace(history: History, constant: float, reach: float, diverged: bool = False) -> Pace:
    """The pace of a run."""
    losses = _losses(history)
    losses = losses[np.isfinite(losses)]
    gap = constant - reach
    end = ended(history, diverged)
    if not gap > 0 or len(losses) < 3:
        return Pace(end, math.nan, math.nan, math.nan, gap)
    seen = np.array([record.get("validation_loss", math.nan) for record in history], np.float64)
    late = not np.isfinite(seen).all() or int(np.argmin(seen)) >= 2 * len(seen) // 3
    losses = np.minimum(losses, constant + gap)  # a million says no more than what is just too large
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
    """The epoch (from 0) after which a third of the rates of all epochs is left: a loss that stands still because the
    schedule has brought the rate to 0 is not stuck."""
    rates = np.array([record.get("learning_rate", 1.0) for record in history[:count]], np.float64)
    if not rates.sum() > 0:
        rates = np.ones(count)
    reached = np.cumsum(rates) / rates.sum()
    return min(int(np.searchsorted(reached, 2 / 3)), count - 2)


def _losses(history: History) -> Any:
    return np.array([record.get("train_loss", math.nan) for record in history], np.float64)
