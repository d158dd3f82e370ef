"""What is measured of the learning rate: short runs, the edge of stability, whole runs, curvature, and the pace."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.common.errors import GraphError, InputError
from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core.judging import GAIN
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.optimizer_settings import Odd, odd_settings
from glassgrad.diagnosis.measures.curvature import Curvature, curvatures
from glassgrad.diagnosis.measures.pace import Pace, ended, pace
from glassgrad.diagnosis.measures.range_test import RangeTest, range_test, usual_rates
from glassgrad.diagnosis.measures.short_runs import ShortRuns
from glassgrad.diagnosis.measures.stable_step import StableStep, stable_step
from glassgrad.optim.optimizers import OPTIMIZERS, Optimizer

Floats = npt.NDArray[np.float64]

HORIZON = 1000
"""Steps of a short run, whatever the length of the user's: the rate is judged apart from the number of epochs."""

ENOUGH = 300
"""Short runs of fewer steps, for want of time, say less than whole runs do."""

CAP = 2.0
"""No rate counts as more than so many times the way worse than another."""

FEWEST = 4
"""From so many rows in a batch on, the mean is of several; below, a step follows single rows."""

USUAL_BATCH = 32

LARGEST_BATCH = 256
"""Larger batches than this are replaced by it in short runs."""

MEASURE_SECONDS = 1.5
"""What the short runs may take, and the whole runs as much again, of a budget of thirty seconds."""

NEIGHBOURS = (0.1, 0.3, 3.0, 10.0)
"""Whole runs are done at these multiples of the given rate, and at the best rate of the short runs."""


@frozen
class Sweep:
    """Whole runs: ``validation`` and ``training`` losses [rates, seeds], Inf where one diverged."""

    rates: Floats
    validation: Floats
    training: Floats

    @property
    def best(self) -> float:
        """The rate of the lowest mean validation loss."""
        return float(self.rates[int(np.argmin(self.validation.mean(axis=1)))])

    def mean(self, rate: float, part: str = "validation") -> float:
        """The mean loss at one of the rates."""
        place = int(np.argmin(np.abs(np.log(self.rates / rate))))
        values = self.validation if part == "validation" else self.training
        return float(values[place].mean())

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(
            {
                "rates": self.rates,
                "validation": self.validation,
                "training": self.training,
                "best": self.best,
            }
        )


