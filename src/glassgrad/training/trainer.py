"""``Trainer``: a training that is advanced step by step, changed, stopped, and continued to the same bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

from glassgrad.common import interrupts
from glassgrad.common.errors import InputError, unknown_name
from glassgrad.nn.network import Network
from glassgrad.training.callbacks import Callback
from glassgrad.training.changes import changed_settings
from glassgrad.training.checkpoints import check_alike, read, write
from glassgrad.training.loop import TrainingLoop
from glassgrad.training.run import Progress, Run, Status, describe
from glassgrad.training.settings import Settings, make_settings
from glassgrad.training.source import load
from glassgrad.training.state import Best, Snapshot, State
from glassgrad.training.task import Preparation, Task

_FIELDS = ("task", "settings", "callbacks", "state", "best", "stopped")
"""The public attributes of a Trainer that are not hyperparameters."""


class Trainer(TrainingLoop):
    """A training that is advanced step by step. ``train`` is one call of ``run``.

    The arguments are those of ``train``, with ``callbacks`` (see ``Callback``)::

        trainer = gg.Trainer("digits", layers=[64, 32], epochs=30)
        trainer.advance(steps=37)
        trainer.learning_rate = 0.001
        trainer.evaluate("validation")
        run = trainer.run()

    The order of the rows, random numbers and schedules are functions of seed and step. So the bits do not depend on
    how the steps are divided among calls of ``advance``. A Trainer cannot be copied or pickled: ``fork`` makes a
    second training, ``checkpoint`` writes one to a file. Raises InputError as ``train`` does.
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
        """A training of ``task``, prepared for ``settings``; ``options`` are those of ``TrainingLoop._set_up``."""
        trainer = cls.__new__(cls)
        trainer._set_up(task, settings, **options)
        return trainer

    # --- hyperparameters as attributes ---------------------------------------------------------------------

    def __getattr__(self, name: str) -> float:
        """A hyperparameter: ``trainer.learning_rate`` is the base rate, which the schedule multiplies."""
        # Read from __dict__: self._engine would call this method again while the Trainer has no engine yet.
        engine = self.__dict__.get("_engine")
        if engine is None:
            raise AttributeError(f"this Trainer is not initialized, so it has no attribute {name!r}")
        if name in engine.hyper:
            return float(engine.hyper[name])
        raise AttributeError(f"a Trainer has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """``trainer.learning_rate = 0.001`` means ``trainer.set(learning_rate=0.001)``; see there for errors."""
        if name.startswith("_") or name in _FIELDS:
            object.__setattr__(self, name, value)
        else:
            self.set(**{name: value})

    def __reduce__(self) -> NoReturn:
        """Refuse ``copy`` and ``pickle``: a copy would share the compiled programs and the log of the steps."""
        raise TypeError(
            "a Trainer cannot be copied or pickled; use trainer.fork() for a second training, or "
            "trainer.checkpoint(path) and Trainer.resume(path)"
        )

    # --- snapshots and checkpoints ---------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The complete state of the training. A snapshot shares the weights and copies none."""
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
        """Continue from ``snapshot``; InputError if the names, shapes or dtypes of its arrays differ."""
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
        self._stop_reported = False
        self._engine.forget()
        for callback, arrays in zip(self._callbacks_given, snapshot.callbacks, strict=False):
            if arrays:
                callback.restore(arrays)
        if self._engine.lenses is not None:
            self._engine.lenses.restore(snapshot.lenses or {})

    def fork(self) -> Trainer:
        """An independent training that continues from the current state, without callbacks and progress."""
        fork = Trainer.of(self.task, self.settings, compiled=self.compiled)
        fork.restore(self.snapshot())
        return fork

    def checkpoint(self, path: str | Path) -> Path:
        """Write the state to ``path``, and return the path of the file; ``.safetensors`` is added if missing.

        The previous checkpoint is kept beside the new one as ``.previous.safetensors``. Raises InputError if the
        file cannot be written, or if a part is not registered; the older checkpoint is then unchanged.
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
        """The training whose checkpoint is at ``path``; it continues to the same bits as without an interruption.

        ``data`` is the data set that the training began with. It may be omitted for data from a file, which is read
        again. ``callbacks`` are those of the original training. The settings in ``checkpoints.CHANGEABLE``
        may change; with more epochs the training continues. If the checkpoint is damaged, the previous one is used,
        with a warning. Raises InputError if neither checkpoint can be read, for other data, and for other changes.
        """
        saved = read(path, data, sample_weight, callbacks, changes)
        trainer = cls.of(saved.task, saved.settings, callbacks=callbacks, progress=progress)
        trainer.restore(saved.snapshot)
        return trainer

    # --- training ----------------------------------------------------------------------------------------

    def advance(
        self, *, steps: int | None = None, epochs: int | None = None, seconds: float | None = None
    ) -> int:
        """Train for ``steps`` steps, for ``epochs`` times the steps of an epoch, or for ``seconds``.

        Returns the number of steps taken, which is smaller if the training ends. NaN or Inf end the training with
        the last good weights. Raises InputError unless exactly one of the three is given, as a number of at least 0.
        """
        amounts = [amount for amount in (steps, epochs, seconds) if amount is not None]
        if len(amounts) != 1 or isinstance(amounts[0], bool) or not isinstance(amounts[0], (int, float)):
            raise InputError("advance takes one of steps=, epochs= and seconds=, such as advance(steps=100)")
        if not amounts[0] >= 0 or (seconds is None and not isinstance(amounts[0], int)):
            raise InputError(
                f"advance takes a number of at least 0, whole for steps and epochs, not {amounts[0]!r}"
            )
        begin = self.step
        with interrupts.deferred():
            if seconds is not None:
                self._advance_to(self.total_steps, time.perf_counter() + seconds)
            else:
                count = steps if steps is not None else (epochs or 0) * self.steps_per_epoch
                self._advance_to(min(begin + count, self.total_steps))
        return self.step - begin

    # --- the end -----------------------------------------------------------------------------------------

    def run(self, start: float | None = None) -> Run:
        """Train to the end, and evaluate.

        Ctrl-C ends the run with the best weights or those of the last completed epoch; ``advance`` or ``run`` can
        continue afterwards. ``start`` is the ``time.perf_counter`` value from which ``Run.seconds_total`` counts.
        """
        start = time.perf_counter() if start is None else start
        # Signals are handled between calls of the compiled step, so that Ctrl-C leaves a consistent state.
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
            self._report_stop()
            self._stop_reported = False
        if self._divergence is not None:
            status, message = "diverged", self._divergence
        try:
            run = self._result(start, status, message)
            interrupts.poll()
            return run
        except KeyboardInterrupt:  # during evaluation: keep the training
            if status == "finished":
                status, message = "interrupted", _stopped_after(self.epochs_done)
            with interrupts.held():
                return self._result(start, status, message)

    def _result(self, start: float, status: Status, message: str | None) -> Run:
        final: State | Best = self._epoch_end if status == "interrupted" else self.state
        if self.best is not None:
            final = self.best
        model = self._model(final.weights, final.statistics)
        # Interrupted before the end of the first epoch: skip evaluation.
        parts = {} if status == "interrupted" and not self._history else self.task.parts.named()
        metrics: dict[str, dict[str, float]] = {}
        for name, part in parts.items():
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


def _stopped_after(epoch: int) -> str:
    return f"stopped after epoch {epoch}; the last good weights are kept"


def settings_from(
    settings: Settings | None, options: Mapping[str, Any], network: Network | Mapping[str, Any] | None
) -> Settings:
    """The settings of a call, from ``settings`` or from ``options``; ``network`` replaces ``layers``."""
    if settings is not None and options:
        raise InputError("give either settings or options, not both")
    if network is not None:
        if not isinstance(network, (Network, Mapping)):
            raise InputError(
                f"network must be a network (from Sequential or functional) or its document, not {network!r}"
            )
        options = {**options, "network": network}
    return make_settings(options) if settings is None else changed_settings(settings, options)
