"""The state of a training as a value: step it, read it, change it, stop it, continue it to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from glassgrad.backends.base import Array, Feed, Result
from glassgrad.common.errors import InputError, unknown_name
from glassgrad.common.orders import Epochs
from glassgrad.common.version import __version__
from glassgrad.nn.network import Network
from glassgrad.optim.schedules import schedule
from glassgrad.training.backends import backend
from glassgrad.training.background import hyperparameter
from glassgrad.training.callbacks import Callback
from glassgrad.training.compiled import Compiled, Programs, seam
from glassgrad.training.divergence import Divergence, is_finite, locate
from glassgrad.training.lenses import Looking
from glassgrad.training.model import Model
from glassgrad.training.pace import Pace
from glassgrad.training.programs import FEATURES, TARGETS, WEIGHTS
from glassgrad.training.run import Change, Progress, Run, Status
from glassgrad.training.settings import Settings, make_settings
from glassgrad.training.source import load
from glassgrad.training.start import fit_to_data, initial_statistics, initial_weights, pretrained
from glassgrad.training.state import Best, State, StepLog
from glassgrad.training.task import Preparation, Task


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
        self.callbacks = list(callbacks)
        self.stopped: str | None = None
        self._seconds, self._since = 0.0, math.nan
        self._progress, self._check, self._compiled = progress, check, compiled
        self._started = False
        self._schedule = schedule(settings.schedule)
        self._hyper = settings.made.hyperparameters() | seam(settings).hyperparameters()
        self._planned = sorted(changes, key=lambda change: change[0])
        self._changes: list[Change] = []
        features, targets = task.parts.train
        self._data = {FEATURES: features, TARGETS: targets}
        if task.parts.weights is not None:
            self._data[WEIGHTS] = task.parts.weights
        self.steps_per_epoch = -(-len(features) // task.batch)
        self.total_steps = settings.epochs * self.steps_per_epoch
        self._initial = self._initial_model()
        fills = settings.made.slots()
        trained = [name for name in self._initial.weights if name.rsplit(".", 1)[0] not in settings.freeze]
        slots = {
            f"{slot}/{name}": np.full_like(self._initial.weights[name], fill)
            for slot, fill in fills.items()
            for name in trained
        }
        self.state = State(0, self._initial.weights, self._initial.statistics, slots)
        self._epoch_end = self.state
        self._losses, self._rates = StepLog(settings.dtype), StepLog("float64")
        self._history: list[dict[str, float | int]] = []
        self.best: Best | None = None
        self._divergence: Divergence | None = None
        self._last_feed: Feed | None = None
        self._epoch_rates: tuple[int, int, Array] | None = None
        parameters = self._initial.parameters
        self._looking = Looking(self.steps_per_epoch, task.batch * parameters) if settings.watch else None
        copied = parameters * np.dtype(settings.dtype).itemsize * (1 + len(fills))
        self._pace = Pace(6.0 * task.batch * parameters, copied, self.steps_per_epoch)

    def _initial_model(self) -> Model:
        settings, task, schema = self.settings, self.task, self.task.parts.schema
        shape, network, dtype = schema.feature_shape, task.choice.network, settings.dtype
        weights = initial_weights(network, shape, seed=settings.seed, dtype=dtype)
        statistics = initial_statistics(network, shape, dtype=dtype)
        taken: Collection[str] = ()
        if settings.init_from is not None:
            weights, statistics = pretrained(
                Path(settings.init_from), weights, statistics, settings.init_layers
            )
            every = [step.name for step in network.steps]
            taken = every if settings.init_layers is None else settings.init_layers
        weights = fit_to_data(network, weights, statistics, task.parts.train[0], taken)
        return Model(network, schema, task.choice.loss, weights, statistics, dtype, backend(settings.backend))

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
        return self._losses[: self.step]

    @property
    def changes(self) -> tuple[Change, ...]:
        """Hyperparameters changed so far: (first step with the new value, name, value)."""
        return tuple(self._changes)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, validation included and compilation not."""
        return self._seconds + (0.0 if math.isnan(self._since) else self._now() - self._since)

    def _now(self) -> float:
        return time.perf_counter() - self.compiled.seconds()

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
        return self.model.evaluate_prepared(*parts[part])

    def watched_values(self, metric: str = "loss") -> list[float]:
        """``metric`` on the validation rows after every epoch, turned so that lower is better."""
        name = f"validation_{metric}"
        for record in self._history[:1]:
            if name not in record:
                known = [key.removeprefix("validation_") for key in record if key.startswith("validation_")]
                raise unknown_name("metric", metric, known)
        sign = -1.0 if metric in ("accuracy", "r2") else 1.0
        return [sign * float(record[name]) for record in self._history]

    def _model(self, weights: Mapping[str, Array], statistics: Mapping[str, Array]) -> Model:
        model = replace(self._initial, weights=dict(weights), statistics=dict(statistics))
        model.share(self.compiled.evaluation)
        return model

    # --- changing ----------------------------------------------------------------------------------------

    @property
    def hyperparameters(self) -> dict[str, float]:
        """What can be changed between two steps, with the present values. The schedule multiplies the rate."""
        return {name: float(value) for name, value in self._hyper.items()}

    def set(self, **values: float) -> None:
        """Change hyperparameters from the next step on. The change is recorded, and replayed.

        Raises InputError for a name that is no hyperparameter of this training, and for a value that the optimizer
        or the clipping does not take.
        """
        for name, value in values.items():
            if name not in self._hyper:
                raise unknown_name("hyperparameter of this training", name, self._hyper)
            self._check_value(name, value)
        for name, value in values.items():
            self._hyper[name] = float(value)
            self._changes = [item for item in self._changes if item[:2] != (self.step, name)]
            self._changes.append((self.step, name, float(value)))

    def _check_value(self, name: str, value: float) -> None:
        if name in self.settings.made.hyperparameters():
            part = replace(self.settings.made, **{name: value})
            if part.hyperparameters().keys() != self.settings.made.hyperparameters().keys():
                raise InputError(f"{name} {value!r} would need another program; start a new training with it")
        else:
            changed: dict[str, Any] = {name: value}
            replace(self.settings, **changed)

    @property
    def learning_rate(self) -> float:
        """The base learning rate, which the schedule multiplies."""
        return float(self._hyper["learning_rate"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.set(learning_rate=value)

    def stop(self, reason: str) -> None:
        """End the training after the present call; ``reason`` goes into ``Run.stopped``."""
        self.stopped = reason

    # --- training ----------------------------------------------------------------------------------------

    @property
    def compiled(self) -> Compiled:
        """The compiled programs; compiled on first use."""
        if self._compiled is None:
            chosen = backend(self.settings.backend)
            self._compiled = Programs().compiled(self.task, self.settings, chosen)
        return self._compiled

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
        finally:
            self._seconds, self._since = self.seconds, math.nan

    def _apply_planned(self) -> None:
        while self._planned and self._planned[0][0] <= self.step:
            _, name, value = self._planned.pop(0)
            self.set(**{name: value})

    def _call(self, target: int, several_epochs: bool) -> None:
        """One call of the compiled step: at most to ``target``, the end of the epoch, or the next planned change."""
        step, each = self.step, self.steps_per_epoch
        limit = min([target, *(change[0] for change in self._planned[:1])])
        epoch, count = step // each, 1
        if several_epochs and step % each == 0 and self._epochs_are_unobserved():
            count = max(1, min(self._pace.epochs_at_once, (limit - step) // each))
        end = min(limit, (epoch + count) * each, *self._next_callbacks(step))
        if count == 1:
            end = min(end, step + self._pace.steps((epoch + 1) * each - step))
        rates = self._rates_of(epoch, count)[step - epoch * each : end - epoch * each]
        order = Epochs(len(self._data[FEATURES]), self.task.batch, self.settings.seed, epoch + 1, count)
        batch = self.task.batch
        feed = Feed(
            self._data,
            order[(step - epoch * each) * batch : (end - epoch * each) * batch],
            self.state.weights,
            self.state.statistics | self.state.slots,
            self._hyper | hyperparameter(self.task.parts.background) | {"learning_rate": rates},
            self.settings.seed,
            step,
        )
        start = time.perf_counter()
        result = self._run(feed)
        losses = result.outputs["loss"]
        self._losses.write(step, losses)
        self._rates.write(step, rates)
        if not (np.isfinite(losses).all() and is_finite(result.params) and is_finite(result.state)):
            self._end_diverged(feed)
            return
        self._last_feed = feed
        self.state = State(
            end,
            result.params,
            {name: result.state[name] for name in self.state.statistics},
            {name: result.state[name] for name in self.state.slots},
        )
        seconds = time.perf_counter() - start
        self._pace.record(end - step, seconds)
        if self._check is not None:
            self._check()
        if self._progress is not None:
            self._report(epoch + 1, self._mean_loss(epoch * each, end))
        for callback in self.callbacks:
            if callback.every_steps and end % callback.every_steps == 0:
                callback.on_steps(self)
        if self._epochs_are_unobserved() and step % each == 0 and end % each == 0:
            self._pace.record_epochs(count, seconds)

    def _epochs_are_unobserved(self) -> bool:
        """Whether nothing happens between two epochs, so that several can go into one call."""
        return self.task.parts.validation is None and self._progress is None and not self.callbacks

    def _next_callbacks(self, step: int) -> list[int]:
        intervals = [c.every_steps for c in self.callbacks if c.every_steps and c.every_steps > 1]
        return [(step // interval + 1) * interval for interval in intervals]

    def _run(self, feed: Feed) -> Result:
        """One call of the compiled step, with the lenses where they are asked for."""
        if self._looking is None:
            return self.compiled.training.run(feed)
        mask = self._looking.mask(feed.first_step, len(feed.order) // self.task.batch)
        result = self.compiled.training.run(replace(feed, probed=mask))
        self._looking.add(feed.first_step, mask, result.probes)
        return result

    def _rates_of(self, epoch: int, count: int) -> Array:
        """The learning rates of the steps of ``count`` epochs from ``epoch`` on: base rate times schedule."""
        if self._epoch_rates is None or self._epoch_rates[:2] != (epoch, count):
            each = self.steps_per_epoch
            factors = self._schedule.factors(
                np.arange(epoch * each, (epoch + count) * each, dtype=np.int64),
                total_steps=self.total_steps,
                steps_per_epoch=each,
                validation_losses=[
                    float(r["validation_loss"]) for r in self._history if "validation_loss" in r
                ],
            )
            self._epoch_rates = (epoch, count, factors)
        rates: Array = self._hyper["learning_rate"] * self._epoch_rates[2]
        return rates

    def _end_diverged(self, feed: Feed) -> None:
        """Go back to the last good weights, and find the step and the layer where NaN or Inf began."""
        trouble = locate(self.compiled.training, feed, self._last_feed)
        if self._looking is not None:
            self._looking.last = trouble.step
        statistics = {name: trouble.state[name] for name in self.state.statistics}
        slots = {name: trouble.state[name] for name in self.state.slots}
        self._divergence = trouble
        self.state = State(trouble.step, trouble.params, statistics, slots)

    # --- ends of epochs ----------------------------------------------------------------------------------

    def _close_epochs(self) -> None:
        """Record the epochs that have ended: training loss, validation, the best weights; then the callbacks."""
        each = self.steps_per_epoch
        while len(self._history) < self.step // each:
            epoch = len(self._history) + 1
            record: dict[str, float | int] = {
                "epoch": epoch,
                "learning_rate": float(self._rates[epoch * each - 1 : epoch * each][0]),
                "train_loss": self._mean_loss((epoch - 1) * each, epoch * each),
            }
            present = self.step == epoch * each and self._divergence is None
            if present and self.task.parts.validation is not None:
                metrics = self.model.evaluate_prepared(*self.task.parts.validation)
                record |= {f"validation_{name}": value for name, value in metrics.items()}
                value = metrics["loss"]
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

    def _mean_loss(self, first: int, end: int) -> float:
        """The mean training loss over the rows of the steps from ``first`` to before ``end``, of one epoch."""
        each, batch = self.steps_per_epoch, self.task.batch
        epoch = first // each
        order = Epochs(len(self._data[FEATURES]), batch, self.settings.seed, epoch + 1)
        order = order[(first - epoch * each) * batch : (end - epoch * each) * batch]
        if self.task.parts.weights is None:
            counts = order.rows_per_step().astype(np.float64)
        else:
            rows = np.asarray(order)
            weights = np.where(rows >= 0, self.task.parts.weights[rows], 0.0).reshape(-1, batch)
            counts = weights.sum(axis=1, dtype=np.float64)
        losses = self._losses[first:end].astype(np.float64)
        return float(losses @ counts) / max(float(counts.sum()), 1e-300)

    def _report(self, epoch: int, loss: float, record: Mapping[str, float | int] | None = None) -> None:
        assert self._progress is not None
        lenses = None
        if record is not None and self._looking is not None:
            lenses = self._looking.lenses((epoch - 1) * self.steps_per_epoch)
        steps = self.step if record is None else epoch * self.steps_per_epoch
        self._progress(Progress(epoch, self.settings.epochs, steps, self.total_steps, loss, record, lenses))

    # --- the end -----------------------------------------------------------------------------------------

    def run(self, start: float | None = None) -> Run:
        """Train to the end, and measure.

        Ctrl-C ends the run with the weights of the last whole epoch, or the best ones; ``advance`` or ``run`` go on
        from where it stood. ``start`` is when the work began, by ``time.perf_counter``, for ``Run.seconds_total``.
        """
        start = time.perf_counter() if start is None else start
        status: Status = "finished"
        message: str | None = None
        try:
            self._advance_to(self.total_steps)
        except KeyboardInterrupt:
            epoch = max(-(-self.step // self.steps_per_epoch), 1)
            status, message = "interrupted", f"stopped in epoch {epoch}; the last good weights are kept"
        if self._divergence is not None:
            status, message = "diverged", str(self._divergence)
        for callback in self.callbacks:
            callback.on_stop(self)
        try:
            return self._result(start, status, message)
        except KeyboardInterrupt:  # during evaluation: the training is kept all the same
            if status == "finished":
                epoch = self.epochs_done
                status, message = (
                    "interrupted",
                    f"stopped after epoch {epoch}; the last good weights are kept",
                )
            return self._result(start, status, message)

    def _result(self, start: float, status: Status, message: str | None) -> Run:
        settings, parts = self.settings, self.task.parts.named()
        kept: State | Best = self._epoch_end if status == "interrupted" else self.state
        if self.best is not None:
            kept = self.best
        model = self._model(kept.weights, kept.statistics)
        # Interrupted before the first epoch: skip evaluation.
        measured = {} if status == "interrupted" and not self._history else parts
        metrics = {name: model.evaluate_prepared(*part) for name, part in measured.items()}
        rows = {name: len(parts[name][0]) if name in parts else 0 for name in ("train", "validation", "test")}
        name = backend(model.backend).name
        model.metrics = {part: _finite_only(values) for part, values in metrics.items()}
        model.training = {"settings": _saved(settings), "epochs": self.epochs_done, "status": status}
        model.provenance = {
            "program": f"glassgrad {__version__}",
            "numpy": np.__version__,
            "backend": name,
            "source": self.task.name,
            "rows": rows,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return Run(
            model=model,
            settings=settings,
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
            backend=name,
            rows=rows,
            program=self.compiled.training.program,
            lenses=self._looking.lenses() if self._looking is not None else None,
            start=self._model(self._initial.weights, self._initial.statistics),
            given=self.task.given,
            step_losses=self.step_losses,
            changes=self.changes,
            stopped=self.stopped,
        )


def settings_from(
    settings: Settings | None, options: Mapping[str, Any], network: Network | Mapping[str, Any] | None
) -> Settings:
    """The settings that a call was given: as such, or as options; ``network`` replaces ``layers``."""
    if settings is None:
        settings = make_settings(options)
    elif options:
        raise InputError("give either settings or options, not both")
    if network is None:
        return settings
    if not isinstance(network, (Network, Mapping)):
        raise InputError(
            f"network is what Sequential() or functional() gives, or a document, not {network!r}"
        )
    return replace(settings, network=network)


def _saved(settings: Settings) -> dict[str, Any] | None:
    """The settings for the model file; a part that is not registered can be trained, but not saved."""
    try:
        return settings.to_document()
    except InputError:
        return None


def _finite_only(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if np.isfinite(value) else None for key, value in metrics.items()}
