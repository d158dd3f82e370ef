"""What the runs of a trial came to, and the trial that the runs of both sides make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassgrad.diagnosis.core.evidence import Better, Trial
from glassgrad.diagnosis.core.judging import GAIN, HIGHER, Criterion, judged

WILD = 0.5
"""Of a loss that varies by this share of the gap with the seed, accuracy is asked besides."""


@dataclass(frozen=True)
class Outcome:
    """What a run of a trial came to. ``validation`` and ``training`` hold its scores by name; of a run that has test
    rows, ``validation`` are those of these.

    ``constant`` holds the scores of the best constant prediction.
    """

    seed: int
    status: str
    training: Mapping[str, float]
    validation: Mapping[str, float]
    constant: Mapping[str, float] = field(repr=False)
    history: Sequence[Mapping[str, float | int]] = field(repr=False)
    steps: int

    @property
    def diverged(self) -> bool:
        """Whether it met NaN or Inf."""
        return self.status == "diverged"

    def score(self, measure: str) -> float:
        """The validation score; the worst there is where the run diverged."""
        value = self.validation.get(measure, math.nan)
        if self.diverged or not math.isfinite(value):
            return -math.inf if measure in HIGHER else math.inf
        return value


Outcomes = tuple[Outcome | None, ...]


def scored_trial(
    before: Outcomes, after: Outcomes, criterion: Criterion, seeds: tuple[int, ...], measure: str, sure: bool
) -> Trial | None:
    """The trial by one measure; None for probabilities that one side does not have."""
    better: Better = "higher" if measure in HIGHER else "lower"
    bad = -math.inf if better == "higher" else math.inf
    one, other = (tuple(bad if o is None else o.score(measure) for o in side) for side in (before, after))
    if measure == "nll" and not np.isfinite((*one, *other)).all():
        return None
    known = [o.constant[measure] for o in (*after, *before) if o is not None and measure in o.constant]
    constant = known[0] if known else math.nan
    effect = criterion.effect
    options: dict[str, Any] = {"least": criterion.gain, "relief": criterion.relief, "sure": sure}
    gain, noise, confirmed = judged(one, other, constant, better=better, effect=effect, **options)
    return Trial(seeds, measure, one, other, confirmed, 0.0, better, effect, constant, gain, noise)


def says_nothing(trial: Trial) -> bool:
    """Whether the score is no measure here: neither side beats a constant guess, or chance may be half of the gap.

    A few rows that a network is sure of and wrong about make a loss that hides what it gets right.
    """
    return not trial.noise < WILD


def is_close(trial: Trial) -> bool:
    """Whether more seeds could still confirm it, or refute it."""
    return (
        trial.effect == "improves" and trial.gain >= GAIN and trial.noise / 3 < trial.gain < 3 * trial.noise
    )
