"""The data of the zoo: small samples of real data sets, each with a test part that no diagnosis sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from glassgrad.data.dataset import Dataset, from_arrays
from glassgrad.data.sources import load_source

SHARED = Path(__file__).parents[3] / "shared" / "data"
ROWS = 1500  # enough that a sound network beats a blind guess clearly, few enough that 60 minutes do
TEST = 1000


@dataclass(frozen=True)
class Sample:
    """What is diagnosed, and the rows that its fix is judged on."""

    seen: Dataset
    test: Dataset


@cache
def whole(name: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Features as a plain table of numbers, targets, and whether they are classes."""
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
    for column in table.columns:  # numbers as they are, so that scaling remains a question
        if column.values.dtype.kind in "biuf":
            values = column.values.astype(np.float64)
            columns.append(np.where(column.missing, np.nanmedian(values), values))
        else:
            labels, numbers = np.unique(column.values.astype(str), return_inverse=True)
            counts = np.bincount(numbers)
            frequent = np.argsort(-counts)[: min(6, len(labels))]
            columns += [(numbers == number).astype(np.float64) for number in frequent]
    targets = data.targets if data.classification else data.targets / 1e5
    return np.column_stack(columns), targets, data.classification


def sample(name: str, seed: int, rows: int = ROWS) -> Sample:
    """``rows`` rows to diagnose, and others to judge by."""
    features, targets, classes = whole(name)
    order = np.random.default_rng([seed, len(features)]).permutation(len(features))
    test = min(TEST, len(order) // 5)
    kept = min(rows, len(order) - test)
    seen, unseen = order[test : test + kept], order[:test]
    task = "classification" if classes else "regression"
    made = [from_arrays(features[part], targets[part], name=name, task=task) for part in (seen, unseen)]
    return Sample(*made)


def changed(given: Sample, features: object = None, targets: object = None) -> Sample:
    """``given`` with functions of (features, targets, which part: 0 seen, 1 test) applied to both parts."""
    parts = []
    for number, part in enumerate((given.seen, given.test)):
        new = part
        if features is not None:
            new = replace(new, features=features(part.features, part.targets, number))  # type: ignore[operator]
        if targets is not None:
            new = replace(new, targets=targets(part.features, part.targets, number))  # type: ignore[operator]
        parts.append(new)
    return Sample(*parts)
