"""``Engine``: calls of the compiled step, their inputs and records, and the handling of NaN and Inf."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from glassgrad.backends.base import Array, Feed, Result
from glassgrad.common.errors import InputError
from glassgrad.common.layer_names import layer_of
from glassgrad.common.orders import Epochs
from glassgrad.optim.schedules import schedule
from glassgrad.training.backends import backend
from glassgrad.training.background import hyperparameter
from glassgrad.training.compiled import Compiled, Programs, gradient_transformation
from glassgrad.training.divergence import Divergence, is_finite, locate
from glassgrad.training.lenses import LensRecorder
from glassgrad.training.pace import Pace
from glassgrad.training.programs import FEATURES, TARGETS, WEIGHTS
from glassgrad.training.settings import Settings
from glassgrad.training.start import initial_model
from glassgrad.training.state import State, StepLog
from glassgrad.training.task import Task


class Engine:
    """Advances a ``State`` by calls of the compiled step, and records the loss and learning rate of every step."""

    def __init__(self, task: Task, settings: Settings, compiled: Compiled | None = None) -> None:
        self.task, self.settings = task, settings
        self._compiled = compiled
        self._schedule = schedule(settings.schedule)
        self.hyper: dict[str, float] = {}
        self.reset_hyper({})
        features, targets = task.parts.train
        self._data = {FEATURES: features, TARGETS: targets}
        if task.parts.weights is not None:
            self._data[WEIGHTS] = task.parts.weights
        self.steps_per_epoch = -(-len(features) // task.batch)
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.initial = initial_model(task, settings)
        fills = settings.resolved_optimizer.slots()
        trained_names = [name for name in self.initial.weights if layer_of(name) not in settings.freeze]
        slots = {
            f"{slot}/{name}": np.full_like(self.initial.weights[name], fill)
            for slot, fill in fills.items()
            for name in trained_names
        }
        self.initial_state = State(0, self.initial.weights, self.initial.statistics, slots)
        self.losses, self.rates = StepLog(settings.dtype), StepLog("float64")
        parameters = self.initial.parameters
        multiplications = task.batch * parameters
        self.lenses = LensRecorder(self.steps_per_epoch, multiplications) if settings.watch else None
        bytes_copied = parameters * np.dtype(settings.dtype).itemsize * (1 + len(fills))
        self.pace = Pace(6.0 * task.batch * parameters, bytes_copied, self.steps_per_epoch)
        self._last_feed: Feed | None = None
        self._factors: tuple[int, int, Array] | None = None

    @property
    def compiled(self) -> Compiled:
        """The compiled programs; compiled on first use."""
        if self._compiled is None:
            self._compiled = Programs().compiled(self.task, self.settings, backend(self.settings.backend))
        return self._compiled

    def reset_hyper(self, changes: Mapping[str, float]) -> None:
        """Set the hyperparameters to those of the settings, with ``changes`` applied."""
        settings = self.settings
        self.hyper = (
            settings.resolved_optimizer.hyperparameters()
            | gradient_transformation(settings).hyperparameters()
            | dict(changes)
        )

    def check_hyper(self, name: str, value: float) -> None:
        """Raise InputError unless the compiled program allows ``value`` for the hyperparameter ``name``."""
        optimizer = self.settings.resolved_optimizer
        if name in optimizer.hyperparameters():
            changed = replace(optimizer, **{name: value})
            if changed.hyperparameters().keys() != optimizer.hyperparameters().keys():
                raise InputError(
                    f"{name} cannot be set to {value!r} during training; start a new training with it"
                )
        else:
            options: dict[str, Any] = {name: value}
            replace(self.settings, **options)

    def call(
        self, state: State, end: int, epochs: int, validation_losses: Sequence[float]
    ) -> tuple[State, Divergence | None]:
        """Make one call of the compiled step: from ``state`` to the step ``end``, within ``epochs`` epochs.

        Returns the new state and None. On NaN or Inf, returns the last good state, and the step and layer where they
        began.
        """
        step, batch = state.step, self.task.batch
        epoch = step // self.steps_per_epoch
        first = epoch * self.steps_per_epoch
        rates = self.hyper["learning_rate"] * self._factors_of(epoch, epochs, validation_losses)
        feed = Feed(
            self._data,
            self._order(epoch, epochs)[(step - first) * batch : (end - first) * batch],
            state.weights,
            state.statistics | state.slots,
            self.hyper
            | hyperparameter(self.task.parts.background)
            | {"learning_rate": rates[step - first : end - first]},
            self.settings.seed,
            step,
        )
        start = time.perf_counter()
        result = self._run(feed)
        losses = result.outputs["loss"]
        self.losses.write(step, losses)
        self.rates.write(step, rates[step - first : end - first])
        if not (np.isfinite(losses).all() and is_finite(result.params) and is_finite(result.state)):
            return self._last_good(state, feed)
        self._last_feed = feed
        self.pace.record(end - step, time.perf_counter() - start)
        return State(
            end,
            result.params,
            {name: result.state[name] for name in state.statistics},
            {name: result.state[name] for name in state.slots},
        ), None

    def _run(self, feed: Feed) -> Result:
        """Run the training program, and record the probes if ``watch`` is set."""
        if self.lenses is None:
            return self.compiled.training.run(feed)
        mask = self.lenses.mask(feed.first_step, len(feed.order) // self.task.batch)
        result = self.compiled.training.run(replace(feed, probed=mask))
        self.lenses.add(feed.first_step, mask, result.probes)
        return result

    def _last_good(self, state: State, feed: Feed) -> tuple[State, Divergence]:
        divergence = locate(self.compiled.training, feed, self._last_feed)
        if self.lenses is not None:
            self.lenses.last = divergence.step
        statistics = {name: divergence.state[name] for name in state.statistics}
        slots = {name: divergence.state[name] for name in state.slots}
        return State(divergence.step, divergence.params, statistics, slots), divergence

    def forget(self) -> None:
        """Clear the caches of earlier calls, since the training continues from another state."""
        self._last_feed = self._factors = None

    def _factors_of(self, epoch: int, count: int, validation_losses: Sequence[float]) -> Array:
        """The factors of the schedule, one per step, for ``count`` epochs from ``epoch`` on."""
        if self._factors is None or self._factors[:2] != (epoch, count):
            steps_per_epoch = self.steps_per_epoch
            steps = np.arange(epoch * steps_per_epoch, (epoch + count) * steps_per_epoch, dtype=np.int64)
            factors = self._schedule.factors(
                steps,
                total_steps=self.total_steps,
                steps_per_epoch=steps_per_epoch,
                validation_losses=validation_losses,
            )
            self._factors = (epoch, count, factors)
        return self._factors[2]

    def _order(self, epoch: int, count: int = 1) -> Epochs:
        rows = len(self._data[FEATURES])
        return Epochs(rows, self.task.batch, self.settings.seed, epoch + 1, count)

    def mean_loss(self, first: int, end: int) -> float:
        """The mean training loss over the rows of the steps ``first`` to ``end`` (exclusive), all of one epoch."""
        batch, weights = self.task.batch, self.task.parts.weights
        epoch = first // self.steps_per_epoch
        start = epoch * self.steps_per_epoch
        order = self._order(epoch)[(first - start) * batch : (end - start) * batch]
        if weights is None:
            counts = order.rows_per_step().astype(np.float64)
        else:
            rows = np.asarray(order)
            row_weights = np.where(rows >= 0, weights[rows], 0.0).reshape(-1, batch)
            counts = row_weights.sum(axis=1, dtype=np.float64)
        losses = self.losses[first:end].astype(np.float64)
        return float(losses @ counts) / max(float(counts.sum()), 1e-300)
