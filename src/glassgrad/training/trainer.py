"""The state of a training as a value: step it, read it, change it, stop it, continue it to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common import interrupts
from glassgrad.common.constraints import Real, check
from glassgrad.common.errors import InputError, unknown_name
from glassgrad.nn.network import Network
from glassgrad.training.callbacks import Callback, EarlyStopping, MaxTime, check_callbacks
from glassgrad.training.changes import changed_settings
from glassgrad.training.checkpoints import check_alike, read, write
from glassgrad.training.compiled import Compiled
from glassgrad.training.engine import Engine
from glassgrad.training.model import Model
from glassgrad.training.named_metrics import lower_is_better
from glassgrad.training.run import Progress, Run, Status, describe
from glassgrad.training.settings import Settings, make_settings
from glassgrad.training.source import load
from glassgrad.training.state import Best, Change, Snapshot, State
from glassgrad.training.task import Preparation, Task

_FIELDS = ("task", "settings", "callbacks", "state", "best", "stopped")
"""The attributes of a Trainer that are no hyperparameters."""


class Trainer:
    """A training as a value: ``train`` in steps of your own.

    It takes everything that ``train`` takes, and ``callbacks`` (see ``Callback``)::

        trainer = gg.Trainer("digits", layers=[64, 32], epochs=30)
        trainer.advance(steps=37)
        trainer.learning_rate = 0.001
        trainer.evaluate("validation")
        run = trainer.run()

    The order of the rows, random numbers and schedules are functions of seed and step. So the bits do not depend on
    how the steps are cut into calls of ``advance``. Raises InputError as ``train`` does.
    """

    def __init__(
        self,
        data: Any,
        settings: Settings | None = None,
        *,
        target: str | None = None,
        task: str = "auto",
        network: Network | Mapping[str, Any] | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[Any, float] | str | None = None,
        callbacks: Sequence[Callback] = (),
        progress: Callable[[Progress], None] | None = None,
        **options: Any,
    ) -> None:
        settings = settings_from(settings, options, network)
        dataset = load(data, target=target, task=task)
        prepared = Preparation(dataset, sample_weight, class_weight).task(settings)
        self._set_up(prepared, settings, callbacks=callbacks, progress=progress)

    @classmethod
    def of(cls, task: Task, settings: Settings, **options: Any) -> Self:
        """A training of ``task``, which is prepared for ``settings``; ``options`` are those of ``_set_up``."""
        trainer = cls.__new__(cls)
        trainer._set_up(task, settings, **options)
        return trainer

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
        """``check`` is called after every call of the compiled step; what it or ``progress`` raises ends the run.

        ``compiled`` are the programs, where another run has compiled them. ``changes`` are made at their steps.
        """
        self.task, self.settings = task, settings
        self._callbacks_given = check_callbacks(callbacks)
        # Those of the settings come first: a checkpoint that a callback writes then knows that they ended it.
        self.callbacks = [*callbacks_of(settings), *self._callbacks_given]
        self._engine = Engine(task, settings, compiled)
        self._progress, self._check = progress, check
        self.state = self._epoch_end = self._engine.initial_state
        self.best: Best | None = None
        self.stopped: str | None = None
        self._history: list[dict[str, float | int]] = []
        self._changes: list[Change] = []
        self._planned = tuple(changes)
        self._divergence: str | None = None
        self._seconds, self._since = 0.0, math.nan
        self._started = self._told_stop = False

    # --- reading -----------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self.state.step

    @property
    def epochs_done(self) -> int:
        """The number of whole epochs done."""
        return len(self._history)

    @property
    def history(self) -> list[dict[str, float | int]]:
        """One record per whole epoch: ``epoch``, ``learning_rate``, ``train_loss``, ``validation_loss`` ..."""
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
        """Seconds of training so far, validation included and compilation not."""
        return self._seconds + (0.0 if math.isnan(self._since) else self._now() - self._since)

    def _now(self) -> float:
        compiling = self.compiled.seconds()  # first: this may be what compiles
        return time.perf_counter() - compiling

    @property
    def ended(self) -> bool:
        """Whether no step is left: all are done, a callback stopped the training, or it diverged."""
        return self.step >= self.total_steps or self.stopped is not None or self._divergence is not None

    @property
    def model(self) -> Model:
        """The network with the present weights, to predict, evaluate and save with."""
        return self._model(self.state.weights, self.state.statistics)

    def evaluate(self, part: str = "validation") -> dict[str, float]:
        """Metrics of the present weights on "train", "validation" or "test" rows; InputError where there are none."""
        parts = self.task.parts.named()
        if part not in parts:
            raise unknown_name("part of the data", part, parts)
        return self.model.evaluate_prepared(*parts[part], self._metric_names)

    @property
    def _metric_names(self) -> tuple[str, ...]:
        """The metrics that every evaluation computes besides the standard ones."""
        watched = () if self.settings.metric == "loss" else (self.settings.metric,)
        return tuple(dict.fromkeys((*self.settings.metrics, *watched)))

    def watched_values(self, metric: str = "loss") -> list[float]:
        """``metric`` on the validation rows after every epoch, turned so that lower is better."""
        name = f"validation_{metric}"
        for record in self._history:
            if name not in record:
                known = [key.removeprefix("validation_") for key in record if key.startswith("validation_")]
                raise unknown_name("metric", metric, known)
        sign = lower_is_better(metric)
        return [sign * float(record[name]) for record in self._history]

    def _model(self, weights: Mapping[str, Array], statistics: Mapping[str, Array]) -> Model:
        model = replace(self._engine.initial, weights=dict(weights), statistics=dict(statistics))
        model.share(self.compiled.evaluation)
        return model

    # --- changing ----------------------------------------------------------------------------------------

    @property
    def hyperparameters(self) -> dict[str, float]:
        """What can be changed between two steps, with the present values. The schedule multiplies the rate."""
        return {name: float(value) for name, value in self._engine.hyper.items()}

    def set(self, **values: float) -> None:
        """Change hyperparameters from the next step on. The change is recorded, and replayed.

        Raises InputError for a name that is no hyperparameter of this training, and for a value that the optimizer
        or the clipping does not take.
        """
        for name, value in values.items():
            if name not in self._engine.hyper:
                raise unknown_name("hyperparameter of this training", name, self._engine.hyper)
            self._engine.check_hyper(name, check(name, value, Real()))
        for name, value in values.items():
            self._engine.hyper[name] = float(value)
            self._changes = [item for item in self._changes if item[:2] != (self.step, name)]
            self._changes.append((self.step, name, float(value)))

    def __getattr__(self, name: str) -> float:
        """A hyperparameter: ``trainer.learning_rate`` is the base rate, which the schedule multiplies."""
        if not name.startswith("_") and name in self._engine.hyper:
            return float(self._engine.hyper[name])
        raise AttributeError(f"a Trainer has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """``trainer.learning_rate = 0.001`` is ``trainer.set(learning_rate=0.001)``; nothing unknown can be set."""
        if name.startswith("_") or name in _FIELDS:
            object.__setattr__(self, name, value)
        else:
            self.set(**{name: value})

    def stop(self, reason: str) -> None:
        """End the training after the present call; ``reason`` goes into ``Run.stopped``."""
        self.stopped = reason

    # --- the whole state ---------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Everything done so far, as a value. Taking one copies no weights."""
        return Snapshot(
            self.state,
            self._epoch_end,
            self.best,
            self.history,
            self.step_losses,
            self._engine.rates[: self.step],
            self.changes,
            self.stopped,
            self.seconds,
            tuple(callback.arrays() for callback in self._callbacks_given),
            None if self._engine.lenses is None else self._engine.lenses.arrays(),
            self._divergence,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back (or on) to a snapshot of a training of this kind; InputError where it is of another kind."""
        check_alike(self.state, snapshot.state)
        for _, name, _ in snapshot.changes:
            if name not in self._engine.hyper:
                raise unknown_name("hyperparameter of this training", name, self._engine.hyper)
        self.state, self._epoch_end, self.best = snapshot.state, snapshot.epoch_end, snapshot.best
        self._history = [dict(record) for record in snapshot.history]
        self._engine.losses.write(0, snapshot.losses)
        self._engine.rates.write(0, snapshot.rates)
        self._changes = list(snapshot.changes)
        self._engine.reset_hyper({name: value for _, name, value in snapshot.changes})
        self.stopped, self._seconds = snapshot.stopped, snapshot.seconds
        self._divergence = snapshot.diverged
        self._told_stop = False
        self._engine.forget()
        for callback, arrays in zip(self._callbacks_given, snapshot.callbacks, strict=False):
            if arrays:
                callback.restore(arrays)
        if self._engine.lenses is not None:
            self._engine.lenses.restore(snapshot.lenses or {})

    def fork(self) -> Trainer:
        """A second training that goes on from here on its own, without callbacks and progress."""
        twin = Trainer.of(self.task, self.settings, compiled=self.compiled)
        twin.restore(self.snapshot())
        return twin

    def checkpoint(self, path: str | Path) -> Path:
        """Write the state to ``path`` (``.safetensors`` is added where it is missing), and return the file.

        The checkpoint before it is kept beside it as ``.previous.safetensors``. Raises InputError where it cannot
        be written, or where a part is not registered; an older checkpoint is then as it was.
        """
        return write(path, self.snapshot(), self.task, self.settings, self._callbacks_given)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        data: Any = None,
        *,
        sample_weight: Any = None,
        callbacks: Sequence[Callback] = (),
        progress: Callable[[Progress], None] | None = None,
        **changes: Any,
    ) -> Self:
        """The training whose checkpoint is at ``path``; it goes on to the same bits as if it had never stopped.

        ``data`` are those it began with; they are found again by themselves where they came from a file. Of the
        settings, those in ``checkpoints.CHANGEABLE`` may be changed: more epochs train on. A checkpoint that is
        damaged is passed over for the one before it, with a warning. ``callbacks`` are those it was trained with.
        Raises InputError where neither checkpoint can be read, for other data, and for other changes.
        """
        saved = read(path, data, sample_weight, callbacks, changes)
        trainer = cls.of(saved.task, saved.settings, callbacks=callbacks, progress=progress)
        trainer.restore(saved.snapshot)
        return trainer

    # --- training ----------------------------------------------------------------------------------------

    @property
    def compiled(self) -> Compiled:
        """The compiled programs; compiled on first use."""
        return self._engine.compiled

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches that an epoch is cut into."""
        return self._engine.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """The number of steps of the whole training."""
        return self._engine.total_steps

    def advance(
        self, *, steps: int | None = None, epochs: int | None = None, seconds: float | None = None
    ) -> int:
        """Train on by ``steps`` steps, ``epochs`` times the steps of an epoch, or for ``seconds``.

        Returns how many steps were taken: fewer where the training ends. NaN or Inf end it with the last good
        weights. Raises InputError unless exactly one of the three is given.
        """
        given = [item for item in (steps, epochs, seconds) if item is not None]
        if len(given) != 1 or isinstance(given[0], bool) or not isinstance(given[0], (int, float)):
            raise InputError("advance takes one of steps=, epochs= and seconds=, such as advance(steps=100)")
        if not given[0] >= 0 or (seconds is None and not isinstance(given[0], int)):
            raise InputError(
                f"advance takes a number of at least 0, steps and epochs whole, not {given[0]!r}"
            )
        begin = self.step
        with interrupts.deferred():
            if seconds is not None:
                self._advance_to(self.total_steps, time.perf_counter() + seconds)
            else:
                count = steps if steps is not None else (epochs or 0) * self.steps_per_epoch
                self._advance_to(min(begin + count, self.total_steps))
        return self.step - begin

    def _advance_to(self, target: int, deadline: float = math.inf) -> None:
        if not self._started:
            for callback in self.callbacks:
                callback.on_start(self)
            self._started = True
        self._since = self._now()
        try:
            self._close_epochs()
            while self.step < target and not self.ended and time.perf_counter() < deadline:
                self._apply_planned()
                self._call(target, math.isinf(deadline))
                self._close_epochs()
                interrupts.poll()
            if self.ended:
                self._tell_stop()
        finally:
            self._seconds, self._since = self.seconds, math.nan

    def _tell_stop(self) -> None:
        if not self._told_stop:
            self._told_stop = True
            for callback in self.callbacks:
                callback.on_stop(self)

    def _apply_planned(self) -> None:
        for step, name, value in self._planned:
            if step == self.step:
                self.set(**{name: value})

    def _call(self, target: int, several_epochs: bool) -> None:
        """One call of the compiled step: at most to ``target``, the end of the epoch, or the next planned change."""
        step, each = self.step, self.steps_per_epoch
        limit = min([target, *(planned[0] for planned in self._planned if planned[0] > step)])
        epoch, count = step // each, 1
        # Where nothing happens between two epochs, several can go into one call.
        unobserved = self.task.parts.validation is None and self._progress is None and not self.callbacks
        if several_epochs and unobserved and step % each == 0:
            count = max(1, min(self._engine.pace.epochs_at_once, (limit - step) // each))
        end = min(limit, (epoch + count) * each, *self._next_callbacks(step))
        if count == 1:
            end = min(end, step + self._engine.pace.steps((epoch + 1) * each - step))
        start = time.perf_counter()
        losses = [float(record["validation_loss"]) for record in self._history if "validation_loss" in record]
        self.state, divergence = self._engine.call(self.state, end, count, losses)
        if divergence is not None:
            self._divergence = str(divergence)
            return
        if unobserved and step % each == 0 and end % each == 0:
            self._engine.pace.record_epochs(count, time.perf_counter() - start)
        if self._check is not None:
            self._check()
        if self._progress is not None:
            self._report(epoch + 1, self._engine.mean_loss(epoch * each, end))
        for callback in self.callbacks:
            callback.on_call(self)
            if callback.every_steps and end % callback.every_steps == 0:
                callback.on_steps(self)

    def _next_callbacks(self, step: int) -> list[int]:
        intervals = [c.every_steps for c in self.callbacks if c.every_steps]
        return [(step // interval + 1) * interval for interval in intervals]

    # --- ends of epochs ----------------------------------------------------------------------------------

    def _close_epochs(self) -> None:
        """Record the epochs that have ended: training loss, validation, the best weights; then the callbacks."""
        each = self.steps_per_epoch
        while len(self._history) < self.step // each:
            epoch = len(self._history) + 1
            record: dict[str, float | int] = {
                "epoch": epoch,
                "learning_rate": float(self._engine.rates[epoch * each - 1 : epoch * each][0]),
                "train_loss": self._engine.mean_loss((epoch - 1) * each, epoch * each),
            }
            present = self.step == epoch * each and self._divergence is None
            if present and self.task.parts.validation is not None:
                metrics = self.model.evaluate_prepared(*self.task.parts.validation, self._metric_names)
                record |= {f"validation_{name}": value for name, value in metrics.items()}
                value = lower_is_better(self.settings.metric) * metrics[self.settings.metric]
                better = self.best is None or value < self.best.value
                if self.settings.keep == "best" and np.isfinite(value) and better:
                    self.best = Best(value, epoch, self.state.weights, self.state.statistics)
            self._history.append(record)
            if not present:
                continue
            self._epoch_end = self.state
            if self._progress is not None:
                self._report(epoch, float(record["train_loss"]), record)
            for callback in self.callbacks:
                callback.on_epoch_end(self)

    def _report(self, epoch: int, loss: float, record: Mapping[str, float | int] | None = None) -> None:
        assert self._progress is not None
        lenses = None
        if record is not None and self._engine.lenses is not None:
            lenses = self._engine.lenses.lenses((epoch - 1) * self.steps_per_epoch)
        steps = self.step if record is None else epoch * self.steps_per_epoch
        self._progress(Progress(epoch, self.settings.epochs, steps, self.total_steps, loss, record, lenses))

    # --- the end -----------------------------------------------------------------------------------------

    def run(self, start: float | None = None) -> Run:
        """Train to the end, and measure.

        Ctrl-C ends the run with the weights of the last whole epoch, or the best ones; ``advance`` or ``run`` go on
        from where it stood. ``start`` is when the work began, by ``time.perf_counter``, for ``Run.seconds_total``.
        """
        start = time.perf_counter() if start is None else start
        # Signals are handled between calls, so that Ctrl-C finds a state that can be kept.
        with interrupts.deferred():
            run = self._run_to_the_end(start)
            if interrupts.settle() and run.status == "finished":
                run.status, run.message = "interrupted", _stopped_after(run.epochs)
                run.model.training["status"] = run.status
            return run

    def _run_to_the_end(self, start: float) -> Run:
        status: Status = "finished"
        message: str | None = None
        try:
            self._advance_to(self.total_steps)
        except KeyboardInterrupt:
            epoch = max(-(-self.step // self.steps_per_epoch), 1)
            status, message = "interrupted", f"stopped in epoch {epoch}; the last good weights are kept"
            self._tell_stop()
            self._told_stop = False
        if self._divergence is not None:
            status, message = "diverged", self._divergence
        try:
            run = self._result(start, status, message)
            interrupts.poll()
            return run
        except KeyboardInterrupt:  # during evaluation: the training is kept all the same
            if status == "finished":
                status, message = "interrupted", _stopped_after(self.epochs_done)
            with interrupts.held():
                return self._result(start, status, message)

    def _result(self, start: float, status: Status, message: str | None) -> Run:
        kept: State | Best = self._epoch_end if status == "interrupted" else self.state
        if self.best is not None:
            kept = self.best
        model = self._model(kept.weights, kept.statistics)
        # Interrupted before the end of the first epoch: skip evaluation.
        evaluated = {} if status == "interrupted" and not self._history else self.task.parts.named()
        metrics: dict[str, dict[str, float]] = {}
        for name, part in evaluated.items():
            metrics[name] = model.evaluate_prepared(*part, self._metric_names)
            interrupts.poll()
        describe(model, self.task, self.settings, metrics, epochs=self.epochs_done, status=status)
        initial = self._engine.initial
        return Run(
            model=model,
            settings=self.settings,
            history=self.history,
            metrics=metrics,
            status=status,
            message=message,
            epochs=self.epochs_done,
            best_epoch=self.best.epoch if self.best is not None else None,
            steps=self.epochs_done * self.steps_per_epoch,
            seconds_training=self.seconds,
            seconds_compiling=self.compiled.seconds_own(),
            seconds_total=time.perf_counter() - start,
            backend=model.provenance["backend"],
            rows=model.provenance["rows"],
            program=self.compiled.training.program,
            lenses=self._engine.lenses.lenses() if self._engine.lenses is not None else None,
            start=self._model(initial.weights, initial.statistics),
            given=self.task.given,
            split=self.task.parts.split,
            step_losses=self.step_losses,
            changes=self.changes,
            stopped=self.stopped,
        )


def callbacks_of(settings: Settings) -> list[Callback]:
    """The callbacks that the options ``patience`` and ``max_time`` ask for."""
    callbacks: list[Callback] = []
    if settings.patience is not None:
        callbacks.append(EarlyStopping(settings.patience, settings.metric))
    if settings.max_time is not None:
        callbacks.append(MaxTime(settings.max_time))
    return callbacks


def _stopped_after(epoch: int) -> str:
    return f"stopped after epoch {epoch}; the last good weights are kept"


def settings_from(
    settings: Settings | None, options: Mapping[str, Any], network: Network | Mapping[str, Any] | None
) -> Settings:
    """The settings that a call was given: as such, or as options; ``network`` replaces ``layers``."""
    if settings is not None and options:
        raise InputError("give either settings or options, not both")
    if network is not None:
        if not isinstance(network, (Network, Mapping)):
            raise InputError(
                f"network is what Sequential() or functional() gives, or a document, not {network!r}"
            )
        options = {**options, "network": network}
    return make_settings(options) if settings is None else changed_settings(settings, options)
