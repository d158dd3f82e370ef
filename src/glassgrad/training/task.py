"""What a run trains on: the data set cut into parts and prepared, and the network and loss that suit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common.cached import cached_property
from glassgrad.common.frozen import frozen
from glassgrad.data.checks import distinct
from glassgrad.data.dataset import Dataset
from glassgrad.data.schema import Schema
from glassgrad.data.split import split
from glassgrad.data.table import Table
from glassgrad.training.background import background
from glassgrad.training.choices import Choice, choose, class_weights
from glassgrad.training.given import Given
from glassgrad.training.settings import Settings

Part = tuple[Array, Array]


@frozen
class Parts:
    """A data set, cut and prepared: features and targets of each part, and the weights of the training rows."""

    schema: Schema
    train: Part
    validation: Part | None
    test: Part | None
    weights: Array | None
    notices: tuple[str, ...] = ()
    """What is odd about the rows of a table that were held back: categories that training never saw ..."""

    @cached_property
    def background(self) -> float | None:
        """The number that most of the training features are, if there is one."""
        return background(self.train[0])

    def named(self) -> dict[str, Part]:
        """The parts that there are."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


@frozen
class Task:
    """What one run trains on, and what it trains."""

    name: str
    parts: Parts
    choice: Choice
    batch: int
    given: Given

    @property
    def targets(self) -> int | None:
        """The targets of a row in a regression; None where it has a class."""
        schema = self.parts.schema
        return None if schema.classes is not None else schema.outputs


class Preparation:
    """Tasks on one data set. Runs that cut and scale it in the same way share the arrays."""

    def __init__(
        self,
        dataset: Dataset,
        sample_weight: Any = None,
        class_weight: Mapping[Any, float] | str | None = None,
    ) -> None:
        self._given = Given(dataset, sample_weight, class_weight)
        self._dataset = dataset
        self._sample_weight, self._class_weight = sample_weight, class_weight
        self._classes = len(distinct(dataset.targets)) if dataset.classification else None
        self._known: dict[tuple[Any, ...], Parts] = {}

    def task(self, settings: Settings) -> Task:
        """The task of a run with ``settings``; raises InputError for what cannot be meant on this data."""
        choice = choose(self._dataset, settings, self._classes)
        standardize = choice.loss.target_kind == "values"
        key = (
            settings.seed,
            settings.validation,
            settings.test,
            settings.scaling,
            settings.dtype,
            standardize,
        )
        if key not in self._known:
            self._known[key] = self._cut(settings, standardize)
        parts = self._known[key]
        choice.check(parts.schema, parts.train[1], settings)
        batch = min(settings.batch_size, len(parts.train[0]))
        return Task(self._dataset.name, parts, choice, batch, self._given)

    def _cut(self, settings: Settings, standardize_targets: bool) -> Parts:
        dataset, dtype = self._dataset, settings.dtype
        rows = split(dataset, validation=settings.validation, test=settings.test, seed=settings.seed)
        X, y = dataset.features, dataset.targets
        schema = Schema.fit(
            X[rows.train],
            y[rows.train],
            dataset.classification,
            settings.scaling,
            standardize_targets=standardize_targets,
            target=dataset.target,
        )
        notices: list[str] = []

        def part(name: str, features: Array | Table, targets: Array) -> Part:
            place = dataset.name
            ready, told = schema.take_features(features, dtype, place)
            notices.extend(f"{name} rows: {said}" for said in told)
            return ready, schema.encode_targets(targets, dtype, place)

        train = part("training", X[rows.train], y[rows.train])
        validation = test = None
        if len(rows.validation):
            validation = part("validation", X[rows.validation], y[rows.validation])
        if dataset.test_features is not None and dataset.test_targets is not None:
            test = part("test", dataset.test_features, dataset.test_targets)
        elif len(rows.test):
            test = part("test", X[rows.test], y[rows.test])
        weights = class_weights(
            schema, train[1], self._row_weights(), len(X), rows.train, self._class_weight, dtype
        )
        return Parts(schema, train, validation, test, weights, tuple(notices))

    def _row_weights(self) -> Any:
        """The weights that were given, without those of rows that were dropped for want of a target."""
        dataset, weights = self._dataset, self._sample_weight
        if dataset.dropped and isinstance(dataset.features, Table):
            rows = len(dataset.targets) + dataset.dropped
            if np.shape(weights) == (rows,) and dataset.features.numbers.max() < rows:
                return np.asarray(weights)[dataset.features.numbers]
        return weights
