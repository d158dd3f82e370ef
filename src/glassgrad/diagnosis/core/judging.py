"""Decides whether a change has an effect beyond chance and tuning, from scores on the same seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glassgrad.diagnosis.core.evidence import Better, Effect

Floats = npt.NDArray[np.float64]

GAIN = 0.05
"""The least gain of a fix, as a share of the gap between the baseline and the better side.

Tuning nearly always gains a few percent; fixing a fault gains more.
"""

LARGE_GAIN = 0.25
"""The least gain for kinds whose fix nearly always helps a little.

These are faults of pace (a step too small, too few epochs), class imbalance (equal class weights always shift the
balance), underfitting (a wider network) and overfitting (some regularization).
"""

HIGHER = ("accuracy", "balanced_accuracy", "r2")
"""The scores for which higher is better."""

T_ONE_SIDED = {2: 6.31, 3: 2.92, 4: 2.35, 5: 2.13, 6: 2.02, 7: 1.94, 8: 1.89, 9: 1.86, 10: 1.83}
T_OF_MANY = 1.81
"""Student's t at 95 %, one-sided, by the number of seeds."""

CUT = 0.2
CLEAR = 0.1
"""A gain must also reduce the score itself by the share ``CUT``, or be at least ``CLEAR`` in units of the gap.

If inputs say little about the targets, the score stays high whatever is done. If the targets are easy, tuning moves a
large share of a small score. If the mechanism was measured beyond doubt, tuning is no explanation, and either
condition is enough: the least gain or the cut.
"""

UNCHANGED = 0.05
"""An input is useless if dropping it changes the score by less than this share of the gap."""

LEAK = 0.25
LEAK_TIMES = 2.0
"""An input leaks the target if dropping it loses ``LEAK`` of the gap, or multiplies the score by ``LEAK_TIMES``.

The second condition covers inputs that other inputs nearly replace: then little of the gap is lost.
"""

LEAST_GAP = 0.02
"""If the better side beats the baseline by less than this share of the baseline's score, neither side has learned."""

RELIEF = 0.1
WORST = 5.0
"""A fix with ``relief`` is confirmed even if neither side has learned: the score before is more than twice the
baseline's, and the fix leaves at most ``RELIEF`` of the excess (counted up to ``WORST`` times the baseline)."""

CAP = 2.0
"""No run counts as more than this many gaps worse than the better side, so one bad seed cannot outweigh the rest."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """The effect on the validation score that confirms a fix.

    ``effect``: the fix "improves" the score; leaves it "unchanged" (a useless input was dropped); "lowers" it
    (without a leaked target the true score shows); or the kind has no fix, and its own experiment is the "proof".
    ``measure`` is the score to compare, if not the loss. ``gain`` is the least share of the gap (see ``GAIN``). With
    ``relief``, removing the harm is enough (see ``RELIEF``).
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

    The gap is the distance from the baseline's score ``constant`` to the median of the better side. The noise is the
    mean paired difference that chance alone may cause (Student's t, 95 %, one-sided). "improves" needs a gain above
    the noise and of at least ``least`` that also reduces the score by ``CUT`` or is ``CLEAR``; if the mechanism is
    ``sure``, a gain of ``least`` or a reduction by ``CUT`` is enough. "unchanged" needs a gain within ``UNCHANGED``
    or the noise. "lowers" needs a loss above the noise, of at least ``LEAK`` or to ``LEAK_TIMES`` the score. Scores
    for which higher is better are converted to shares of mistakes, 1 - score. A gap below ``LEAST_GAP`` can only
    confirm ``relief`` (see ``RELIEF``); then the baseline's score is the unit.
    """
    high = better == "higher"
    old, new = (1 - np.asarray(side, float) if high else np.asarray(side, float) for side in (before, after))
    baseline = 1 - constant if high else constant
    best = min(float(np.median(old)), float(np.median(new)))
    gap = baseline - best
    if len(old) < 2 or not math.isfinite(baseline):
        return math.nan, math.nan, False
    if not (math.isfinite(gap) and gap > LEAST_GAP * abs(baseline)):
        harm, remaining = (float(np.median(side)) - baseline for side in (old, new))
        if (
            not relief
            or not harm > abs(baseline) > 0
            or remaining > RELIEF * min(harm, WORST * abs(baseline))
        ):
            return math.nan, math.nan, False
        best, gap = baseline, abs(baseline)
    old, new = (np.minimum(np.nan_to_num(side, nan=math.inf), best + CAP * gap) for side in (old, new))
    differences = (old - new) / gap
    gain = float(differences.mean())
    noise = chance(differences)
    if effect == "unchanged":
        return gain, noise, abs(gain) <= max(UNCHANGED, noise)
    if effect == "lowers":
        worse = -gain >= LEAK or float(new.mean()) >= LEAK_TIMES * float(old.mean()) > 0
        return gain, noise, worse and -gain > noise
    cut = (float(old.mean()) - float(new.mean())) / max(abs(float(old.mean())), 1e-300)
    large = gain >= least or cut >= CUT if sure else gain >= least and (cut >= CUT or gain >= CLEAR)
    return gain, noise, large and gain > noise


def chance(differences: Floats) -> float:
    """The mean paired difference that chance may cause: t s / sqrt(n), 95 %, one-sided; Inf for fewer than two."""
    count = len(differences)
    if count < 2:
        return math.inf
    t = T_ONE_SIDED.get(count, T_OF_MANY)
    return t * float(differences.std(ddof=1)) / math.sqrt(count)
