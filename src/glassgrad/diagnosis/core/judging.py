"""What counts as an effect: scores on the same seeds before and after a change, against chance and tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glassgrad.diagnosis.core.evidence import Better, Effect

Floats = npt.NDArray[np.float64]

GAIN = 0.05
"""The least share of the way from the constant predictor's score to the fixed one that a fix must win back.

Tuning nearly always finds a few percent more; a fault costs more than tuning.
"""

LARGE_GAIN = 0.25
"""The same for faults of pace (a step too small, too few epochs): a run that is merely early is no fault.

And for class imbalance, since weighing classes alike always moves their balance a little, for underfitting, since a
wider network nearly always does a little better, and for overfitting, since a little regularization does so too.
"""

HIGHER = ("accuracy", "balanced_accuracy", "r2")
"""The scores of which more is better."""

T_ONE_SIDED = {2: 6.31, 3: 2.92, 4: 2.35, 5: 2.13, 6: 2.02, 7: 1.94, 8: 1.89, 9: 1.86, 10: 1.83}
T_OF_MANY = 1.81
"""Student's t at 95 %, one-sided, by the number of seeds."""

CUT = 0.2
CLEAR = 0.1
"""A gain also has to take away ``CUT`` of the score itself, or be ``CLEAR`` in units of the gap.

Of targets that inputs say little about, the score stays high whatever is done; of easy ones, tuning moves a large
share of little. Where the mechanism was measured beyond doubt, tuning is no explanation, and either is enough: the
least gain or the cut.
"""

UNCHANGED = 0.05
"""An input is of no use if leaving it out moves the score by less than this share of the gap."""

LEAK = 0.25
LEAK_TIMES = 2.0
"""An input gives the target away if without it this share of the gap cannot be won any more, or the score itself gets
so many times worse: other inputs may say nearly as much, and then little of the gap is at stake."""

LEAST_GAP = 0.02
"""Where the better side is no better than the constant predictor by this share of its score, nothing was learned that
could have improved."""

RELIEF = 0.1
WORST = 5.0
"""... unless what is to be fixed is the harm itself: a score of more than twice the constant predictor's, of whose
excess the fix leaves no more than this share (of at most ``WORST`` times that score)."""

CAP = 2.0
"""No run counts as more than this many gaps worse than the good side: one wild seed must not outweigh the rest."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """What a fix has to do to the score on validation rows to be confirmed.

    ``effect``: it "improves" the score; leaves it "unchanged" (an input that is of no use can go); "lowers" it
    (without a leaked target the true score shows); or there is no fix to try, and an experiment of the kind's own is
    the "proof". ``measure`` is the score, if not the loss. ``gain`` is the least share of the gap (see ``GAIN``).
    With ``relief`` it is enough that the fix takes the harm away (see ``RELIEF``).
    """

    effect: Effect = "improves"
    measure: str | None = None
    gain: float = GAIN
    relief: bool = False


def judged(
    before: Sequence[float],
    after: Sequence[float],
    constant: float,
    *,
    better: Better = "lower",
    effect: Effect = "improves",
    least: float = GAIN,
    sure: bool = False,
    relief: bool = False,
) -> tuple[float, float, bool]:
    """The gain, its noise (both in units of the gap), and whether ``effect`` is confirmed.

    The gap is the way from the constant predictor's score to the median of the better side. The noise is what the
    mean of the paired differences may be by chance (Student's t, 95 %, one-sided). "improves" needs a gain above the
    noise, of at least ``least``, that takes away ``CUT`` of the score or is ``CLEAR`` (``sure`` of the mechanism: of
    at least ``least``, or that takes away ``CUT``); "unchanged" a gain within ``UNCHANGED`` or the noise; "lowers" a
    loss above the noise, of at least ``LEAK``, or to ``LEAK_TIMES`` the score. Scores of which more is better are
    turned into shares of mistakes, 1 - score. A gap below ``LEAST_GAP`` confirms nothing but ``relief``, if that is
    enough (see ``RELIEF``; there the constant predictor's score is the unit).
    """
    high = better == "higher"
    one, other = (
        1 - np.asarray(side, float) if high else np.asarray(side, float) for side in (before, after)
    )
    floor = 1 - constant if high else constant
    best = min(float(np.median(one)), float(np.median(other)))
    gap = floor - best
    if len(one) < 2 or not math.isfinite(floor):
        return math.nan, math.nan, False
    if not (math.isfinite(gap) and gap > LEAST_GAP * abs(floor)):
        harm, rest = (float(np.median(side)) - floor for side in (one, other))
        if not relief or not harm > abs(floor) > 0 or rest > RELIEF * min(harm, WORST * abs(floor)):
            return math.nan, math.nan, False
        best, gap = floor, abs(floor)
    one, other = (np.minimum(np.nan_to_num(side, nan=math.inf), best + CAP * gap) for side in (one, other))
    differences = (one - other) / gap
    gain = float(differences.mean())
    noise = chance(differences)
    if effect == "unchanged":
        return gain, noise, abs(gain) <= max(UNCHANGED, noise)
    if effect == "lowers":
        worse = -gain >= LEAK or float(other.mean()) >= LEAK_TIMES * float(one.mean()) > 0
        return gain, noise, worse and -gain > noise
    cut = (float(one.mean()) - float(other.mean())) / max(abs(float(one.mean())), 1e-300)
    won = gain >= least or cut >= CUT if sure else gain >= least and (cut >= CUT or gain >= CLEAR)
    return gain, noise, won and gain > noise


def chance(differences: Floats) -> float:
    """What the mean of paired differences may be by chance: t s / sqrt(n), 95 %, one-sided; Inf of fewer than two."""
    count = len(differences)
    if count < 2:
        return math.inf
    t = T_ONE_SIDED.get(count, T_OF_MANY)
    return t * float(differences.std(ddof=1)) / math.sqrt(count)
