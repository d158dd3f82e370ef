"""Inputs that say nothing of the target, each taken alone: of few rows a network learns them by heart as well."""

from __future__ import annotations

from glassgrad.data.dataset import Dataset
from glassgrad.diagnosis.core.association import basis, explained, truth_basis
from glassgrad.diagnosis.core.variants import column_of, columns
from glassgrad.training.settings import Settings
from glassgrad.training.task import Parts, Preparation

EACH = 2.0
"""An input has to explain more than this for every number that a fit to it would have (H. Akaike, A new look at the
statistical model identification, 1974); by chance it explains 1."""


def idle_columns(parts: Parts, dataset: Dataset) -> tuple[str, ...]:
    """The columns of ``dataset`` that explain nothing of the targets, by the training rows of ``parts``."""
    names = columns(dataset)
    schema = parts.schema
    if len(names) < 2 or len(schema.feature_shape) != 1:
        return ()
    features, targets = parts.train
    truth = truth_basis(targets, None if schema.classes is None else len(schema.classes))
    own: dict[str, list[int]] = {}
    for number, name in enumerate(schema.input_names):
        own.setdefault(column_of(name, schema), []).append(number)
    found = []
    for column, places in own.items():
        said = basis(features[:, places])
        enough = EACH * said.shape[1] * truth.shape[1]
        if column in names and explained(said, truth) <= enough:
            found.append(column)
    return tuple(found)


def idle_of(dataset: Dataset, settings: Settings) -> tuple[str, ...]:
    """The same by the rows that ``settings`` would train on."""
    return idle_columns(Preparation(dataset).task(settings).parts, dataset)
