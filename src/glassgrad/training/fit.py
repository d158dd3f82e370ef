"""Training: from a data set and settings to a run, epoch by epoch, with a way out of trouble."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from glassgrad.backends.base import Array, Feed, Result
from glassgrad.common.errors import GlassgradError, InputError
from glassgrad.common.frozen import frozen
from glassgrad.common.orders import Epochs
from glassgrad.common.version import __version__
from glassgrad.data.dataset import Dataset, from_table
from glassgrad.data.sources import load_source
from glassgrad.data.split import Split
from glassgrad.data.tabular import to_tabular
from glassgrad.files.run_folder import CONFIG, HISTORY, LENSES, MODEL, RunFolder, config_json, history_csv
from glassgrad.nn.network import Network
from glassgrad.optim.schedules import schedule
from glassgrad.program import Program
from glassgrad.training.backends import backend
from glassgrad.training.background import hyperparameter
from glassgrad.training.compiled import Compiled, Programs, seam
from glassgrad.training.divergence import Divergence, is_finite, locate
from glassgrad.training.given import Given
from glassgrad.training.lenses import Lenses, Looking
from glassgrad.training.model import Model
from glassgrad.training.programs import FEATURES, TARGETS, WEIGHTS
from glassgrad.training.settings import Settings, make_settings
from glassgrad.training.start import fit_to_data, initial_statistics, initial_weights, pretrained
from glassgrad.training.task import Preparation, Task

Status = Literal["finished", "interrupted", "diverged"]
SECONDS_PER_CALL = 0.1  # so often is Ctrl-C heard, and what Python does between two calls is small beside it
BYTES_PER_SECOND = 2e7  # of weights and state, of a call at most: to copy them takes a fiftieth of it
SLOW = 1e10  # floating-point operations per second: how fast the first call is taken to be
STEPS_AT_ONCE = 8192  # in several epochs, where nobody looks at what is between them
GROWTH = 16  # times as many epochs in the next call, at most


@frozen
class Progress:
    """Sent while training: after every call of the compiled step, and (``record``) after every epoch."""

    epoch: int
    epochs: int
    steps: int
    total_steps: int
    loss: float
    record: Mapping[str, float | int] | None = None
    lenses: Lenses | None = None
    """With a record, and ``watch``: what was seen in this epoch."""


@dataclass(eq=False)
class Run:
    """What a training run gave: the model, its metrics, the history, and what it cost.

    A run that was stopped in its first epoch has no metrics: whoever stops a run waits for its end.
    """

    model: Model
    settings: Settings
    history: list[dict[str, float | int]]
    metrics: dict[str, dict[str, float]]
    status: Status
    message: str | None
    epochs: int
    best_epoch: int | None
    steps: int
    seconds_training: float
    seconds_compiling: float
    seconds_total: float
    backend: str
    rows: dict[str, int] = field(default_factory=dict)
    program: Program | None = field(default=None, repr=False)
    """One step of the training; ``print`` shows forward, backward and update as numbered equations."""
    lenses: Lenses | None = field(default=None, repr=False)
    """What was seen inside the network while it trained, with ``watch``; else None."""
    start: Model | None = field(default=None, repr=False)
    """The same network with the weights that it began with."""
    given: Given | None = field(default=None, repr=False)
    """What it was trained on, as it was given."""
    split: Split | None = field(default=None, repr=False)
    """Which rows of the data set were in which part."""

    diagnose_run: ClassVar[Callable[..., Any] | None] = None
    """What ``diagnose`` calls. The package's root sets it: training knows nothing of the diagnosis above it."""

    @property
    def dataset(self) -> Dataset:
        """What it was trained on."""
        assert self.given is not None
        return self.given.dataset

    @cached_property
    def task(self) -> Task:
        """Network, loss, and the data cut and scaled. Prepared when it is first asked for: runs are light to keep."""
        assert self.given is not None
        given = self.given
        return Preparation(given.dataset, given.sample_weight, given.class_weight).task(
            self.settings, self.split
        )

    def diagnose(self, **options: Any) -> Any:
        """Answer the five questions for this run, by experiment: a ``Diagnosis`` (see ``glassgrad.diagnose``).

        Raises GlassgradError where the run came from a module inside the package, and not from ``glassgrad.train``.
        """
        if Run.diagnose_run is None:
            raise GlassgradError("this run does not know how to be diagnosed; call glassgrad.diagnose(run)")
        return Run.diagnose_run(self, **options)

    def files(self) -> dict[str, bytes]:
        """The files of the run folder, by name."""
        files = {
            MODEL: self.model.to_bytes(),
            HISTORY: history_csv(self.history),
            CONFIG: config_json(self._config()),
        }
        if self.lenses is not None:
            files[LENSES] = self.lenses.to_bytes()
        return files

    def _config(self) -> dict[str, Any]:
        """The settings, and under ``source`` the data: what ``replay`` needs."""
        config = self.settings.to_document()
        if config["init_from"] is not None:
            config["init_from"] = str(Path(config["init_from"]).absolute())
        return config | {"source": None if self.given is None else self.given.document()}

    def save(self, path: str | Path) -> None:
        """Write the run folder: all of it, or nothing. Raises InputError for a folder that is not empty."""
        with RunFolder.create(Path(path), "run") as folder:
            folder.commit(self.files())


