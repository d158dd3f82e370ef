"""The data of the zoo: small samples of real data sets, each with test rows that no diagnosis sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from glassgrad.data.dataset import Dataset, from_arrays
from glassgrad.data.sources import load_source

SHARED = Path(__file__).parents[3] / "shared" / "data"
ROWS = 1500  # enough for a healthy network to beat guessing clearly, few enough to run the zoo in an hour
TEST = 1000


@dataclass(frozen=True)
class Sample:
    """The rows to diagnose, and the test rows on which fixes are judged."""

    seen: Dataset
    test: Dataset


@cache
def load_all(name: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """The features [rows, inputs] as numbers, the targets [rows], and whether the targets are classes."""
    if name == "digits":
        data = load_source("digits")
        return data.features.reshape(len(data.features), -1).astype(np.float64), data.targets, True
    if name == "mnist":
        data = load_source(SHARED / "mnist")
        rows = np.random.default_rng(0).permutation(len(data.features))[:4000]
        small = data.features[rows].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
        return small.reshape(len(rows), -1), data.targets[rows], True
    file, target = {
        "adult": ("adult_income.csv.gz", "income >50K"),
        "california": ("california_housing.csv.gz", "median_house_value"),
    }[name]
    data = load_source(SHARED / file, target=target)
    table = data.features
    assert not isinstance(table, np.ndarray)
    columns = []
    for column in table.columns:  # numbers are not scaled: wrong scaling is one of the faults
        if column.values.dtype.kind in "biuf":
            values = column.values.astype(np.float64)
            columns.append(np.where(column.missing, np.nanmedian(values), values))
        else:
            labels, categories = np.unique(column.values.astype(str), return_inverse=True)
            counts = np.bincount(categories)
            frequent = np.argsort(-counts)[: min(6, len(labels))]
            columns += [(categories == category).astype(np.float64) for category in frequent]
    targets = data.targets if data.classification else data.targets / 1e5
    return np.column_stack(columns), targets, data.classification


def sample(name: str, seed: int, rows: int = ROWS) -> Sample:
    """``rows`` random rows to diagnose, and other rows as the test rows."""
    features, targets, has_classes = load_all(name)
    order = np.random.default_rng([seed, len(features)]).permutation(len(features))
    test_rows = min(TEST, len(order) // 5)
    seen_rows = min(rows, len(order) - test_rows)
    seen, unseen = order[test_rows : test_rows + seen_rows], order[:test_rows]
    task = "classification" if has_classes else "regression"
    parts = [from_arrays(features[part], targets[part], name=name, task=task) for part in (seen, unseen)]
    return Sample(*parts)


def changed(original: Sample, features: object = None, targets: object = None) -> Sample:
    """``original`` with functions applied to the features and the targets of both parts.

    The arguments of a function are the features, the targets and the index of the part: 0 for seen, 1 for test.
    """
    parts = []
    for index, part in enumerate((original.seen, original.test)):
        changed_part = part
        if features is not None:
            values = features(part.features, part.targets, index)  # type: ignore[operator]
            changed_part = replace(changed_part, features=values)
        if targets is not None:
            values = targets(part.features, part.targets, index)  # type: ignore[operator]
            changed_part = replace(changed_part, targets=values)
        parts.append(changed_part)
    return Sample(*parts)
