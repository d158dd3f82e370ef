"""Dealing the rows of a data set out to training, validation and test."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glassgrad.common.constraints import SHARE, check
from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.common.streams import SPLIT, generator
from glassgrad.data.checks import Array
from glassgrad.data.dataset import Dataset
from glassgrad.data.table import Table

Indices = npt.NDArray[np.int64]


@frozen
class Split:
    """Row numbers of the three parts, each int64, ascending.

    ``train`` and ``validation`` index ``dataset.features``. So does ``test``, unless ``test_is_given``: then
    it counts the rows of ``dataset.test_features``.
    """

    train: Indices
    validation: Indices
    test: Indices
    test_is_given: bool

    def take(self, dataset: Dataset, part: str) -> tuple[Array | Table, Array] | None:
        """Features and targets of the ``part`` ("train", "validation" or "test") of ``dataset``; None if it is empty.

        ``dataset`` is the one that was split.
        """
        rows = {"train": self.train, "validation": self.validation, "test": self.test}[part]
        if not len(rows):
            return None
        features, targets = dataset.features, dataset.targets
        if part == "test" and dataset.test_features is not None and dataset.test_targets is not None:
            return dataset.test_features, dataset.test_targets
        return features[rows], targets[rows]


def split(dataset: Dataset, *, validation: float, test: float, seed: int = 0) -> Split:
    """Split the rows of ``dataset`` at random, the same way for the same seed.

    ``test`` is a share of all rows; where the data set brings its own test part, that part is used and
    ``test`` is ignored. ``validation`` is a share of the rows *left after the test part is taken*. A share of
    0 gives an empty part; any other share gives at least one row. For classification each part keeps the
    proportions of the classes (largest remainder), and every class keeps at least one training row.

    Raises InputError for a share outside 0 <= share < 1, or too few rows to satisfy all this.
    """
    for label, share in (("validation", validation), ("test", test)):
        check(label, share, SHARE)
    rows = len(dataset.targets)
    groups = _shuffled_groups(dataset, generator(seed, SPLIT))
    test_is_given = dataset.test_targets is not None
    if dataset.test_targets is not None:
        test_rows = np.arange(len(dataset.test_targets), dtype=np.int64)
    else:
        test_rows, groups = _deal(groups, test, "test", dataset, rows)
    validation_rows, groups = _deal(groups, validation, "validation", dataset, sum(map(len, groups)))
    return Split(np.sort(np.concatenate(groups)), validation_rows, test_rows, test_is_given)


def _shuffled_groups(dataset: Dataset, random: np.random.Generator) -> list[Indices]:
    """The row numbers of each class (or of all rows, for regression), each group in random order."""
    order = random.permutation(np.arange(len(dataset.targets), dtype=np.int64))
    if not dataset.classification:
        return [order]
    labels = dataset.targets[order]
    _, counts = np.unique(labels, return_counts=True)
    return np.split(order[np.argsort(labels, kind="stable")], np.cumsum(counts)[:-1])


def _deal(
    groups: list[Indices], share: float, label: str, dataset: Dataset, rows: int
) -> tuple[Indices, list[Indices]]:
    """Take ``share`` of the rows out of ``groups``: the part taken, and what is left of each group."""
    counts = np.array([len(group) for group in groups])
    total = max(1, round(share * rows)) if share else 0
    spare = int(np.sum(counts - 1))
    if total > spare:
        keep = f"each of {len(groups)} classes" if dataset.classification else "training"
        raise InputError(
            f"{dataset.name}: too few rows: {label}={share} of {rows} rows is {total}, but {spare} can be "
            f"spared when {keep} keeps one row; give more rows or a smaller {label}"
        )
    taken = _largest_remainder(counts, total)
    part = np.concatenate([group[:n] for group, n in zip(groups, taken, strict=True)])
    return np.sort(part), [group[n:] for group, n in zip(groups, taken, strict=True)]


def _largest_remainder(counts: Indices, total: int) -> list[int]:
    """How many of ``total`` fall to each group, in proportion to ``counts`` but leaving each at least one."""
    quotas = counts * (total / counts.sum())
    taken = np.minimum(np.floor(quotas).astype(np.int64), counts - 1)
    order = np.argsort(taken - quotas, kind="stable")
    while (missing := total - int(taken.sum())) > 0:
        open_groups = order[taken[order] < counts[order] - 1]
        taken[open_groups[:missing]] += 1
    return [int(n) for n in taken]