def train(
    data: Any,
    settings: Settings | None = None,
    *,
    target: str | None = None,
    task: str = "auto",
    network: Network | Mapping[str, Any] | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | str | None = None,
    prepared: Callable[[Task], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Run:
    """Train a network on ``data`` and return the run.

    ``data`` is a source as on the command line, a DataFrame or dict of columns (see ``from_table``; ``target``
    names the column to predict, the last one unless given, and ``task`` says whether it is a class), or a
    ``Dataset`` (see ``from_arrays``). Options are those of ``Settings``; ``network`` replaces ``layers``.
    ``sample_weight`` has one number >= 0 per row of the data (not of a test part that it brings);
    ``class_weight`` maps labels to numbers, or is "balanced". ``prepared`` is called before the training, with
    what is trained on what. NaN or Inf in training, and Ctrl-C, end the run with its last good weights (see
    ``Run.status``). Raises InputError for anything that cannot be meant.
    """
    start = time.perf_counter()
    if settings is None:
        settings = make_settings(options)
    elif options:
        raise InputError("give either settings or options, not both")
    if network is not None:
        if not isinstance(network, (Network, Mapping)):
            raise InputError(
                f"network is what Sequential() or functional() gives, or a document, not {network!r}"
            )
        settings = replace(settings, network=network)
    work = Preparation(load(data, target=target, task=task), sample_weight, class_weight).task(settings)
    if prepared is not None:
        prepared(work)
    return _Fit(work, settings, progress).run(start)


def load(data: Any, *, target: str | None = None, task: str = "auto") -> Dataset:
    """The data set that ``data`` is, or names, or that its columns make; InputError where it is something else."""
    if isinstance(data, Dataset):
        if target is not None or task != "auto":
            raise InputError(
                "a Dataset has its target and its task; name them where it is made (load_source)"
            )
        return data
    if isinstance(data, (str, Path)):
        return load_source(data, target=target, task=task)
    table = to_tabular(data)
    if table is None:
        raise InputError(
            f"data is a source, a DataFrame or a Dataset, not {type(data).__name__}; use from_arrays(X, y)"
        )
    return from_table(table, target, task=task)


class _Fit:
    """One training run under way."""

    def __init__(
        self,
        task: Task,
        settings: Settings,
        progress: Callable[[Progress], None] | None = None,
        *,
        check: Callable[[], None] | None = None,
        compiled: Compiled | None = None,
    ) -> None:
        """``check`` is called after every call of the compiled step; what it raises, and ``progress``, ends the run.

        ``compiled`` holds the programs, where another run has compiled them.
        """
        self.task, self.settings = task, settings
        self.progress, self.check = progress, check
        self.compiled = compiled
        self.schedule = schedule(settings.schedule)
        self.hyper = settings.made.hyperparameters() | seam(settings).hyperparameters()
        self.hyper |= hyperparameter(task.parts.background)
        self.looking: Looking | None = None
        features, targets = task.parts.train
        self.rows, self.batch = len(features), task.batch
        self.steps_per_epoch = -(-self.rows // self.batch)
        self.data = {FEATURES: features, TARGETS: targets}
        if task.parts.weights is not None:
            self.data[WEIGHTS] = task.parts.weights
        self.model = self._model()
        self.start = replace(self.model)
        if settings.watch:
            self.looking = Looking(self.steps_per_epoch, self.batch * self.model.parameters)
        self.slots: dict[str, Array] = {}
        self.last_feed: Feed | None = None
        self.history: list[dict[str, float | int]] = []
        self.validation_losses: list[float] = []
        self.at_once = 1
        kept = self.model.parameters * np.dtype(settings.dtype).itemsize * (1 + len(settings.made.slots()))
        self.seconds_per_call = max(SECONDS_PER_CALL, kept / BYTES_PER_SECOND)
        # Seconds per step; those of the last call, once there is one.
        self.pace = 6 * self.batch * self.model.parameters / SLOW

    def _model(self) -> Model:
        settings, task, schema = self.settings, self.task, self.task.parts.schema
        shape, network, dtype = schema.feature_shape, task.resolved.network, settings.dtype
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
        return Model(
            network, schema, task.resolved.loss, weights, statistics, dtype, backend(settings.backend)
        )

    def run(self, start: float) -> Run:
        settings, model = self.settings, self.model
        compiled = self.compiled = self.compiled or self._compile()
        model.share(compiled.evaluation)
        self.start.share(compiled.evaluation)
        self.slots = self._empty_slots()
        status: Status = "finished"
        message: str | None = None
        best: tuple[float, int, dict[str, Array], dict[str, Array]] | None = None
        epoch = 0
        clock = time.perf_counter()
        spent = compiled.seconds()
        try:
            while epoch < settings.epochs:
                count = min(self.at_once, settings.epochs - epoch)
                epoch += count
                trouble = self._epochs(epoch - count + 1, count)
                if trouble is not None:
                    status, message = "diverged", str(trouble)
                    break
                watched = self._validate()
                if settings.keep == "best" and np.isfinite(watched) and (best is None or watched < best[0]):
                    best = (watched, epoch, model.weights, model.statistics)
                record = self.history[-1]
                self._tell(epoch, epoch * self.steps_per_epoch, float(record["train_loss"]), record)
        except KeyboardInterrupt:
            status, message = "interrupted", f"stopped in epoch {epoch}; the last good weights are kept"
        training = max(time.perf_counter() - clock - (compiled.seconds() - spent), 0.0)
        if best is not None:
            model.weights, model.statistics = best[2], best[3]
        best_epoch = best[1] if best else None
        try:
            return self._finish(start, status, message, best_epoch, training)
        except KeyboardInterrupt:  # while measuring: what is trained is kept all the same
            if status == "finished":
                status, message = (
                    "interrupted",
                    f"stopped after epoch {epoch}; the last good weights are kept",
                )
            return self._finish(start, status, message, best_epoch, training)

    def _compile(self) -> Compiled:
        return Programs().compiled(self.task, self.settings, backend(self.settings.backend))

    def _empty_slots(self) -> dict[str, Array]:
        assert self.compiled is not None
        fills = self.settings.made.slots()
        return {
            item.name: np.full(item.type.shape, fills[item.name.split("/")[0]], item.type.dtype)
            for item in self.compiled.training.program.state
            if "/" in item.name
        }

    def _epochs(self, first: int, count: int) -> Divergence | None:
        """``count`` epochs in one call, or one epoch in calls that nobody has to wait for.

        On NaN or Inf the model keeps its last good weights.
        """
        assert self.compiled is not None
        executable, settings, steps, batch = (
            self.compiled.training,
            self.settings,
            self.steps_per_epoch,
            self.batch,
        )
        order = Epochs(self.rows, self.batch, settings.seed, first, count)
        counts = self._counts(order)
        done, total_steps = (first - 1) * steps, count * steps
        rates = self.hyper["learning_rate"] * self.schedule.factors(
            np.arange(done, done + total_steps, dtype=np.int64),
            total_steps=settings.epochs * steps,
            steps_per_epoch=steps,
            validation_losses=self.validation_losses,
        )
        model = self.model
        weights, statistics, slots = model.weights, model.statistics, self.slots
        losses = np.empty(total_steps, settings.dtype)
        start = clock = time.perf_counter()
        end = 0
        while end < total_steps:
            begin, left = end, total_steps - end
            calls = 1 if count > 1 else max(1, math.ceil(left * self.pace / self.seconds_per_call))
            end += math.ceil(left / calls)
            feed = Feed(
                self.data,
                order[begin * batch : end * batch],
                weights,
                statistics | slots,
                self.hyper | {"learning_rate": rates[begin:end]},
                settings.seed,
                done + begin,
            )
            result = self._run(feed)
            losses[begin:end] = result.outputs["loss"]
            if not (
                np.isfinite(losses[begin:end]).all() and is_finite(result.params) and is_finite(result.state)
            ):
                trouble = locate(executable, feed, self.last_feed)
                if self.looking is not None:
                    self.looking.last = trouble.step
                model.weights = trouble.params
                model.statistics = {key: trouble.state[key] for key in statistics}
                self._record(first, (trouble.step - done) // steps, counts, losses, rates)
                return trouble
            self.last_feed = feed
            weights = result.params
            statistics = {key: result.state[key] for key in statistics}
            slots = {key: result.state[key] for key in slots}
            clock, before = time.perf_counter(), clock
            self.pace = (clock - before) / (end - begin)
            if self.check is not None:
                self.check()
            if self.progress is not None:
                self._tell(first, done + end, _mean_loss(counts[:end], losses[:end]))
        model.weights, model.statistics, self.slots = weights, statistics, slots
        self._record(first, count, counts, losses, rates)
        self._plan(count, time.perf_counter() - start)
        return None

    def _run(self, feed: Feed) -> Result:
        """One call of the compiled step."""
        assert self.compiled is not None
        if self.looking is None:
            return self.compiled.training.run(feed)
        mask = self.looking.mask(feed.first_step, len(feed.order) // self.batch)
        result = self.compiled.training.run(replace(feed, probed=mask))
        self.looking.add(feed.first_step, mask, result.probes)
        return result

    def _plan(self, count: int, seconds: float) -> None:
        """Take more epochs at once while calls are short, where nobody looks at what is between two epochs."""
        nobody_looks = self.task.parts.validation is None and self.progress is None
        if nobody_looks and seconds < self.seconds_per_call / 2:
            more = min(int(self.seconds_per_call / max(seconds, 1e-6)), GROWTH)
            self.at_once = max(1, min(more * count, STEPS_AT_ONCE // self.steps_per_epoch))

    def _record(self, first: int, count: int, counts: Array, losses: Array, rates: Array) -> None:
        """Write ``count`` epochs, from the epoch ``first`` on, into the history."""
        for i in range(count):
            part = slice(i * self.steps_per_epoch, (i + 1) * self.steps_per_epoch)
            record = {"epoch": first + i, "learning_rate": float(rates[part][-1])}
            self.history.append(record | {"train_loss": _mean_loss(counts[part], losses[part])})

    def _counts(self, order: Epochs) -> Array:
        """The total weight of every batch."""
        if self.task.parts.weights is None:
            return order.rows_per_step().astype(np.float64)
        rows = np.asarray(order)
        weights: Array = np.where(rows >= 0, self.task.parts.weights[rows], 0.0).reshape(-1, self.batch)
        return np.asarray(weights.sum(axis=1, dtype=np.float64))

    def _validate(self) -> float:
        """The validation loss, written into the history with the other metrics; NaN where there is none."""
        if self.task.parts.validation is None:
            return math.nan
        found = self.model.evaluate_prepared(*self.task.parts.validation)
        self.history[-1].update({f"validation_{key}": value for key, value in found.items()})
        self.validation_losses.append(found["loss"])
        return found["loss"]

    def _tell(
        self, epoch: int, steps: int, loss: float, record: Mapping[str, float | int] | None = None
    ) -> None:
        if self.progress is not None:
            epochs, lenses = self.settings.epochs, None
            if record is not None and self.looking is not None:
                lenses = self.looking.lenses((epoch - 1) * self.steps_per_epoch)
            self.progress(Progress(epoch, epochs, steps, epochs * self.steps_per_epoch, loss, record, lenses))

    def _finish(
        self,
        start: float,
        status: Status,
        message: str | None,
        best_epoch: int | None,
        seconds_training: float,
    ) -> Run:
        model, settings, parts = self.model, self.settings, self.task.parts.named()
        nothing_done = status == "interrupted" and not self.history  # somebody waits, and not for this
        metrics = {} if nothing_done else {n: model.evaluate_prepared(*part) for n, part in parts.items()}
        rows = {name: len(parts[name][0]) if name in parts else 0 for name in ("train", "validation", "test")}
        name = backend(model.backend).name
        model.metrics = {part: _finite_only(found) for part, found in metrics.items()}
        model.training = {"settings": _saved(settings), "epochs": len(self.history), "status": status}
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
            epochs=len(self.history),
            best_epoch=best_epoch,
            steps=len(self.history) * self.steps_per_epoch,
            seconds_training=seconds_training,
            seconds_compiling=self.compiled.seconds_own() if self.compiled is not None else 0.0,
            seconds_total=time.perf_counter() - start,
            backend=name,
            rows=rows,
            program=self.compiled.training.program if self.compiled is not None else None,
            lenses=self.looking.lenses() if self.looking is not None else None,
            start=self.start,
            given=self.task.given,
            split=self.task.parts.split,
        )


def _mean_loss(counts: Array, losses: Array) -> float:
    """The mean over the rows of (part of) an epoch, from the losses of its steps and the weights of their batches."""
    return float(losses.astype(np.float64) @ counts) / max(float(counts.sum()), 1e-300)


def _saved(settings: Settings) -> dict[str, Any] | None:
    """The settings for the model file; a part that is not registered may be trained, but not saved."""
    try:
        return settings.to_document()
    except InputError:
        return None


def _finite_only(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if np.isfinite(value) else None for key, value in metrics.items()}
