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


def uninformative_columns(parts: Parts, dataset: Dataset) -> tuple[str, ...]:
    """The columns of ``dataset`` that explain nothing of the targets, by the training rows of ``parts``."""
    names = columns(dataset)
    schema = parts.schema
    if len(names) < 2 or len(schema.feature_shape) != 1:
        return ()
    features, targets = parts.train
    truth = truth_basis(targets, None if schema.classes is None else len(schema.classes))
    inputs_of: dict[str, list[int]] = {}
    for number, name in enumerate(schema.input_names):
        inputs_of.setdefault(column_of(name, schema), []).append(number)
    uninformative = []
    for column, numbers in inputs_of.items():
        inputs = basis(features[:, numbers])
        enough = EACH * inputs.shape[1] * truth.shape[1]
        if column in names and explained(inputs, truth) <= enough:
            uninformative.append(column)
    return tuple(uninformative)


def uninformative_in(dataset: Dataset, settings: Settings) -> tuple[str, ...]:
    """The same by the rows that ``settings`` would train on."""
    return uninformative_columns(Preparation(dataset).task(settings).parts, dataset)
