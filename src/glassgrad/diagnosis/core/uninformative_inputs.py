"""Inputs that carry no information about the target, each taken alone. With few rows, a network overfits to them."""

from __future__ import annotations

from glassgrad.data.dataset import Dataset
from glassgrad.diagnosis.core.association import basis, explained, truth_basis
from glassgrad.diagnosis.core.variants import column_of, columns
from glassgrad.training.settings import Settings
from glassgrad.training.task import Parts, Preparation

PER_PARAMETER = 2.0
"""An informative input explains more than this for each fitted parameter (H. Akaike, A new look at the statistical
model identification, 1974). An unrelated input explains 1 by chance."""


def uninformative_columns(parts: Parts, dataset: Dataset) -> tuple[str, ...]:
    """The columns of ``dataset`` that explain nothing of the targets in the training rows of ``parts``."""
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
        threshold = PER_PARAMETER * inputs.shape[1] * truth.shape[1]
        if column in names and explained(inputs, truth) <= threshold:
            uninformative.append(column)
    return tuple(uninformative)


def uninformative_in(dataset: Dataset, settings: Settings) -> tuple[str, ...]:
    """The uninformative columns of ``dataset`` in the rows that ``settings`` would train on."""
    return uninformative_columns(Preparation(dataset).task(settings).parts, dataset)