@frozen
class LearningRate:
    """What was measured; losses are of training rows unless called validation.

    ``rate`` is the given one and ``usual`` the optimizer's default. ``constant`` is the loss of the best constant
    guess, ``reach`` the lowest training loss that was met. ``ratios`` are medians over the run of update to weight,
    by layer. ``suggested`` are the mean validation losses, in whole runs, of the given rate and of ``suggestion``.
    """

    rate: float
    usual: float
    optimizer: str
    batch: int
    rows: int
    epochs: int
    steps: tuple[int, int]
    constant: float
    reach: float
    diverged: bool
    pace: Pace
    range: RangeTest | None
    stable: StableStep | None
    curvature: Mapping[str, Curvature]
    sweep: Sweep | None
    ratios: Mapping[str, float]
    odd: tuple[Odd, ...]
    suggestion: float | None = None
    suggested: tuple[float, float] | None = None

    def lower_gain(self) -> tuple[float, float]:
        """What the best lower rate wins on training rows, as a share of the way, in short or whole runs; and that
        rate. With very small batches the short runs alone tell: they have larger ones."""
        found = [self._gain(*self.short_runs, lower=True)]
        if self.batch >= FEWEST:
            found.append(self._gain(*self.whole_runs, lower=True))
        return max(found)

    def higher_gain(self) -> tuple[float, float]:
        """The same of the best higher rate: in short runs of HORIZON steps, since in a run that is too short a higher
        rate nearly always gets further; and in whole runs, since a long run may get there all the same."""
        if self.rate <= 0:
            return CAP, self.usual
        found = []
        enough = min(ENOUGH, max(self.steps))
        if self.range is not None and (self.sweep is None or self.range.steps >= enough):
            found.append(self._gain(*self.short_runs, lower=False))
        if self.sweep is not None:
            found.append(self._gain(*self.whole_runs, lower=False))
        return min(found, default=(0.0, math.nan))

    @property
    def short_runs(self) -> tuple[Floats, Floats]:
        """Rates of the short runs, and their training losses."""
        return (np.ones(0), np.ones(0)) if self.range is None else (self.range.rates, self.range.means)

    @property
    def whole_runs(self) -> tuple[Floats, Floats]:
        """The same of the whole runs."""
        if self.sweep is None:
            return np.ones(0), np.ones(0)
        return self.sweep.rates, np.median(self.sweep.training, axis=1)

    def _gain(self, rates: Floats, losses: Floats, lower: bool) -> tuple[float, float]:
        side = rates < 0.8 * self.rate if lower else rates > 1.25 * self.rate
        own = np.abs(np.log(rates / max(self.rate, 1e-300))) < 0.1
        if not own.any() or not np.isfinite(losses[side]).any():
            return 0.0, math.nan
        place = int(np.argmin(np.where(side, losses, np.inf)))
        best, given = float(losses[place]), float(losses[own][0])
        gap = self.constant - min(best, given)
        return (min((given - best) / gap, CAP) if gap > 0 else 0.0), float(rates[place])

    @property
    def left(self) -> float:
        """The share of the way to the lowest training loss known that the run did not go."""
        gap = self.constant - self.reach
        return min((self.pace.end - self.reach) / gap, CAP) if gap > 0 else 0.0

    @property
    def per_epoch(self) -> int:
        """The steps of an epoch."""
        return -(-self.rows // self.batch)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(
            {
                "rate": self.rate,
                "usual": self.usual,
                "optimizer": self.optimizer,
                "batch": self.batch,
                "steps_per_epoch": self.per_epoch,
                "epochs": self.epochs,
                "steps": self.steps[0],
                "constant": self.constant,
                "reach": self.reach,
                "pace": self.pace.document(),
                "range_test": None if self.range is None else self.range.document(),
                "stable_step": None if self.stable is None else self.stable.document(),
                "curvature": {key: item.document() for key, item in self.curvature.items()},
                "sweep": None if self.sweep is None else self.sweep.document(),
                "update_to_weight": self.ratios,
                "odd_settings": {item.name: item.evidence for item in self.odd},
                "suggestion": self.suggestion,
                "suggested_loss": None if self.suggested is None else self.suggested[1],
                "given_loss": None if self.suggested is None else self.suggested[0],
            }
        )


