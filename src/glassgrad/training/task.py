"""What a run trains on: the data set cut into parts and prepared, and the network and loss that suit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.data.dataset import Dataset
from glassgrad.data.schema import Schema
from glassgrad.data.split import split
from glassgrad.training.choices import Choice, choose, class_weights
from glassgrad.training.settings import Settings

Part = tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class Parts:
    """A data set, cut and prepared: features and targets of each part, and the weights of the training rows."""

    schema: Schema
    train: Part
    validation: Part | None
    test: Part | None
    weights: Array | None

    def named(self) -> dict[str, Part]:
        """The parts that there are."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


@dataclass(frozen=True, eq=False)
class Task:
    """What one run trains on, and what it trains."""

    name: str
    parts: Parts
    choice: Choice
    batch: int

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
        self._dataset = dataset
        self._sample_weight, self._class_weight = sample_weight, class_weight
        self._classes = len(np.unique(dataset.targets)) if dataset.classification else None
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
        return Task(self._dataset.name, parts, choice, min(settings.batch_size, len(parts.train[0])))

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
        )

        def part(features: Array, targets: Array) -> Part:
            place = dataset.name
            return schema.transform_features(features, dtype, place), schema.encode_targets(
                targets, dtype, place
            )

        train = part(X[rows.train], y[rows.train])
        validation = part(X[rows.validation], y[rows.validation]) if len(rows.validation) else None
        test = None
        if dataset.test_features is not None and dataset.test_targets is not None:
            test = part(dataset.test_features, dataset.test_targets)
        elif len(rows.test):
            test = part(X[rows.test], y[rows.test])
        weights = class_weights(
            schema, train[1], self._sample_weight, len(X), rows.train, self._class_weight, dtype
        )
        return Parts(schema, train, validation, test, weights)
