"""The loop of a training: calls of the compiled step, ends of epochs, callbacks and progress reports."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common import interrupts
from glassgrad.common.constraints import Real, check
from glassgrad.common.errors import unknown_name
from glassgrad.training.callbacks import Callback, EarlyStopping, MaxTime, check_callbacks
from glassgrad.training.compiled import Compiled
from glassgrad.training.engine import Engine
from glassgrad.training.model import Model
from glassgrad.training.named_metrics import sign_of
from glassgrad.training.run import Progress
from glassgrad.training.settings import Settings
from glassgrad.training.state import Best, Change
from glassgrad.training.task import Task


class TrainingLoop:
    """The base of ``Trainer``: the state of a training, and the loop that advances it to a target step."""

    def _set_up(
        self,
        task: Task,
        settings: Settings,
        *,
        callbacks: Sequence[Callback] = (),
        progress: Callable[[Progress], None] | None = None,
        check: Callable[[], None] | None = None,
        compiled: Compiled | None = None,
        changes: Sequence[Change] = (),
    ) -> None:
        """Start from the initial state.

        ``check`` is called after every call of the compiled step. An exception from ``check`` or ``progress`` ends
        the run. ``compiled`` holds the programs if another run has compiled them already. ``changes`` are applied
        at their steps.
        """
        self.task, self.settings = task, settings
        self._callbacks_given = check_callbacks(callbacks)
        # The settings' callbacks come first, so that a checkpoint written by a callback records that they stopped it.
        self.callbacks = [*callbacks_of(settings), *self._callbacks_given]
        self._engine = Engine(task, settings, compiled)
        self._progress, self._check = progress, check
        self.state = self._epoch_end = self._engine.initial_state
        self.best: Best | None = None
        self.stopped: str | None = None
        self._history: list[dict[str, float | int]] = []
        self._changes: list[Change] = []
        self._planned_changes = tuple(changes)
        self._divergence: str | None = None
        self._seconds, self._resumed_at = 0.0, math.nan
        self._started = self._stop_reported = False

    # --- reading -----------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """The number of completed steps."""
        return self.state.step

    @property
    def epochs_done(self) -> int:
        """The number of completed epochs."""
        return len(self._history)

    @property
    def history(self) -> list[dict[str, float | int]]:
        """One record per completed epoch: ``epoch``, ``learning_rate``, ``train_loss``, ``validation_loss`` ..."""
        return [dict(record) for record in self._history]

    @property
    def step_losses(self) -> Array:
        """The training loss of every step so far, [steps]."""
        return self._engine.losses[: self.step]

    @property
    def changes(self) -> tuple[Change, ...]:
        """Hyperparameters changed so far: (first step with the new value, name, value)."""
        return tuple(self._changes)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, including validation, excluding compilation."""
        return self._seconds + (0.0 if math.isnan(self._resumed_at) else self._now() - self._resumed_at)

    def _now(self) -> float:
        """The clock without the seconds of compilation."""
        compiling = self.compiled.seconds()  # first: this may be what compiles
        return time.perf_counter() - compiling

    @property
    def ended(self) -> bool:
        """Whether the training is over: all steps are done, a callback stopped it, or it diverged."""
        return self.step >= self.total_steps or self.stopped is not None or self._divergence is not None

    @property
    def model(self) -> Model:
        """The network with the current weights, for prediction, evaluation and saving."""
        return self._model(self.state.weights, self.state.statistics)

    def evaluate(self, part: str = "validation") -> dict[str, float]:
        """Metrics of the current weights on "train", "validation" or "test" rows; InputError if there are none."""
        parts = self.task.parts.named()
        if part not in parts:
            raise unknown_name("part of the data", part, parts)
        return self.model.evaluate_prepared(*parts[part], self._metric_names)

    @property
    def _metric_names(self) -> tuple[str, ...]:
        """The metrics that every evaluation computes in addition to the standard ones."""
        watched = () if self.settings.metric == "loss" else (self.settings.metric,)
        return tuple(dict.fromkeys((*self.settings.metrics, *watched)))

    def watched_values(self, metric: str = "loss") -> list[float]:
        """``metric`` on the validation rows after every epoch, with the sign that makes lower better."""
        name = f"validation_{metric}"
        for record in self._history:
            if name not in record:
                metrics = [key.removeprefix("validation_") for key in record if key.startswith("validation_")]
                raise unknown_name("metric", metric, metrics)
        sign = sign_of(metric)
        return [sign * float(record[name]) for record in self._history]

    def _model(self, weights: Mapping[str, Array], statistics: Mapping[str, Array]) -> Model:
        model = replace(self._engine.initial, weights=dict(weights), statistics=dict(statistics))
        model.share(self.compiled.evaluation)
        return model

    # --- changing ----------------------------------------------------------------------------------------

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The current hyperparameters, which ``set`` changes. ``learning_rate`` is the rate before the schedule."""
        return {name: float(value) for name, value in self._engine.hyper.items()}

    def set(self, **values: float) -> None:
        """Change hyperparameters from the next step on. ``changes`` records the change, and ``replay`` repeats it.

        Raises InputError for a name that is not a hyperparameter of this training, and for a value that the
        optimizer or the gradient clipping rejects.
        """
        for name, value in values.items():
            if name not in self._engine.hyper:
                raise unknown_name("hyperparameter of this training", name, self._engine.hyper)
            self._engine.check_hyper(name, check(name, value, Real()))
        for name, value in values.items():
            self._engine.hyper[name] = float(value)
            self._changes = [item for item in self._changes if item[:2] != (self.step, name)]
            self._changes.append((self.step, name, float(value)))

    def stop(self, reason: str) -> None:
        """End the training after the current call of the compiled step; ``reason`` goes into ``Run.stopped``."""
        self.stopped = reason

    # --- the loop ----------------------------------------------------------------------------------------

    @property
    def compiled(self) -> Compiled:
        """The compiled programs; compiled on first use."""
        return self._engine.compiled

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return self._engine.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """The number of steps of the whole training."""
        return self._engine.total_steps

    def _advance_to(self, target: int, deadline: float = math.inf) -> None:
        if not self._started:
            for callback in self.callbacks:
                callback.on_start(self)
            self._started = True
        self._resumed_at = self._now()
        try:
            self._close_epochs()
            while self.step < target and not self.ended and time.perf_counter() < deadline:
                self._apply_planned_changes()
                self._call(target, math.isinf(deadline))
                self._close_epochs()
                interrupts.poll()
            if self.ended:
                self._report_stop()
        finally:
            self._seconds, self._resumed_at = self.seconds, math.nan

    def _report_stop(self) -> None:
        """Call ``on_stop`` of every callback, once."""
        if not self._stop_reported:
            self._stop_reported = True
            for callback in self.callbacks:
                callback.on_stop(self)

    def _apply_planned_changes(self) -> None:
        for step, name, value in self._planned_changes:
            if step == self.step:
                self.set(**{name: value})

    def _call(self, target: int, several_epochs: bool) -> None:
        """Make one call of the compiled step.

        The call ends at ``target``, at the end of the epoch, at the next planned change, or when a callback is due.
        """
        step, steps_per_epoch = self.step, self.steps_per_epoch
        limit = min([target, *(change[0] for change in self._planned_changes if change[0] > step)])
        epoch, count = step // steps_per_epoch, 1
        # One call can span several epochs if nothing has to happen between them.
        unobserved = self.task.parts.validation is None and self._progress is None and not self.callbacks
        if several_epochs and unobserved and step % steps_per_epoch == 0:
            count = max(1, min(self._engine.pace.epochs_at_once, (limit - step) // steps_per_epoch))
        end = min(limit, (epoch + count) * steps_per_epoch, *self._next_callbacks(step))
        if count == 1:
            end = min(end, step + self._engine.pace.steps((epoch + 1) * steps_per_epoch - step))
        start = time.perf_counter()
        losses = [float(record["validation_loss"]) for record in self._history if "validation_loss" in record]
        self.state, divergence = self._engine.call(self.state, end, count, losses)
        if divergence is not None:
            self._divergence = str(divergence)
            return
        if unobserved and step % steps_per_epoch == 0 and end % steps_per_epoch == 0:
            self._engine.pace.record_epochs(count, time.perf_counter() - start)
        if self._check is not None:
            self._check()
        if self._progress is not None:
            self._report_progress(epoch + 1, self._engine.mean_loss(epoch * steps_per_epoch, end))
        for callback in self.callbacks:
            callback.on_call(self)
            if callback.every_steps and end % callback.every_steps == 0:
                callback.on_steps(self)

    def _next_callbacks(self, step: int) -> list[int]:
        """The next step after ``step`` at which each callback with ``every_steps`` is due."""
        intervals = [c.every_steps for c in self.callbacks if c.every_steps]
        return [(step // interval + 1) * interval for interval in intervals]

    # --- ends of epochs ----------------------------------------------------------------------------------

    def _close_epochs(self) -> None:
        """Add the records of completed epochs to the history, with validation; then call the callbacks.

        Validation, the best weights, progress and callbacks need the state at the end of the epoch. They are skipped
        for an epoch that ended inside a call of several epochs, and after a divergence.
        """
        steps_per_epoch = self.steps_per_epoch
        while len(self._history) < self.step // steps_per_epoch:
            epoch = len(self._history) + 1
            end = epoch * steps_per_epoch
            record: dict[str, float | int] = {
                "epoch": epoch,
                "learning_rate": float(self._engine.rates[end - 1 : end][0]),
                "train_loss": self._engine.mean_loss(end - steps_per_epoch, end),
            }
            at_epoch_end = self.step == end and self._divergence is None
            if at_epoch_end and self.task.parts.validation is not None:
                metrics = self.model.evaluate_prepared(*self.task.parts.validation, self._metric_names)
                record |= {f"validation_{name}": value for name, value in metrics.items()}
                value = sign_of(self.settings.metric) * metrics[self.settings.metric]
                better = self.best is None or value < self.best.value
                if self.settings.keep == "best" and np.isfinite(value) and better:
                    self.best = Best(value, epoch, self.state.weights, self.state.statistics)
            self._history.append(record)
            if not at_epoch_end:
                continue
            self._epoch_end = self.state
            if self._progress is not None:
                self._report_progress(epoch, float(record["train_loss"]), record)
            for callback in self.callbacks:
                callback.on_epoch_end(self)

    def _report_progress(
        self, epoch: int, loss: float, record: Mapping[str, float | int] | None = None
    ) -> None:
        assert self._progress is not None
        lenses = None
        if record is not None and self._engine.lenses is not None:
            lenses = self._engine.lenses.lenses((epoch - 1) * self.steps_per_epoch)
        steps = self.step if record is None else epoch * self.steps_per_epoch
        self._progress(Progress(epoch, self.settings.epochs, steps, self.total_steps, loss, record, lenses))


def callbacks_of(settings: Settings) -> list[Callback]:
    """The callbacks for the options ``patience`` and ``max_time``."""
    callbacks: list[Callback] = []
    if settings.patience is not None:
        callbacks.append(EarlyStopping(settings.patience, settings.metric))
    if settings.max_time is not None:
        callbacks.append(MaxTime(settings.max_time))
    return callbacks
