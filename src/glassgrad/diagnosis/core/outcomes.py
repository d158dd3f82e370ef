"""The outcomes of a trial's runs, and the trial computed from the outcomes of both sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassgrad.diagnosis.core.evidence import Better, Trial
from glassgrad.diagnosis.core.judging import GAIN, HIGHER, Criterion, judged

WILD = 0.5
"""If chance may account for this share of the gap in the loss, the trial also compares accuracy."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one run of a trial.

    ``training`` and ``validation`` hold its scores by name; if the run has test rows, ``validation`` is scored on
    them. ``constant`` holds the scores of the baseline.
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
        """Whether the run met NaN or Inf."""
        return self.status == "diverged"

    def score(self, measure: str) -> float:
        """The validation score; the worst possible value (Inf or -Inf) if the run diverged."""
        value = self.validation.get(measure, math.nan)
        if self.diverged or not math.isfinite(value):
            return -math.inf if measure in HIGHER else math.inf
        return value


Outcomes = tuple[Outcome | None, ...]


def scored_trial(
    before: Outcomes, after: Outcomes, criterion: Criterion, seeds: tuple[int, ...], measure: str, sure: bool
) -> Trial | None:
    """The trial by one measure; None for ``nll`` if one side has no probabilities."""
    better: Better = "higher" if measure in HIGHER else "lower"
    worst = -math.inf if better == "higher" else math.inf
    scores_before, scores_after = (
        tuple(worst if o is None else o.score(measure) for o in side) for side in (before, after)
    )
    if measure == "nll" and not np.isfinite((*scores_before, *scores_after)).all():
        return None
    baselines = [o.constant[measure] for o in (*after, *before) if o is not None and measure in o.constant]
    constant = baselines[0] if baselines else math.nan
    effect = criterion.effect
    options: dict[str, Any] = {"least": criterion.gain, "relief": criterion.relief, "sure": sure}
    gain, noise, confirmed = judged(
        scores_before, scores_after, constant, better=better, effect=effect, **options
    )
    return Trial(
        seeds,
        measure,
        scores_before,
        scores_after,
        confirmed,
        0.0,
        better,
        effect,
        constant,
        gain,
        noise,
    )


def is_uninformative(trial: Trial) -> bool:
    """Whether the score cannot decide: neither side beats the baseline, or chance may be half of the gap.

    A few confidently wrong predictions dominate a loss and hide what the network gets right.
    """
    return not trial.noise < WILD


def is_close(trial: Trial) -> bool:
    """Whether more seeds could still confirm or refute the trial."""
    return (
        trial.effect == "improves" and trial.gain >= GAIN and trial.noise / 3 < trial.gain < 3 * trial.noise
    )
