"""Measures the learning rate: short runs, the edge of stability, full runs, curvature, and the pace of the loss."""

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
from glassgrad.diagnosis.learning_rate.optimizer_settings import UnusualSetting, unusual_settings
from glassgrad.diagnosis.measures.curvature import Curvature, curvatures
from glassgrad.diagnosis.measures.pace import Pace, ended, pace
from glassgrad.diagnosis.measures.range_test import RangeTest, range_test, usual_rates
from glassgrad.diagnosis.measures.short_runs import ShortRuns
from glassgrad.diagnosis.measures.stable_step import StableStep, stable_step
from glassgrad.optim.optimizers import OPTIMIZERS, Optimizer

Floats = npt.NDArray[np.float64]

HORIZON = 1000
"""Steps of a short run, independent of the length of the user's run: the rate is judged apart from the epochs."""

ENOUGH = 300
"""Short runs of fewer steps are less informative than full runs."""

CAP = 2.0
"""No rate counts as more than this many gaps worse than another."""

FEWEST = 4
"""Batches of fewer rows are too small: a step follows single rows."""

USUAL_BATCH = 32

LARGEST_BATCH = 256
"""Short runs use at most this batch size."""

MEASURE_SECONDS = 1.5
"""Seconds for the short runs, and again for the full runs, of a budget of thirty seconds."""

NEIGHBOURS = (0.1, 0.3, 3.0, 10.0)
"""Full runs use these multiples of the user's rate, and the best rate of the short runs."""


