"""Learning-rate schedules: the factor of the base learning rate at each step.

A schedule is a pure function of the step numbers and the validation losses of past epochs. It has no counters.
A run that is resumed or computed in chunks therefore gets the same rates to the bit. All factors are in [0, 1].
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from glassgrad.common.constraints import COUNT, SHARE, Real
from glassgrad.common.errors import InputError
from glassgrad.common.part import Part
from glassgrad.common.registry import Registry

Steps: TypeAlias = NDArray[np.int64]
Factors: TypeAlias = NDArray[np.float64]

FACTOR = Real(above=0, maximum=1)
FINAL_FACTOR = Real(minimum=0, maximum=1)
"""The constraint of a factor at the end of a schedule; it may be 0."""


@dataclass(frozen=True, eq=False)
class Schedule(Part, ABC):
    """Base of all schedules: how the learning rate changes over a run."""

    @abstractmethod
    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """The factors of the base learning rate, one per entry of ``steps``, float64.

        ``steps`` are global step numbers from 0, in any order. ``total_steps`` (of the run) and
        ``steps_per_epoch`` are at least 1. After ``total_steps``, a schedule with an end keeps its last factor.
        ``validation_losses[e]`` is the loss after epoch ``e`` (counted from 0). Only schedules with
        ``needs_validation(schedule)`` read the losses; a step of epoch ``e`` reads only the first ``e`` of them.
        """


SCHEDULES: Registry[Schedule] = Registry("schedule", Schedule)  # type: ignore[type-abstract]


def schedule(spec: str | Mapping[str, Any] | Schedule) -> Schedule:
    """The schedule for a specification such as ``"warmup(2, 'cosine(0.1)')"``; see ``Registry.make``."""
    return SCHEDULES.make(spec)


@final
class Constant(Schedule):
    """The base learning rate at every step."""

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """1 at every step."""
        return np.ones(len(steps))


@final
@dataclass(frozen=True, eq=False)
class StepDecay(Schedule):
    """A staircase: the rate is multiplied by ``factor`` after each ``every`` epochs."""

    every: int = 10
    factor: float = 0.5

    constraints = MappingProxyType({"every": COUNT, "factor": FACTOR})

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """``factor ** floor(epoch / every)``."""
        return np.power(float(self.factor), steps // (self.every * steps_per_epoch))


@final
@dataclass(frozen=True, eq=False)
class ExponentialDecay(Schedule):
    """Exponential decay by ``factor`` per epoch, with the same ratio between any two successive steps."""

    factor: float = 0.95

    constraints = MappingProxyType({"factor": FACTOR})

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """``factor ** (step / steps_per_epoch)``."""
        return np.power(float(self.factor), steps / steps_per_epoch)


@final
@dataclass(frozen=True, eq=False)
class Cosine(Schedule):
    """Half a cosine from 1 to ``final``, without restarts (Loshchilov and Hutter 2017, equation 5)."""

    final: float = 0.0

    constraints = MappingProxyType({"final": FINAL_FACTOR})

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """``final + (1 - final) * (1 + cos(pi * step / total_steps)) / 2``.

        ``final`` is reached at step ``total_steps``, one after the last: a last step of rate 0 would be wasted.
        """
        return _cosine(1.0, self.final, np.minimum(steps / total_steps, 1.0))


@final
@dataclass(frozen=True, eq=False)
class Warmup(Schedule):
    """A linear rise over ``epochs`` (fractions allowed), then the schedule ``then`` over the rest of the run.

    ``then`` counts steps, epochs and validation losses from the end of the rise. Source: Goyal et al. 2017.
    """

    epochs: float = 1.0
    then: Schedule | str | Mapping[str, Any] = "constant"

    constraints = MappingProxyType({"epochs": Real(minimum=0, maximum=2**31 - 1)})

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "then", schedule(self.then))

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """``(step + 1) / rise_steps``, above 0 even at step 0; from step ``rise_steps`` on, ``then``."""
        rise_steps = round(self.epochs * steps_per_epoch)
        after_rise = steps >= rise_steps
        result = (steps + 1) / max(rise_steps, 1)
        result[after_rise] = schedule(self.then).factors(
            steps[after_rise] - rise_steps,
            total_steps=max(total_steps - rise_steps, 1),
            steps_per_epoch=steps_per_epoch,
            validation_losses=validation_losses[rise_steps // steps_per_epoch :],
        )
        return result


@final
@dataclass(frozen=True, eq=False)
class OneCycle(Schedule):
    """From ``start`` up to 1 at the fraction ``peak_at`` of the run, then down to ``final``.

    Smith and Topin 2018. The rise and the fall are each half a cosine, as is now common; in the paper they are
    linear. Momentum does not change.
    """

    peak_at: float = 0.3
    start: float = 1 / 25
    final: float = 1e-4

    constraints = MappingProxyType(
        {"peak_at": Real(above=0, below=1), "start": FACTOR, "final": FINAL_FACTOR}
    )

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """Half a cosine up, then half a cosine down: ``start`` at the first step, ``final`` at the last."""
        progress = np.minimum(steps / max(total_steps - 1, 1), 1.0)
        rise = np.minimum(progress, self.peak_at) / self.peak_at
        fall = (np.maximum(progress, self.peak_at) - self.peak_at) / (1 - self.peak_at)
        return np.where(rise < 1, _cosine(self.start, 1.0, rise), _cosine(1.0, self.final, fall))


@final
@dataclass(frozen=True, eq=False)
class ReduceOnPlateau(Schedule):
    """The rate is multiplied by ``factor`` after ``patience`` epochs in a row without progress.

    The factor does not fall below ``minimum``. Progress means that the validation loss is below the best so far
    by more than ``threshold`` times the best. A loss that is not finite is no progress. After a reduction the
    best loss stays, and the count of epochs restarts at 0.
    """

    factor: float = 0.5
    patience: int = 5
    threshold: float = 1e-4
    minimum: float = 1e-3

    constraints = MappingProxyType(
        {"factor": Real(above=0, below=1), "patience": COUNT, "threshold": SHARE, "minimum": FINAL_FACTOR}
    )

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """Constant within an epoch. Raises InputError if the loss of a past epoch is missing."""
        epochs = steps // steps_per_epoch
        past_epochs = int(epochs.max(initial=0))
        if len(validation_losses) < past_epochs:
            raise InputError(
                f"schedule 'reduce_on_plateau' needs the validation losses of all {past_epochs} past epochs and"
                f" got {len(validation_losses)}; hold out rows for validation, or choose another schedule"
            )
        return np.array(self._after_epochs(validation_losses[:past_epochs]))[epochs]

    def _after_epochs(self, losses: Sequence[float]) -> list[float]:
        """The factors after 0, 1, ..., ``len(losses)`` epochs."""
        loss_to_beat, epochs_without_progress, reductions = math.inf, 0, 0
        result = [1.0]
        for loss in losses:
            if math.isfinite(loss) and loss < loss_to_beat:
                # abs: the loss of a likelihood may be negative.
                loss_to_beat = loss - self.threshold * abs(loss)
                epochs_without_progress = 0
            else:
                epochs_without_progress += 1
            if epochs_without_progress == self.patience:
                epochs_without_progress = 0
                reductions += 1
            result.append(max(self.minimum, self.factor**reductions))
        return result


def needs_validation(part: Schedule) -> bool:
    """Whether ``part`` reads validation losses, so that training without validation can refuse it at once."""
    while isinstance(part, Warmup):
        part = schedule(part.then)
    return isinstance(part, ReduceOnPlateau)


def _cosine(start: float, end: float, progress: Factors) -> Factors:
    """Half a cosine: ``start`` at progress 0, ``end`` at progress 1, with slope 0 at both."""
    return end + (start - end) * (1 + np.cos(np.pi * progress)) / 2


_CLASSES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": StepDecay,
    "exponential": ExponentialDecay,
    "cosine": Cosine,
    "warmup": Warmup,
    "one_cycle": OneCycle,
    "reduce_on_plateau": ReduceOnPlateau,
}
for _name, _class in _CLASSES.items():
    SCHEDULES.add(_name, _class)
