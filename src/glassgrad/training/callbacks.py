"""Callbacks: code that runs between the calls of the compiled step.

They cost nothing inside a step. Each method gets the ``Trainer`` and may read it, change a hyperparameter
(``trainer.learning_rate = 0.001``) or end the training (``trainer.stop("reason")``). An example::

    class HalveOnPlateau(gg.Callback):
        def on_epoch_end(self, trainer):
            losses = [record["validation_loss"] for record in trainer.history]
            if len(losses) > 5 and min(losses[-5:]) > min(losses[:-5]):
                trainer.learning_rate /= 2
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from glassgrad.backends.base import Array
from glassgrad.common.constraints import COUNT, check
from glassgrad.common.errors import InputError
from glassgrad.training.model import Model
from glassgrad.training.state import State
from glassgrad.training.task import Task


class Training(Protocol):
    """The part of ``Trainer`` that callbacks use; see there."""

    @property
    def task(self) -> Task:
        """The prepared data, and the network."""

    @property
    def state(self) -> State:
        """The current weights, running statistics and optimizer slots."""

    @property
    def step(self) -> int:
        """The number of completed steps."""

    @property
    def epochs_done(self) -> int:
        """The number of completed epochs."""

    @property
    def history(self) -> list[dict[str, float | int]]:
        """One record per completed epoch."""

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The current hyperparameters."""

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""

    @property
    def model(self) -> Model:
        """The network with the current weights."""

    def watched_values(self, metric: str = "loss") -> list[float]:
        """``metric`` on the validation rows after every epoch; lower is better."""

    def set(self, **values: float) -> None:
        """Change hyperparameters."""

    def stop(self, reason: str) -> None:
        """End the training."""


class Callback:
    """The base class of callbacks. Its methods do nothing.

    ``on_steps`` is called at every multiple of ``every_steps`` steps; never if ``every_steps`` is None.
    """

    every_steps: int | None = None

    def on_start(self, trainer: Training) -> None:
        """Called before the first step, and again after a resume."""

    def on_steps(self, trainer: Training) -> None:
        """Called after every ``every_steps`` steps."""

    def on_call(self, trainer: Training) -> None:
        """Called after every call of the compiled step. How many steps a call takes depends on the clock."""

    def on_epoch_end(self, trainer: Training) -> None:
        """Called after every epoch, with the record of the epoch in ``trainer.history``."""

    def on_stop(self, trainer: Training) -> None:
        """Called once when the training ends: all steps done, stopped, diverged or interrupted."""

    def arrays(self) -> dict[str, Array]:
        """The state that a checkpoint stores for this callback: arrays by name."""
        return {}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Restore the state that ``arrays`` returned."""


def check_callbacks(callbacks: Iterable[Callback]) -> tuple[Callback, ...]:
    """``callbacks`` as a tuple; raises InputError for anything else, and for a wrong ``every_steps``."""
    if not isinstance(callbacks, Iterable):
        raise InputError(f"callbacks must be a list of callbacks, not {callbacks!r}")
    items = tuple(callbacks)
    for item in items:
        if not isinstance(item, Callback):
            raise InputError(f"callbacks: {item!r} is not a Callback; derive its class from gg.Callback")
        if item.every_steps is not None:
            check("every_steps", item.every_steps, COUNT)
    return items


class EarlyStopping(Callback):
    """Ends the training when ``metric`` on the validation rows has not improved for ``patience`` epochs.

    The callback has no state: it reads the history. A smaller improvement than ``minimum_improvement`` does not
    count. ``on_start`` raises InputError if no rows are held out for validation. Source: L. Prechelt, "Early
    stopping - but when?", 1998.
    """

    def __init__(self, patience: int, metric: str = "loss", minimum_improvement: float = 0.0) -> None:
        if not isinstance(patience, int) or isinstance(patience, bool) or patience < 1:
            raise InputError(f"patience must be a whole number of at least 1, not {patience!r}")
        self.patience, self.metric, self.minimum_improvement = patience, metric, minimum_improvement

    def on_start(self, trainer: Training) -> None:
        """Check that some rows are held out for validation."""
        if trainer.task.parts.validation is None:
            raise InputError(
                "early stopping needs validation rows; set validation above 0, or leave out patience"
            )

    def on_epoch_end(self, trainer: Training) -> None:
        """Stop if the best epoch is at least ``patience`` epochs ago."""
        values = trainer.watched_values(self.metric)
        best, best_epoch = math.inf, 0
        for epoch, value in enumerate(values, start=1):
            if value < best - self.minimum_improvement:
                best, best_epoch = value, epoch
        if len(values) - best_epoch >= self.patience:
            name = f"validation {self.metric.replace('_', ' ')}"
            trainer.stop(f"no better {name} in {self.patience} epochs; the best was in epoch {best_epoch}")


class MaxTime(Callback):
    """Ends the training after ``seconds`` of training, at the end of a call. Compilation does not count."""

    def __init__(self, seconds: float) -> None:
        if not seconds > 0 or not math.isfinite(seconds):
            raise InputError(f"max_time must be a number of seconds above 0, not {seconds!r}")
        self.seconds = seconds

    def on_call(self, trainer: Training) -> None:
        """Stop if the time is up."""
        if trainer.seconds >= self.seconds:
            trainer.stop(f"the time limit of {self.seconds:g} seconds is reached")


class AveragedModel(Callback):
    """Keeps an exponential moving average of the weights, or (``decay=None``) their plain mean.

    The moving average (EMA) is ``a <- decay a + (1 - decay) w`` (B. Polyak and A. Juditsky, 1992). The mean is that
    of stochastic weight averaging (P. Izmailov et al., UAI 2018). The average is updated every ``every_steps`` steps
    (None: at the end of every epoch), after the first ``start_epoch`` epochs. ``model(trainer)`` returns the averaged
    network; its running statistics are those of the last step.
    """

    def __init__(
        self, decay: float | None = 0.99, *, every_steps: int | None = None, start_epoch: int = 0
    ) -> None:
        if decay is not None and not 0 <= decay < 1:
            raise InputError(f"decay must be a number from 0 to below 1, or None for the mean, not {decay!r}")
        self.decay, self.every_steps, self.start_epoch = decay, every_steps, start_epoch
        check_callbacks([self])
        self.weights: dict[str, Array] = {}
        self.count = 0

    def on_steps(self, trainer: Training) -> None:
        """Add the weights to the average."""
        self._update(trainer)

    def on_epoch_end(self, trainer: Training) -> None:
        """Add the weights to the average, unless ``every_steps`` is set."""
        if self.every_steps is None:
            self._update(trainer)

    def _update(self, trainer: Training) -> None:
        if trainer.epochs_done < self.start_epoch:
            return
        weights = trainer.state.weights
        self.count += 1
        keep = 1 - 1 / self.count if self.decay is None or not self.weights else self.decay
        self.weights = {
            name: array
            if not self.weights
            else (keep * self.weights[name] + (1 - keep) * array).astype(array.dtype)
            for name, array in weights.items()
        }

    def model(self, trainer: Training) -> Any:
        """The network with the averaged weights; InputError if no weights have been averaged yet."""
        if not self.weights:
            raise InputError("no weights have been averaged yet; train past start_epoch first")
        model = trainer.model
        model.weights = dict(self.weights)
        return model

    def arrays(self) -> dict[str, Array]:
        """The average, and the number of updates in it as ``count``."""
        import numpy as np

        return {**self.weights, "count": np.array(self.count)}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Restore the state that ``arrays`` returned."""
        self.weights = {name: array for name, array in arrays.items() if name != "count"}
        self.count = int(arrays["count"])
