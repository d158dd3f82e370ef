"""The run under examination: trained once, watched, on as many rows as the budget allows.

What ``train`` refuses is taken all the same: with ``force`` where that is enough, else with a stand-in for the part
that cannot be meant, and the refusal is kept as evidence.
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
from glassgrad.diagnosis.core.baseline import constant_scores, left_of
from glassgrad.diagnosis.core.budget import Clock
from glassgrad.diagnosis.core.refusals import Refusal, taken
from glassgrad.diagnosis.core.trials import Trials
from glassgrad.nn.network import Network
from glassgrad.training.given import Given
from glassgrad.training.model import Model
from glassgrad.training.run import Run
from glassgrad.training.settings import Settings
from glassgrad.training.task import Task, split_rows
from glassgrad.training.train import train

RUN_SHARE = 0.03
"""The share of the budget that one training run may take: it is repeated some fifty times."""

FEWEST_ROWS = 1000
"""Rows are given up before epochs are, by halves, while twice as many are left."""

PROBE_STEPS = (10, 100, 1000)
ENOUGH = 0.03
"""Seconds of training that say what a step takes."""

ROWS = 0xD1A6
"""The random stream that chooses rows (see ``common.streams``)."""


@dataclass(eq=False)
class Subject:
    """What the five modules examine.

    ``dataset`` holds the rows under examination and ``settings`` are those that ``run`` was trained with
    (watched, forced, with stand-ins); ``asked`` and ``given`` are those of the user, whole. ``scaled_down``
    says what differs, as (asked, examined): "rows" and "epochs". The optimizer's numbers, however they were
    given, are in ``settings.resolved_optimizer``. Conclusions are drawn from training and validation rows only.
    """

    dataset: Dataset
    given: Dataset
    settings: Settings
    asked: Settings
    run: Run
    clock: Clock
    trials: Trials
    refusal: Refusal | None = None
    scaled_down: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What ``run`` trained on: prepared parts, network and loss."""
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
        """The same of the validation rows; of the training rows where there are none."""
        return self.task.parts.validation or self.task.parts.train

    @property
    def steps(self) -> tuple[int, int]:
        """The steps of the run as asked for, and as examined."""
        rows, epochs = self.scaled_down.get("rows"), self.scaled_down.get("epochs")
        factor = (rows[0] / rows[1] if rows else 1.0) * (epochs[0] / epochs[1] if epochs else 1.0)
        return round(self.run.steps * factor), self.run.steps

    @cached_property
    def constant(self) -> dict[str, float]:
        """Scores of the best constant prediction on the training rows: ``loss`` and others (see baseline)."""
        parts = self.task.parts
        return constant_scores(self.run.model.loss, parts.schema, parts.train[1])

    @cached_property
    def left(self) -> tuple[float, float]:
        """What is left of the constant predictor's mistakes, or variance, on training and on validation rows."""
        train = self.run.metrics.get("train", {})
        held = self.run.metrics.get("validation", {}) or train
        return left_of(train, self.constant), left_of(held, self.constant)

    @cached_property
    def probe(self) -> tuple[Array, Array]:
        """Up to 512 prepared training rows, chosen at random: enough to look inside at."""
        features, targets = self.train_rows
        count = min(512, len(features))
        chosen = np.sort(generator(self.settings.seed, ROWS).permutation(len(features))[:count])
        return features[chosen], targets[chosen]

    def skip(self, what: str) -> None:
        """Note something that there was no time for."""
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
            "settings": _document(self.asked),
            "networks_trained": self.trials.count,
            "trial_seeds": list(self.trials.seeds()),
            "constant": self.constant,
            "training": self.run.metrics.get("train"),
            "validation": self.run.metrics.get("validation"),
        }


def examine(given: Given, settings: Settings, clock: Clock) -> Subject:
    """Train ``settings`` on ``given``, watched, within a share of the budget.

    Raises InputError for data that cannot be used, and for options that no change of loss, output or scaling
    mends.
    """
    forced, refusal = taken(given.dataset, settings)
    rows, epochs, scaled, seconds = _within(given, forced, RUN_SHARE * clock.budget)
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