@frozen
class Sweep:
    """Full runs: ``validation`` and ``training`` losses [rates, seeds], Inf if a run diverged."""

    rates: Floats
    validation: Floats
    training: Floats

    @property
    def best(self) -> float:
        """The rate with the lowest mean validation loss."""
        return float(self.rates[int(np.argmin(self.validation.mean(axis=1)))])

    def mean(self, rate: float, part: str = "validation") -> float:
        """The mean loss, "validation" or "training", at the rate nearest to ``rate``."""
        index = int(np.argmin(np.abs(np.log(self.rates / rate))))
        values = self.validation if part == "validation" else self.training
        return float(values[index].mean())

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
    """The measurement. Losses are those of training rows unless called validation losses.

    ``rate`` is the user's rate, and ``usual`` the optimizer's default. ``constant`` is the loss of the baseline, and
    ``reach`` the lowest training loss seen. ``steps`` are (requested, examined). ``ratios`` maps layers to the median
    ratio of update to weight over the run. ``suggested`` has the mean validation losses, in full runs, of ``rate``
    and of ``suggestion``.
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
    unusual: tuple[UnusualSetting, ...]
    suggestion: float | None = None
    suggested: tuple[float, float] | None = None

    def lower_gain(self) -> tuple[float, float]:
        """The largest gain of a lower rate on training rows, as a share of the gap, and that rate.

        With very small batches only the short runs count, because their batches are larger.
        """
        gains = [self._gain(*self.short_runs, lower=True)]
        if self.batch >= FEWEST:
            gains.append(self._gain(*self.full_runs, lower=True))
        return max(gains)

    def higher_gain(self) -> tuple[float, float]:
        """The gain of the best higher rate, as a share of the gap, and that rate: the lower of short and full runs.

        In very short runs a higher rate nearly always gets further, so short runs need ``ENOUGH`` steps. In a long
        full run the user's rate may arrive as well.
        """
        if self.rate <= 0:
            return CAP, self.usual
        gains = []
        enough = min(ENOUGH, max(self.steps))
        if self.range is not None and (self.sweep is None or self.range.steps >= enough):
            gains.append(self._gain(*self.short_runs, lower=False))
        if self.sweep is not None:
            gains.append(self._gain(*self.full_runs, lower=False))
        return min(gains, default=(0.0, math.nan))

    @property
    def short_runs(self) -> tuple[Floats, Floats]:
        """The rates of the short runs, and their training losses."""
        return (np.ones(0), np.ones(0)) if self.range is None else (self.range.rates, self.range.means)

    @property
    def full_runs(self) -> tuple[Floats, Floats]:
        """The rates of the full runs, and their training losses."""
        if self.sweep is None:
            return np.ones(0), np.ones(0)
        return self.sweep.rates, np.median(self.sweep.training, axis=1)

    def _gain(self, rates: Floats, losses: Floats, lower: bool) -> tuple[float, float]:
        side = rates < 0.8 * self.rate if lower else rates > 1.25 * self.rate
        is_current = np.abs(np.log(rates / max(self.rate, 1e-300))) < 0.1
        if not is_current.any() or not np.isfinite(losses[side]).any():
            return 0.0, math.nan
        index = int(np.argmin(np.where(side, losses, np.inf)))
        best, current = float(losses[index]), float(losses[is_current][0])
        gap = self.constant - min(best, current)
        return (min((current - best) / gap, CAP) if gap > 0 else 0.0), float(rates[index])

    @property
    def left(self) -> float:
        """The share of the gap to the lowest training loss that the run did not close."""
        gap = self.constant - self.reach
        return min((self.pace.end - self.reach) / gap, CAP) if gap > 0 else 0.0

    @property
    def per_epoch(self) -> int:
        """The number of steps per epoch."""
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
                "odd_settings": {item.name: item.evidence for item in self.unusual},
                "suggestion": self.suggestion,
                "suggested_loss": None if self.suggested is None else self.suggested[1],
                "given_loss": None if self.suggested is None else self.suggested[0],
            }
        )


def measure_learning_rate(subject: Subject) -> LearningRate:
    """Short runs, the edge of stability, full runs and curvature, in that order, as far as time allows."""
    optimizer, run = subject.settings.resolved_optimizer, subject.run
    rate = optimizer.hyperparameters()["learning_rate"]
    usual = _usual_rate(optimizer)
    constant = subject.constant["loss"]
    seconds = MEASURE_SECONDS * subject.clock.budget / 30
    tested, stable = _short_runs(subject, rate, usual, constant, seconds)
    sweep = _sweep(subject, rate, tested, seconds)
    curvature = _curvature(subject)
    rows = run.rows["train"]
    diverged = run.status == "diverged"
    losses = [ended(run.history, diverged)]
    if tested is not None:
        losses.append(float(tested.means.min()))
    if sweep is not None:
        losses.append(float(np.median(sweep.training, axis=1).min()))
    reach = min(losses)
    per_epoch = -(-rows // subject.task.batch)
    measured = LearningRate(
        rate=rate,
        usual=usual,
        optimizer=_name(optimizer),
        batch=subject.task.batch,
        rows=rows,
        epochs=subject.requested.epochs,
        steps=subject.steps,
        constant=constant,
        reach=reach,
        diverged=diverged,
        pace=pace(run.history, constant, reach, diverged),
        range=tested,
        stable=stable,
        curvature=curvature,
        sweep=sweep,
        ratios=_ratios(subject),
        unusual=tuple(
            unusual_settings(
                subject.settings,
                run.lenses,
                weights=run.model.parameters,
                steps=per_epoch * subject.settings.epochs,
                per_epoch=per_epoch,
            )
        ),
    )
    return replace(measured, **_suggestion(measured))


def _usual_rate(optimizer: Optimizer) -> float:
    return optimizer.default("learning_rate") or 0.001


def _name(optimizer: Any) -> str:
    try:
        return str(OPTIMIZERS.config(optimizer)["name"])
    except InputError:
        return type(optimizer).__name__


def _short_runs(
    subject: Subject, rate: float, usual: float, constant: float, seconds: float
) -> tuple[RangeTest | None, StableStep | None]:
    """The range test and the largest stable step, with fewer steps and seeds if time is short."""
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
    threshold = min(value for value in (start, constant, math.inf) if not math.isnan(value))
    if not math.isfinite(threshold) or not tested.means.min() < threshold:
        return tested, None
    stability_runs = runs if runs.batch == batch or batch > LARGEST_BATCH else ShortRuns(subject, batch)
    stability_seeds = subject.trials.seeds(3)
    affordable = stability_runs.affordable(0.4 * seconds, 8 * len(stability_seeds))
    steps = max(min(affordable, HORIZON // 4), 10)
    return tested, stable_step(stability_runs, stability_seeds, tested.best, threshold, steps)


def _sweep(subject: Subject, rate: float, tested: RangeTest | None, seconds: float) -> Sweep | None:
    """Full runs at rates around the user's, on the seeds of the trials; None if time is too short."""
    seeds = subject.trials.seeds()
    rates = [rate * factor for factor in NEIGHBOURS] if rate > 0 else []
    if tested is not None and all(
        abs(math.log(tested.best / other)) > 0.5 for other in [*rates, rate] if other
    ):
        rates.append(tested.best)
    each = _seconds(subject, len(seeds))
    count = min(int(min(seconds, subject.clock.left()) / max(each, 1e-9)) - 1, len(rates))
    if count < 1:
        subject.skip("full runs at other learning rates")
        return None
    order = {0.3: 0, 3.0: 1, 0.1: 2, 10.0: 3}
    best = math.nan if tested is None else tested.best
    rates.sort(key=lambda item: (item != best, order.get(round(item / rate, 6) if rate else 0, -1)))
    chosen = sorted([float(f"{item:.3g}") for item in rates[:count]] + [rate])
    variants = [{} if item == rate else {"learning_rate": item} for item in chosen]
    outcomes = subject.trials.run(variants, seeds)
    validation = [[math.inf if o is None else o.score("loss") for o in side] for side in outcomes]
    training = [[math.inf if o is None else ended(o.history, o.diverged) for o in side] for side in outcomes]
    return Sweep(np.maximum(chosen, 1e-300), np.array(validation), np.array(training))


def _seconds(subject: Subject, count: int) -> float:
    """The expected seconds of ``count`` full runs; the time of the examined run is a better estimate than a guess."""
    measured = subject.run.seconds_training * count * 0.7
    return min(subject.trials.seconds({"learning_rate": 1.0}, count), measured + 0.05)


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
    """The user's rate, unless full runs at another rate did better by more than tuning would."""
    sweep = measured.sweep
    if sweep is None or measured.rate <= 0:
        return {}
    current, best = sweep.mean(measured.rate), sweep.mean(sweep.best)
    gap = measured.constant - min(current, best)
    improves = gap > 0 and (current - best) / gap >= GAIN
    rate = sweep.best if improves or not math.isfinite(current) else measured.rate
    return {"suggestion": rate, "suggested": (current, sweep.mean(rate))}
