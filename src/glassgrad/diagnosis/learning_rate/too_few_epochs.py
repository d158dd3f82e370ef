"""A run that ended too early."""

from __future__ import annotations

import math

import numpy as np

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.judging import LARGE_GAIN
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import HORIZON, LearningRate
from glassgrad.diagnosis.learning_rate.rates import TOO_HIGH, TOO_LOW

FALLING = 0.1
"""A run is too short if its last third still gained this share of the gap. Ten times the epochs can then add up to
LARGE_GAIN; with less, that is unlikely."""

SHORT = 0.15
"""A run of few steps is too short if HORIZON steps would gain this share of the gap."""

LONGER = (10, 5, 3)
"""Multiples of the epochs to try; the largest that fits the budget is used."""


def judge(m: LearningRate, subject: Subject) -> list[Suspicion]:
    """A loss that was still falling at the end, or that would fall with more steps."""
    if m.diverged:
        return []
    falling, short = m.pace.falling, _shortfall(m)
    strength = max(0.0 if math.isnan(falling) else falling / FALLING, short / SHORT)
    if m.epochs == 0:
        strength = 100.0
    unstable = m.pace.end > m.constant and m.lower_gain()[0] >= TOO_HIGH
    if strength < 1 or unstable or not m.pace.late:
        return []  # Unless ``late``, longer training would only overfit.
    steps = m.steps[0]
    if steps >= HORIZON and m.higher_gain()[0] >= TOO_LOW:
        return []  # The steps are enough for a higher rate.
    return [
        Suspicion(
            "",
            {"epochs": m.epochs, "steps": steps, "won_by_last_third": falling, "won_by_more_steps": short},
            FALLING,
            "share of the gap from the baseline to the best loss that the last third of the run still gained",
            strength,
            f"The loss was still falling when the training ended after {steps:,} steps.",
        )
    ]


def _shortfall(m: LearningRate) -> float:
    """The gain of HORIZON steps at the user's rate over the steps of the run, as a share of the gap."""
    if m.range is None or m.rate <= 0 or m.steps[0] >= m.range.steps:
        return 0.0
    curve = m.range.curve(m.rate)
    gap = m.constant - min(m.reach, float(curve[-1]))
    current = max(
        float(np.interp(m.steps[0], m.range.points, curve)), m.pace.end if math.isfinite(m.pace.end) else 0.0
    )
    return (current - float(curve[-1])) / gap if gap > 0 and math.isfinite(current) else 0.0


def prescribe(suspicion: Suspicion, m: LearningRate, subject: Subject) -> list[Intervention]:
    """The largest multiple of the epochs that a trial has time for."""
    epochs = max(m.epochs, 1)
    if m.epochs == 0:
        return [Intervention({"epochs": 30}, "Train for 30 epochs.")]
    examined = subject.trials.settings.epochs
    for factor in LONGER:
        options = {"epochs": max(examined, 1) * factor}
        if subject.trials.seconds(options) <= 0.2 * subject.clock.budget:
            break
    return [Intervention({"epochs": epochs * factor}, f"Train for {epochs * factor:,} epochs.")]


KIND = Kind(
    name="too_few_epochs",
    question="learning_rate",
    meaning="the training ended while the loss was still falling fast",
    judge=judge,
    prescribe=prescribe,
    group="stuck",
    gain=LARGE_GAIN,
    on_fewer_rows="more epochs",
    ranks_with="learning_rate_too_low",
    brings=("underfitting",),
)
