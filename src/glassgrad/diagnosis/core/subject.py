"""The run under examination: trained once, watched, on as many rows as the budget allows.

Networks that ``train`` refuses are trained anyway: with ``force`` if that is enough, otherwise with a stand-in for
the invalid part. The refusal is kept as evidence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common.cached import cached_property
from glassgrad.common.errors import InputError
from glassgrad.common.streams import generator
from glassgrad.data.dataset import Dataset
from glassgrad.diagnosis.core.baseline import constant_scores, remaining_share
from glassgrad.diagnosis.core.budget import Clock
from glassgrad.diagnosis.core.refusals import Refusal, trainable_settings
from glassgrad.diagnosis.core.trials import Trials
from glassgrad.nn.network import Network
from glassgrad.training.given import Given
from glassgrad.training.model import Model
from glassgrad.training.run import Run
from glassgrad.training.settings import Settings
from glassgrad.training.task import Task, split_rows
from glassgrad.training.train import train

RUN_SHARE = 0.03
"""Share of the budget for one training run; a diagnosis trains about fifty times."""

FEWEST_ROWS = 1000
"""Scaling down halves the rows first, as long as at least this many remain, and reduces epochs only then."""

PROBE_STEPS = (10, 100, 1000)
ENOUGH = 0.03
"""Seconds of training that are enough to measure the time per step."""

ROWS = 0xD1A6
"""The random stream that chooses rows (see ``common.streams``)."""


@dataclass(eq=False)
class Subject:
    """The subject of the five questions.

    ``dataset`` holds the rows under examination, and ``settings`` are those of ``run`` (watched, forced, with
    stand-ins). ``original`` and ``requested`` are the user's full dataset and settings. ``scaled_down`` maps "rows"
    and "epochs" to (requested, examined) if they differ. ``settings.resolved_optimizer`` has the optimizer's
    numbers, however the user wrote them. Conclusions use training and validation rows only.
    """

    dataset: Dataset
    original: Dataset
    settings: Settings
    requested: Settings
    run: Run
    clock: Clock
    trials: Trials
    refusal: Refusal | None = None
    scaled_down: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """The task of ``run``: prepared parts, network and loss."""
        return self.run.task

    @property
    def start(self) -> Model:
        """The network with its initial weights."""
        assert self.run.start is not None
        return self.run.start

    @property
    def network(self) -> Network:
        """The network of ``run``."""
        return self.run.model.network

    @property
    def classification(self) -> bool:
        """Whether targets are classes."""
        return self.dataset.classification

    @property
    def train_rows(self) -> tuple[Array, Array]:
        """Prepared features [rows, ...] and targets of the training rows."""
        return self.task.parts.train

    @property
    def validation_rows(self) -> tuple[Array, Array]:
        """Prepared features and targets of the validation rows; of the training rows if there are none."""
        return self.task.parts.validation or self.task.parts.train

    @property
    def steps(self) -> tuple[int, int]:
        """The number of steps (requested, examined)."""
        rows, epochs = self.scaled_down.get("rows"), self.scaled_down.get("epochs")
        factor = (rows[0] / rows[1] if rows else 1.0) * (epochs[0] / epochs[1] if epochs else 1.0)
        return round(self.run.steps * factor), self.run.steps

    @cached_property
    def constant(self) -> dict[str, float]:
        """Scores of the baseline on the training rows: ``loss`` and others (see ``baseline``)."""
        parts = self.task.parts
        return constant_scores(self.run.model.loss, parts.schema, parts.train[1])

    @cached_property
    def left(self) -> tuple[float, float]:
        """The share of the baseline's mistakes, or variance, that remains on (training, validation) rows."""
        train = self.run.metrics.get("train", {})
        held = self.run.metrics.get("validation", {}) or train
        return remaining_share(train, self.constant), remaining_share(held, self.constant)

    @cached_property
    def probe(self) -> tuple[Array, Array]:
        """Up to 512 prepared training rows, chosen at random: features [rows, ...] and targets."""
        features, targets = self.train_rows
        count = min(512, len(features))
        chosen = np.sort(generator(self.settings.seed, ROWS).permutation(len(features))[:count])
        return features[chosen], targets[chosen]

    def skip(self, what: str) -> None:
        """Record ``what`` as skipped for lack of time."""
        self.clock.left_out.append(what)

    def document(self) -> dict[str, Any]:
        """What was examined, as plain values."""
        return {
            "rows": dict(self.run.rows),
            "epochs": self.run.epochs,
            "steps": self.run.steps,
            "steps_asked": self.steps[0],
            "status": self.run.status,
            "message": self.run.message,
            "refused": None if self.refusal is None else self.refusal.message,
            "stand_in": {} if self.refusal is None else dict(self.refusal.stand_in),
            "scaled_down": {key: list(pair) for key, pair in self.scaled_down.items()},
            "settings": _document(self.requested),
            "networks_trained": self.trials.count,
            "trial_seeds": list(self.trials.seeds()),
            "constant": self.constant,
            "training": self.run.metrics.get("train"),
            "validation": self.run.metrics.get("validation"),
        }


