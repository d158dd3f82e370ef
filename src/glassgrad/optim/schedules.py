"""Learning-rate schedules: what the base learning rate is multiplied by at each step.

A schedule is a pure function of the step numbers and of past epochs' validation losses: it holds no counters.
A resumed run, or one computed in chunks, therefore gets the same rates to the bit. All factors lie in [0, 1].
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
REST = Real(minimum=0, maximum=1)
"""What is left of the learning rate at the end; it may be nothing."""


@dataclass(frozen=True, eq=False)
class Schedule(Part, ABC):
    """How the learning rate changes over a run."""

    @abstractmethod
    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """The multipliers of the base learning rate, one per entry of ``steps``, float64.

        ``steps`` are global step numbers from 0, in any order. ``total_steps`` of the run and
        ``steps_per_epoch`` are at least 1; beyond the total, a schedule with an end stays there.
        ``validation_losses[e]`` is the loss after epoch ``e`` (counted from 0): a step of epoch ``e`` looks
        at the first ``e`` of them only, and only where ``needs_validation(schedule)``.
        """


SCHEDULES: Registry[Schedule] = Registry("schedule", Schedule)  # type: ignore[type-abstract]


def schedule(spec: str | Mapping[str, Any] | Schedule) -> Schedule:
    """The schedule described, e.g. ``"cosine"`` or ``"warmup(2, 'cosine(0.1)')"``; see ``Registry.make``."""
    return SCHEDULES.make(spec)


@final
class Constant(Schedule):
    """The base learning rate throughout."""

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """``1``."""
        return np.ones(len(steps))


@final
@dataclass(frozen=True, eq=False)
class StepDecay(Schedule):
    """A staircase: times ``factor`` after every ``every`` epochs."""

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
    """Times ``factor`` per epoch, in equal ratios from step to step."""

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
    """Half a cosine from 1 down to ``final``, without restarts (Loshchilov and Hutter 2017, equation 5)."""

    final: float = 0.0

    constraints = MappingProxyType({"final": REST})

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """``final + (1 - final) * (1 + cos(pi * step / total_steps)) / 2``.

        ``final`` is reached where the next step would be: a last step of zero rate would be wasted.
        """
        return _cosine(1.0, self.final, np.minimum(steps / total_steps, 1.0))


@final
@dataclass(frozen=True, eq=False)
class Warmup(Schedule):
    """A linear rise over ``epochs`` (fractions allowed), then the schedule ``then`` over the rest of the run.

    Goyal et al. 2017. ``then`` counts its steps and epochs, and reads losses, from the end of the rise.
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
        """``(step + 1) / rise``, so that not even step 0 has a zero rate; from step ``rise`` on, ``then``."""
        rise = round(self.epochs * steps_per_epoch)
        after = steps >= rise
        result = (steps + 1) / max(rise, 1)
        result[after] = schedule(self.then).factors(
            steps[after] - rise,
            total_steps=max(total_steps - rise, 1),
            steps_per_epoch=steps_per_epoch,
            validation_losses=validation_losses[rise // steps_per_epoch :],
        )
        return result


@final
@dataclass(frozen=True, eq=False)
class OneCycle(Schedule):
    """From ``start`` up to 1 at the fraction ``peak_at`` of the run, then down to ``final``.

    Smith and Topin 2018; both ways on half a cosine, as is now common, not on the paper's straight lines.
    Momentum stays as it is.
    """

    peak_at: float = 0.3
    start: float = 1 / 25
    final: float = 1e-4

    constraints = MappingProxyType({"peak_at": Real(above=0, below=1), "start": FACTOR, "final": REST})

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """The first step has ``start``, the last one ``final``."""
        progress = np.minimum(steps / max(total_steps - 1, 1), 1.0)
        rise = np.minimum(progress, self.peak_at) / self.peak_at
        fall = (np.maximum(progress, self.peak_at) - self.peak_at) / (1 - self.peak_at)
        return np.where(rise < 1, _cosine(self.start, 1.0, rise), _cosine(1.0, self.final, fall))


@final
@dataclass(frozen=True, eq=False)
class ReduceOnPlateau(Schedule):
    """Times ``factor``, down to ``minimum``, after each ``patience`` epochs in a row without progress.

    Progress is a validation loss below the best so far by more than ``threshold`` times that best; a loss
    that is not finite is none. After a reduction the best loss stays, and the count of epochs begins anew.
    """

    factor: float = 0.5
    patience: int = 5
    threshold: float = 1e-4
    minimum: float = 1e-3

    constraints = MappingProxyType(
        {"factor": Real(above=0, below=1), "patience": COUNT, "threshold": SHARE, "minimum": REST}
    )

    def factors(
        self, steps: Steps, *, total_steps: int, steps_per_epoch: int, validation_losses: Sequence[float]
    ) -> Factors:
        """Constant within an epoch. Raises InputError where the loss of a past epoch is missing."""
        epochs = steps // steps_per_epoch
        needed = int(epochs.max(initial=0))
        if len(validation_losses) < needed:
            raise InputError(
                f"schedule 'reduce_on_plateau' needs the validation losses of all {needed} past epochs and"
                f" got {len(validation_losses)}; hold out rows for validation, or choose another schedule"
            )
        return np.array(self._after_epochs(validation_losses[:needed]))[epochs]

    def _after_epochs(self, losses: Sequence[float]) -> list[float]:
        """The factor after 0, 1, ... ``len(losses)`` epochs."""
        to_beat, waited, reductions = math.inf, 0, 0
        result = [1.0]
        for loss in losses:
            if math.isfinite(loss) and loss < to_beat:
                # abs: a likelihood's loss may well be negative.
                to_beat, waited = loss - self.threshold * abs(loss), 0
            else:
                waited += 1
            if waited == self.patience:
                waited, reductions = 0, reductions + 1
            result.append(max(self.minimum, self.factor**reductions))
        return result


def needs_validation(part: Schedule) -> bool:
    """Whether ``part`` cannot do without validation losses, so that training can refuse it at once."""
    while isinstance(part, Warmup):
        part = schedule(part.then)
    return isinstance(part, ReduceOnPlateau)


def _cosine(start: float, end: float, progress: Factors) -> Factors:
    """``start`` at progress 0 and ``end`` at 1, level at both."""
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