def measured_rate(subject: Subject) -> LearningRate:
    """Short runs, the edge of stability, whole runs, curvature: as far as there is time, in that order."""
    made, run = subject.settings.resolved_optimizer, subject.run
    rate = made.hyperparameters()["learning_rate"]
    usual = _usual_rate(made)
    constant = subject.constant["loss"]
    seconds = MEASURE_SECONDS * subject.clock.budget / 30
    tested, stable = _short_runs(subject, rate, usual, constant, seconds)
    sweep = _sweep(subject, rate, tested, seconds)
    found = _curvature(subject)
    rows = run.rows["train"]
    diverged = run.status == "diverged"
    known = [ended(run.history, diverged)]
    if tested is not None:
        known.append(float(tested.means.min()))
    if sweep is not None:
        known.append(float(np.median(sweep.training, axis=1).min()))
    reach = min(known)
    per_epoch = -(-rows // subject.task.batch)
    measured = LearningRate(
        rate=rate,
        usual=usual,
        optimizer=_name(made),
        batch=subject.task.batch,
        rows=rows,
        epochs=subject.asked.epochs,
        steps=subject.steps,
        constant=constant,
        reach=reach,
        diverged=diverged,
        pace=pace(run.history, constant, reach, diverged),
        range=tested,
        stable=stable,
        curvature=found,
        sweep=sweep,
        ratios=_ratios(subject),
        odd=tuple(
            odd_settings(
                subject.settings,
                run.lenses,
                weights=run.model.parameters,
                steps=per_epoch * subject.settings.epochs,
                per_epoch=per_epoch,
            )
        ),
    )
    return replace(measured, **_suggestion(measured))


def _usual_rate(made: Optimizer) -> float:
    return made.default("learning_rate") or 0.001


def _name(made: Any) -> str:
    try:
        return str(OPTIMIZERS.config(made)["name"])
    except InputError:
        return type(made).__name__


def _short_runs(
    subject: Subject, rate: float, usual: float, constant: float, seconds: float
) -> tuple[RangeTest | None, StableStep | None]:
    """The range test and the largest stable step; fewer steps and seeds where they take long."""
    if not subject.clock.allows(seconds, "short runs at many learning rates"):
        return None, None
    batch = subject.task.batch
    runs = ShortRuns(subject, USUAL_BATCH if batch < FEWEST else min(batch, LARGEST_BATCH))
    rates = usual_rates(rate, usual)
    seeds = subject.trials.seeds(2)
    steps = runs.affordable(0.6 * seconds, 2 * len(rates))
    if steps < HORIZON:
        seeds = seeds[:1]
        steps = runs.affordable(0.6 * seconds, len(rates))
    steps = max(min(steps, HORIZON), 10)
    tested = range_test(runs, rates, seeds, steps)
    start = subject.start.evaluate_prepared(*subject.probe)["loss"]
    bar = min(value for value in (start, constant, math.inf) if not math.isnan(value))
    if not math.isfinite(bar) or not tested.means.min() < bar:
        return tested, None
    own = runs if runs.batch == batch or batch > LARGEST_BATCH else ShortRuns(subject, batch)
    several = subject.trials.seeds(3)
    count = max(min(own.affordable(0.4 * seconds, 8 * len(several)), HORIZON // 4), 10)
    return tested, stable_step(own, several, tested.best, bar, count)


def _sweep(subject: Subject, rate: float, tested: RangeTest | None, seconds: float) -> Sweep | None:
    """Whole runs at rates around the given one, on the seeds of the trials."""
    seeds = subject.trials.seeds()
    rates = [rate * factor for factor in NEIGHBOURS] if rate > 0 else []
    if tested is not None and all(
        abs(math.log(tested.best / known)) > 0.5 for known in [*rates, rate] if known
    ):
        rates.append(tested.best)
    each = _seconds(subject, len(seeds))
    count = min(int(min(seconds, subject.clock.left()) / max(each, 1e-9)) - 1, len(rates))
    if count < 1:
        subject.skip("whole runs at other learning rates")
        return None
    order = {0.3: 0, 3.0: 1, 0.1: 2, 10.0: 3}
    best = math.nan if tested is None else tested.best
    rates.sort(key=lambda one: (one != best, order.get(round(one / rate, 6) if rate else 0, -1)))
    chosen = sorted([float(f"{one:.3g}") for one in rates[:count]] + [rate])
    outcomes = subject.trials.run([{} if one == rate else {"learning_rate": one} for one in chosen], seeds)
    validation = [[math.inf if o is None else o.score("loss") for o in side] for side in outcomes]
    training = [[math.inf if o is None else ended(o.history, o.diverged) for o in side] for side in outcomes]
    return Sweep(np.maximum(chosen, 1e-300), np.array(validation), np.array(training))


def _seconds(subject: Subject, count: int) -> float:
    """What ``count`` whole runs are likely to take: the run itself says more than a guess before it."""
    known = subject.run.seconds_training * count * 0.7
    return min(subject.trials.seconds({"learning_rate": 1.0}, count), known + 0.05)


def _curvature(subject: Subject) -> dict[str, Curvature]:
    if not subject.clock.allows(1.0, "the curvature"):
        return {}
    try:
        return curvatures(subject)
    except (GraphError, InputError) as error:
        subject.skip(f"the curvature: {error}")
        return {}


def _ratios(subject: Subject) -> dict[str, float]:
    lenses = subject.run.lenses
    if lenses is None or not len(lenses):
        return {}
    with np.errstate(all="ignore"):
        ratios = {layer: lenses.update_ratio(layer) for layer in lenses.layers("update_norm")}
        return {layer: float(np.nanmedian(r)) for layer, r in ratios.items() if np.isfinite(r).any()}


def _suggestion(measured: LearningRate) -> dict[str, Any]:
    """The given rate, unless whole runs at another did better by more than a trial would count as tuning."""
    sweep = measured.sweep
    if sweep is None or measured.rate <= 0:
        return {}
    own, best = sweep.mean(measured.rate), sweep.mean(sweep.best)
    gap = measured.constant - min(own, best)
    wins = gap > 0 and (own - best) / gap >= GAIN
    rate = sweep.best if wins or not math.isfinite(own) else measured.rate
    return {"suggestion": rate, "suggested": (own, sweep.mean(rate))}