def examine(given: Given, settings: Settings, clock: Clock) -> Subject:
    """Train ``settings`` on ``given``, watched, within the share ``RUN_SHARE`` of the budget.

    Raises InputError for data that cannot be used, and for settings that no change of loss, outputs, scaling or
    activation makes trainable.
    """
    forced, refusal = trainable_settings(given.dataset, settings)
    rows, epochs, scaled, seconds = _fit_to_budget(given, forced, RUN_SHARE * clock.budget)
    chosen = replace(forced, epochs=epochs, watch=True)
    run = _train(rows, chosen)
    if "rows" in scaled:
        scaled["rows"] = (scaled["rows"][0], run.rows["train"])
    trials = Trials(_without_test(rows, run), chosen, clock, seconds)
    return Subject(rows.dataset, given.dataset, run.settings, settings, run, clock, trials, refusal, scaled)


def _train(given: Given, settings: Settings) -> Run:
    run = train(given.dataset, settings, sample_weight=given.sample_weight, class_weight=given.class_weight)
    if run.status == "interrupted":
        raise KeyboardInterrupt
    return run


def _fit_to_budget(
    given: Given, settings: Settings, seconds: float
) -> tuple[Given, int, dict[str, tuple[int, int]], float]:
    """The rows and epochs that fit into ``seconds`` of training, what was scaled down, and the expected seconds."""
    data = given.dataset
    rows = split_rows(data, settings)
    count, batch = len(rows.train), min(settings.batch_size, len(rows.train))
    per_step = _seconds_per_step(given, settings, rows.train)
    affordable = max(int(seconds / per_step), 1)
    steps = -(-count // batch) * settings.epochs
    if steps <= affordable or settings.epochs == 0:
        return given, settings.epochs, {}, steps * per_step
    reduced = count
    while reduced > 2 * max(FEWEST_ROWS, 4 * batch) and -(-reduced // batch) * settings.epochs > affordable:
        reduced = -(-reduced // 2)  # Halving selects the same rows even if measured times vary a little.
    epochs = max(min(settings.epochs, affordable // -(-reduced // batch)), 1)
    scaled: dict[str, tuple[int, int]] = {}
    if reduced < count:
        scaled["rows"] = (count, reduced)
    if epochs < settings.epochs:
        scaled["epochs"] = (settings.epochs, epochs)
    pool = _stratified_rows(
        data, np.concatenate([rows.train, rows.validation]), reduced / count, settings.seed
    )
    fewer = selected(given, pool)
    test = _random_rows(rows.test, max(round(reduced / count * len(rows.test)), FEWEST_ROWS), settings.seed)
    features, targets = data.features, data.targets
    if data.test_features is not None and data.test_targets is not None:
        features, targets = data.test_features, data.test_targets
    if len(test):
        held = replace(fewer.dataset, test_features=features[test], test_targets=targets[test])
        fewer = replace(fewer, dataset=held)
    return fewer, epochs, scaled, -(-reduced // batch) * epochs * per_step


def _seconds_per_step(given: Given, settings: Settings, rows: Array) -> float:
    """The time per step, measured on a few steps without compiling; on more steps if those were too fast."""
    batch = min(settings.batch_size, len(rows))
    plain = replace(settings, epochs=1, validation=0.0, test=0.0, schedule="constant")
    per_step = 0.0
    for steps in PROBE_STEPS:
        count = min(len(rows), steps * batch)
        probe = selected(given, _stratified_rows(given.dataset, rows, count / len(rows), settings.seed))
        run = _train(probe, plain)
        per_step = max(run.seconds_training / max(run.steps, 1), 1e-6)
        if run.seconds_training > ENOUGH or count == len(rows):
            break
    return per_step


def selected(given: Given, rows: Array) -> Given:
    """``given`` reduced to ``rows`` (indices), with their sample weights, without a test part."""
    data = given.dataset
    chosen = replace(
        data,
        features=data.features[rows],
        targets=data.targets[rows],
        test_features=None,
        test_targets=None,
    )
    weights = given.sample_weight
    return replace(
        given, dataset=chosen, sample_weight=None if weights is None else np.asarray(weights)[rows]
    )


def _stratified_rows(dataset: Dataset, rows: Array, share: float, seed: int) -> Array:
    """A stratified random share of ``rows``, with at least two rows of each class that has two."""
    if share >= 1:
        return np.sort(rows)
    if not dataset.classification:
        return _random_rows(rows, max(round(share * len(rows)), 1), seed)
    labels = dataset.targets[rows]
    groups = [rows[labels == label] for label in np.unique(labels)]
    return np.sort(
        np.concatenate([_random_rows(g, max(round(share * len(g)), min(len(g), 2)), seed) for g in groups])
    )


def _random_rows(rows: Array, count: int, seed: int) -> Array:
    chosen: Array = np.sort(generator(seed, ROWS).permutation(rows)[:count])
    return chosen


def _without_test(given: Given, run: Run) -> Given:
    """``given``, on which ``run`` was trained, without the test rows of ``run``."""
    assert run.split is not None
    return selected(given, np.sort(np.concatenate([run.split.train, run.split.validation])))


def _document(settings: Settings) -> dict[str, Any] | None:
    """The settings as plain values; unregistered parts as their ``repr``."""
    try:
        return settings.to_document()
    except InputError:
        fields = [item.name for item in dataclasses.fields(settings) if item.init]
        return {name: repr(getattr(settings, name)) for name in fields}
