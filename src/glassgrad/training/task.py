"""``Task``: the data set of a run, split and preprocessed, with the network and loss."""

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
    """A data set, split and preprocessed: features and targets of each part, and the weights of the training rows."""

    schema: Schema
    train: Part
    validation: Part | None
    test: Part | None
    weights: Array | None
    split: Split
    """The rows of the data set in each part."""

    notices: tuple[str, ...] = ()
    """Unusual values in the rows of a table, such as categories that are not in the training rows."""

    @cached_property
    def background(self) -> float | None:
        """The background of the training features (see ``training.background``), if there is one."""
        return background(self.train[0])

    def named(self) -> dict[str, Part]:
        """The parts that are not empty, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


@frozen
class Task:
    """The preprocessed data of a run, and its network and loss."""

    name: str
    parts: Parts
    resolved: ResolvedNetwork
    batch: int
    given: Given

    @property
    def targets(self) -> int | None:
        """The number of targets per row in a regression; None for a classification."""
        schema = self.parts.schema
        return None if schema.classes is not None else schema.outputs

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the preprocessed data: features and targets of every part, and the weights."""
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
    """Prepares tasks on one data set. Runs that split and scale it in the same way share the arrays."""

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
        self._parts: dict[tuple[Any, ...], Parts] = {}

    def task(self, settings: Settings, known_split: Split | None = None) -> Task:
        """The task of a run with ``settings``; raises InputError for an invalid combination with this data.

        ``known_split`` is the split of these data with these settings, if a run has it already.
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
        if key not in self._parts:
            self._parts[key] = self._prepare(settings, standardize, known_split)
        parts = self._parts[key]
        resolved.check(parts.schema, parts.train[1], settings)
        batch = min(settings.batch_size, len(parts.train[0]))
        return Task(self._dataset.name, parts, resolved, batch, self._given)

    def _prepare(self, settings: Settings, standardize_targets: bool, known_split: Split | None) -> Parts:
        dataset, dtype = self._dataset, settings.dtype
        rows = split_rows(dataset, settings) if known_split is None else known_split
        training_rows = rows.take(dataset, "train")
        assert training_rows is not None  # every split has training rows
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
            encoded, messages = schema.take_features(features, dtype, dataset.name)
            notices.extend(f"{name} rows: {message}" for message in messages)
            return encoded, schema.encode_targets(targets, dtype, dataset.name)

        train = prepared("training", training_rows)
        held_out = {name: rows.take(dataset, name) for name in ("validation", "test")}
        validation, test = (None if part is None else prepared(name, part) for name, part in held_out.items())
        weights = row_weights(
            schema,
            train[1],
            self._sample_weights_of_rows(),
            len(dataset.targets),
            rows.train,
            self._class_weight,
            dtype,
        )
        return Parts(schema, train, validation, test, weights, rows, tuple(notices))

    def _sample_weights_of_rows(self) -> Any:
        """The sample weights, without those of rows that were dropped because they have no target."""
        dataset, weights = self._dataset, self._sample_weight
        if dataset.dropped and isinstance(dataset.features, Table):
            rows = len(dataset.targets) + dataset.dropped
            if np.shape(weights) == (rows,) and dataset.features.numbers.max() < rows:
                return np.asarray(weights)[dataset.features.numbers]
        return weights
