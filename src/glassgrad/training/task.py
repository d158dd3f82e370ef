"""What a run trains on: the data set cut into parts and prepared, and the network and loss that suit it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common.cached import cached_property
from glassgrad.common.frozen import frozen
from glassgrad.data.checks import distinct
from glassgrad.data.dataset import Dataset
from glassgrad.data.schema import Schema
from glassgrad.data.split import Split, split
from glassgrad.data.table import Table
from glassgrad.training.background import background
from glassgrad.training.given import Given
from glassgrad.training.resolve import ResolvedNetwork, resolve_network
from glassgrad.training.row_weights import row_weights
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
    split: Split
    """Which rows of the data set are in which part."""

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
    resolved: ResolvedNetwork
    batch: int
    given: Given

    @property
    def targets(self) -> int | None:
        """The targets of a row in a regression; None where it has a class."""
        schema = self.parts.schema
        return None if schema.classes is not None else schema.outputs

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the prepared rows that a training sees: features, targets and weights of every part."""
        digest = hashlib.sha256()
        arrays = {
            f"{name} {i}": item for name, part in self.parts.named().items() for i, item in enumerate(part)
        }
        if self.parts.weights is not None:
            arrays["weights"] = self.parts.weights
        for name, array in arrays.items():
            digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def split_rows(dataset: Dataset, settings: Settings) -> Split:
    """The split of ``dataset`` that a run with ``settings`` makes; the run carries it as ``Run.split``."""
    return split(dataset, validation=settings.validation, test=settings.test, seed=settings.seed)


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

    def task(self, settings: Settings, known_split: Split | None = None) -> Task:
        """The task of a run with ``settings``; raises InputError for an invalid combination with this data.

        ``known_split`` is the split of these data with these settings, where a run has it already.
        """
        resolved = resolve_network(self._dataset, settings, self._classes)
        standardize = resolved.loss.target_kind == "values"
        key = (
            settings.seed,
            settings.validation,
            settings.test,
            settings.scaling,
            settings.dtype,
            standardize,
        )
        if key not in self._known:
            self._known[key] = self._cut(settings, standardize, known_split)
        parts = self._known[key]
        resolved.check(parts.schema, parts.train[1], settings)
        batch = min(settings.batch_size, len(parts.train[0]))
        return Task(self._dataset.name, parts, resolved, batch, self._given)

    def _cut(self, settings: Settings, standardize_targets: bool, known_split: Split | None) -> Parts:
        dataset, dtype = self._dataset, settings.dtype
        rows = split_rows(dataset, settings) if known_split is None else known_split
        training_rows = rows.take(dataset, "train")
        assert training_rows is not None  # every split leaves rows to train on
        schema = Schema.fit(
            *training_rows,
            dataset.classification,
            settings.scaling,
            standardize_targets=standardize_targets,
            target=dataset.target,
            target_names=dataset.target_names,
        )
        notices: list[str] = []

        def prepared(name: str, part: tuple[Array | Table, Array]) -> Part:
            features, targets = part
            place = dataset.name
            ready, told = schema.take_features(features, dtype, place)
            notices.extend(f"{name} rows: {said}" for said in told)
            return ready, schema.encode_targets(targets, dtype, place)

        train = prepared("training", training_rows)
        held_out = {name: rows.take(dataset, name) for name in ("validation", "test")}
        validation, test = (None if part is None else prepared(name, part) for name, part in held_out.items())
        weights = row_weights(
            schema,
            train[1],
            self._row_weights(),
            len(dataset.targets),
            rows.train,
            self._class_weight,
            dtype,
        )
        return Parts(schema, train, validation, test, weights, rows, tuple(notices))

    def _row_weights(self) -> Any:
        """The weights that were given, without those of rows that were dropped for want of a target."""
        dataset, weights = self._dataset, self._sample_weight
        if dataset.dropped and isinstance(dataset.features, Table):
            rows = len(dataset.targets) + dataset.dropped
            if np.shape(weights) == (rows,) and dataset.features.numbers.max() < rows:
                return np.asarray(weights)[dataset.features.numbers]
        return weights