def _within(
    given: Given, settings: Settings, seconds: float
) -> tuple[Given, int, dict[str, tuple[int, int]], float]:
    """The rows and epochs that ``seconds`` of training suffice for, and the seconds that they will take."""
    data = given.dataset
    rows = split_rows(data, settings)
    count, batch = len(rows.train), min(settings.batch_size, len(rows.train))
    per_step = _seconds_per_step(given, settings, rows.train)
    affordable = max(int(seconds / per_step), 1)
    steps = -(-count // batch) * settings.epochs
    if steps <= affordable or settings.epochs == 0:
        return given, settings.epochs, {}, steps * per_step
    kept = count
    while kept > 2 * max(FEWEST_ROWS, 4 * batch) and -(-kept // batch) * settings.epochs > affordable:
        kept = -(-kept // 2)  # by halves: the same rows although no two measurements of time are the same
    epochs = max(min(settings.epochs, affordable // -(-kept // batch)), 1)
    scaled: dict[str, tuple[int, int]] = {}
    if kept < count:
        scaled["rows"] = (count, kept)
    if epochs < settings.epochs:
        scaled["epochs"] = (settings.epochs, epochs)
    pool = _choose(data, np.concatenate([rows.train, rows.validation]), kept / count, settings.seed)
    fewer = selected(given, pool)
    test = _some(rows.test, max(round(kept / count * len(rows.test)), FEWEST_ROWS), settings.seed)
    features, targets = data.features, data.targets
    if data.test_features is not None and data.test_targets is not None:
        features, targets = data.test_features, data.test_targets
    if len(test):
        held = replace(fewer.dataset, test_features=features[test], test_targets=targets[test])
        fewer = replace(fewer, dataset=held)
    return fewer, epochs, scaled, -(-kept // batch) * epochs * per_step


def _seconds_per_step(given: Given, settings: Settings, rows: Array) -> float:
    """Measured on a few steps, compiling left out; on more of them where that was too quick to tell."""
    batch = min(settings.batch_size, len(rows))
    plain = replace(settings, epochs=1, validation=0.0, test=0.0, schedule="constant")
    per_step = 0.0
    for steps in PROBE_STEPS:
        wanted = min(len(rows), steps * batch)
        probe = selected(given, _choose(given.dataset, rows, wanted / len(rows), settings.seed))
        run = _train(probe, plain)
        per_step = max(run.seconds_training / max(run.steps, 1), 1e-6)
        if run.seconds_training > ENOUGH or wanted == len(rows):
            break
    return per_step


def selected(given: Given, rows: Array) -> Given:
    """Some rows of what was given, with their weights, and without a test part."""
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


def _choose(dataset: Dataset, rows: Array, share: float, seed: int) -> Array:
    """A share of ``rows``, of every class alike, but at least two rows of each class where there are two."""
    if share >= 1:
        return np.sort(rows)
    if not dataset.classification:
        return _some(rows, max(round(share * len(rows)), 1), seed)
    labels = dataset.targets[rows]
    groups = [rows[labels == label] for label in np.unique(labels)]
    return np.sort(
        np.concatenate([_some(g, max(round(share * len(g)), min(len(g), 2)), seed) for g in groups])
    )


def _some(rows: Array, count: int, seed: int) -> Array:
    chosen: Array = np.sort(generator(seed, ROWS).permutation(rows)[:count])
    return chosen


def _without_test(given: Given, run: Run) -> Given:
    """``given``, on which ``run`` was trained, without the rows that the run holds out as its test part."""
    assert run.split is not None
    return selected(given, np.sort(np.concatenate([run.split.train, run.split.validation])))


def _document(settings: Settings) -> dict[str, Any] | None:
    """The settings as plain values; parts that are not registered by what Python calls them."""
    try:
        return settings.to_document()
    except InputError:
        fields = [item.name for item in dataclasses.fields(settings) if item.init]
        return {name: repr(getattr(settings, name)) for name in fields}
