"""Training: from a data set and settings to a run, epoch by epoch, with a way out of trouble."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glassgrad.backends.base import Array, Executable, Feed
from glassgrad.common.errors import InputError
from glassgrad.data.dataset import Dataset
from glassgrad.data.feed import epoch_order
from glassgrad.data.schema import Schema
from glassgrad.data.sources import load_source
from glassgrad.data.split import split
from glassgrad.files.run_folder import CONFIG, HISTORY, MODEL, RunFolder, config_json, history_csv
from glassgrad.nn.losses import LOSSES
from glassgrad.nn.network import Network
from glassgrad.optim.gradients import Seam
from glassgrad.optim.schedules import schedule
from glassgrad.training.backends import backend
from glassgrad.training.choices import Choice, choose, class_weights
from glassgrad.training.divergence import Divergence, is_finite, locate
from glassgrad.training.model import Model
from glassgrad.training.programs import FEATURES, TARGETS, WEIGHTS, training_program
from glassgrad.training.settings import Settings, make_settings
from glassgrad.training.start import fit_to_data, initial_statistics, initial_weights, pretrained

Status = Literal["finished", "interrupted", "diverged"]
Part = tuple[Array, Array]
STEPS_PER_CALL = 400


@dataclass(frozen=True)
class Progress:
    """Sent while training: after every call of the compiled step, and (``record``) after every epoch."""

    epoch: int
    epochs: int
    steps: int
    total_steps: int
    loss: float
    record: Mapping[str, float | int] | None = None


@dataclass(eq=False)
class Run:
    """What a training run gave: the model, its metrics, the history, and what it cost."""

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

    def files(self) -> dict[str, bytes]:
        """The files of the run folder, by name."""
        return {
            MODEL: self.model.to_bytes(),
            HISTORY: history_csv(self.history),
            CONFIG: config_json(self.settings.to_document()),
        }

    def save(self, path: str | Path) -> None:
        """Write the run folder: all of it, or nothing. Raises InputError for a folder that is not empty."""
        with RunFolder.create(Path(path), "run") as folder:
            folder.commit(self.files())


@dataclass
class _Task:
    """A data set, cut and prepared."""

    schema: Schema
    train: Part
    validation: Part | None
    test: Part | None
    weights: Array | None
    choice: Choice
    name: str


def train(
    data: str | Path | Dataset,
    settings: Settings | None = None,
    *,
    network: Network | Mapping[str, Any] | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | str | None = None,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Run:
    """Train a network on ``data`` and return the run.

    ``data`` is a source as on the command line, or a ``Dataset`` (see ``from_arrays``). Options are those of
    ``Settings``; ``network`` replaces ``layers``. ``sample_weight`` has one number >= 0 per row of the data
    (not of a test part that it brings); ``class_weight`` maps labels to numbers, or is "balanced". NaN or Inf
    in training, and Ctrl-C, end the run with its last good weights (see ``Run.status``). Raises InputError
    for anything that cannot be meant.
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
    if not isinstance(data, (str, Path, Dataset)):
        raise InputError(f"data is a source or a Dataset, not {type(data).__name__}; use from_arrays(X, y)")
    dataset = data if isinstance(data, Dataset) else load_source(data)
    task = _prepare(dataset, settings, sample_weight, class_weight)
    return _Fit(task, settings, progress).run(start)


def _prepare(dataset: Dataset, settings: Settings, sample_weight: Any, class_weight: Any) -> _Task:
    parts = split(dataset, validation=settings.validation, test=settings.test, seed=settings.seed)
    X, y = dataset.features, dataset.targets
    choice = choose(dataset, settings)
    schema = Schema.fit(
        X[parts.train],
        y[parts.train],
        dataset.classification,
        settings.scaling,
        standardize_targets=choice.loss.target_kind == "values",
    )
    dtype = settings.dtype

    def part(features: Array, targets: Array) -> Part:
        place = dataset.name
        return schema.transform_features(features, dtype, place), schema.encode_targets(targets, dtype, place)

    train_part = part(X[parts.train], y[parts.train])
    validation = part(X[parts.validation], y[parts.validation]) if len(parts.validation) else None
    test = None
    if dataset.test_features is not None and dataset.test_targets is not None:
        test = part(dataset.test_features, dataset.test_targets)
    elif len(parts.test):
        test = part(X[parts.test], y[parts.test])
    weights = class_weights(schema, train_part[1], sample_weight, len(X), parts.train, class_weight, dtype)
    choice.check(schema, train_part[1], settings)
    return _Task(schema, train_part, validation, test, weights, choice, dataset.name)


class _Fit:
    """One training run under way."""

    def __init__(self, task: _Task, settings: Settings, progress: Callable[[Progress], None] | None) -> None:
        self.task, self.settings = task, settings
        self.progress = progress or (lambda _: None)
        self.seam = Seam(settings.clip_norm, settings.clip_value)
        self.schedule = schedule(settings.schedule)
        features, targets = task.train
        self.batch = min(settings.batch_size, len(features))
        self.steps_per_epoch = -(-len(features) // self.batch)
        self.data = {FEATURES: features, TARGETS: targets}
        if task.weights is not None:
            self.data[WEIGHTS] = task.weights
        self.model = self._model()
        self.slots: dict[str, Array] = {}
        self.last_feed: Feed | None = None
        self.history: list[dict[str, float | int]] = []
        self.validation_losses: list[float] = []

    def _model(self) -> Model:
        settings, task = self.settings, self.task
        shape, network, dtype = task.schema.feature_shape, task.choice.network, settings.dtype
        weights = initial_weights(network, shape, seed=settings.seed, dtype=dtype)
        statistics = initial_statistics(network, shape, dtype=dtype)
        taken: Collection[str] = ()
        if settings.init_from is not None:
            weights, statistics = pretrained(
                Path(settings.init_from), weights, statistics, settings.init_layers
            )
            every = [step.name for step in network.steps]
            taken = every if settings.init_layers is None else settings.init_layers
        weights = fit_to_data(network, weights, statistics, task.train[0], taken)
        return Model(
            network, task.schema, task.choice.loss, weights, statistics, dtype, backend(settings.backend)
        )

    def run(self, start: float) -> Run:
        settings, model = self.settings, self.model
        executable = self._compile()
        status: Status = "finished"
        message: str | None = None
        best: tuple[float, int, dict[str, Array], dict[str, Array]] | None = None
        epoch = 0
        clock = time.perf_counter()
        spent = executable.seconds_compiling
        try:
            for epoch in range(1, settings.epochs + 1):
                trouble = self._epoch(executable, epoch)
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
        training = time.perf_counter() - clock - (executable.seconds_compiling - spent)
        training -= model.seconds_compiling()
        if best is not None:
            model.weights, model.statistics = best[2], best[3]
        best_epoch = best[1] if best else None
        try:
            return self._finish(start, status, message, best_epoch, executable, max(training, 0.0))
        except KeyboardInterrupt:  # while measuring: what is trained is kept all the same
            if status == "finished":
                status, message = (
                    "interrupted",
                    f"stopped after epoch {epoch}; the last good weights are kept",
                )
            return self._finish(start, status, message, best_epoch, executable, max(training, 0.0))

    def _compile(self) -> Executable:
        task, settings = self.task, self.settings
        program = training_program(
            task.choice.network,
            task.schema.feature_shape,
            task.choice.loss,
            settings.made,
            batch=self.batch,
            targets=None if task.schema.classes is not None else task.schema.outputs,
            seam=self.seam,
            weighted=task.weights is not None,
            frozen=settings.freeze,
            dtype=settings.dtype,
        )
        fills = settings.made.slots()
        self.slots = {
            item.name: np.full(item.type.shape, fills[item.name.split("/")[0]], item.type.dtype)
            for item in program.state
            if "/" in item.name
        }
        return backend(settings.backend).compile(program)

    def _epoch(self, executable: Executable, epoch: int) -> Divergence | None:
        """One epoch, in calls of equal length; on NaN or Inf the model keeps its last good weights."""
        settings, steps = self.settings, self.steps_per_epoch
        order = epoch_order(len(self.task.train[0]), seed=settings.seed, epoch=epoch)
        calls = -(-steps // STEPS_PER_CALL)
        length = -(-steps // calls)
        first = (epoch - 1) * steps
        rates = settings.made.hyperparameters()["learning_rate"] * self.schedule.factors(
            np.arange(first, first + steps, dtype=np.int64),
            total_steps=settings.epochs * steps,
            steps_per_epoch=steps,
            validation_losses=self.validation_losses,
        )
        model = self.model
        weights, statistics, slots = model.weights, model.statistics, self.slots
        total, rows = 0.0, 0.0
        for begin in range(0, steps, length):
            end = min(begin + length, steps)
            part = order[begin * self.batch : end * self.batch]
            hyper: dict[str, float | Array] = {
                **settings.made.hyperparameters(),
                **self.seam.hyperparameters(),
            }
            hyper["learning_rate"] = rates[begin:end]
            feed = Feed(self.data, part, weights, statistics | slots, hyper, settings.seed, first + begin)
            result = executable.run(feed)
            losses = result.outputs["loss"]
            if not (np.isfinite(losses).all() and is_finite(result.params) and is_finite(result.state)):
                trouble = locate(executable, feed, self.last_feed)
                model.weights = trouble.params
                model.statistics = {key: trouble.state[key] for key in statistics}
                return trouble
            self.last_feed = feed
            weights = result.params
            statistics = {key: result.state[key] for key in statistics}
            slots = {key: result.state[key] for key in slots}
            counts = self._counts(part)
            total += float(losses.astype(np.float64) @ counts)
            rows += float(counts.sum())
            self._tell(epoch, first + end, total / max(rows, 1e-300))
        model.weights, model.statistics, self.slots = weights, statistics, slots
        self.history.append(
            {"epoch": epoch, "learning_rate": float(rates[-1]), "train_loss": total / max(rows, 1e-300)}
        )
        return None

    def _counts(self, part: Array) -> Array:
        """The total weight of every batch."""
        weights = np.ones(len(part)) if self.task.weights is None else self.task.weights[part]
        return np.add.reduceat(weights.astype(np.float64), np.arange(0, len(part), self.batch))

    def _validate(self) -> float:
        """The validation loss, written into the history with the other metrics; NaN where there is none."""
        if self.task.validation is None:
            return math.nan
        found = self.model.evaluate_prepared(*self.task.validation)
        self.history[-1].update({f"validation_{key}": value for key, value in found.items()})
        self.validation_losses.append(found["loss"])
        return found["loss"]

    def _tell(
        self, epoch: int, steps: int, loss: float, record: Mapping[str, float | int] | None = None
    ) -> None:
        epochs = self.settings.epochs
        self.progress(Progress(epoch, epochs, steps, epochs * self.steps_per_epoch, loss, record))

    def _finish(
        self,
        start: float,
        status: Status,
        message: str | None,
        best_epoch: int | None,
        executable: Executable,
        seconds_training: float,
    ) -> Run:
        model, task, settings = self.model, self.task, self.settings
        metrics = {"train": model.evaluate_prepared(*task.train)}
        if task.validation is not None:
            metrics["validation"] = model.evaluate_prepared(*task.validation)
        if task.test is not None:
            metrics["test"] = model.evaluate_prepared(*task.test)
        rows = {"train": len(task.train[0]), "validation": 0, "test": 0}
        rows["validation"] = len(task.validation[0]) if task.validation else 0
        rows["test"] = len(task.test[0]) if task.test else 0
        name = backend(settings.backend).name
        model.metrics = {part: _finite_only(found) for part, found in metrics.items()}
        model.training = {"settings": _saved(settings), "epochs": len(self.history), "status": status}
        model.provenance = {
            "program": f"glassgrad {version('glassgrad')}",
            "numpy": np.__version__,
            "backend": name,
            "source": task.name,
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
            seconds_compiling=executable.seconds_compiling + model.seconds_compiling(),
            seconds_total=time.perf_counter() - start,
            backend=name,
            rows=rows,
        )


def _saved(settings: Settings) -> dict[str, Any] | None:
    """The settings for the model file; a part that is not registered may be trained, but not saved."""
    try:
        return settings.to_document()
    except InputError:
        return None


def _finite_only(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if np.isfinite(value) else None for key, value in metrics.items()}


def loss_name(run: Run) -> str:
    """The registered name of the loss that was trained."""
    return str(LOSSES.config(run.model.loss)["name"])
