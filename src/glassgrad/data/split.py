"""The split of a data set into training, validation and test rows."""

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
    """Row numbers of the three parts, each int64 in ascending order.

    ``train`` and ``validation`` index ``dataset.features``. ``test`` indexes ``dataset.test_features`` if
    ``test_is_given``, else ``dataset.features``.
    """

    train: Indices
    validation: Indices
    test: Indices
    test_is_given: bool

    def take(self, dataset: Dataset, part: str) -> tuple[Array | Table, Array] | None:
        """Features and targets of the ``part`` ("train", "validation" or "test") of ``dataset``; None if it is empty.

        ``dataset`` is the data set that was split.
        """
        rows = {"train": self.train, "validation": self.validation, "test": self.test}[part]
        if not len(rows):
            return None
        features, targets = dataset.features, dataset.targets
        if part == "test" and dataset.test_features is not None and dataset.test_targets is not None:
            return dataset.test_features, dataset.test_targets
        return features[rows], targets[rows]


def split(dataset: Dataset, *, validation: float, test: float, seed: int = 0) -> Split:
    """Split the rows of ``dataset`` at random; the same seed gives the same split.

    ``test`` is a fraction of all rows. It is ignored if the data set has its own test part. ``validation`` is a
    fraction of the rows *that remain after the test rows are taken*. A fraction of 0 gives an empty part; any other
    fraction gives at least one row. For classification the split is stratified (largest remainder method), and every
    class keeps at least one training row.

    Raises InputError for a fraction outside 0 <= fraction < 1, and for too few rows.
    """
    for label, share in (("validation", validation), ("test", test)):
        check(label, share, SHARE)
    rows = len(dataset.targets)
    groups = _shuffled_groups(dataset, generator(seed, SPLIT))
    test_is_given = dataset.test_targets is not None
    if dataset.test_targets is not None:
        test_rows = np.arange(len(dataset.test_targets), dtype=np.int64)
    else:
        test_rows, groups = _take_part(groups, test, "test", dataset, rows)
    validation_rows, groups = _take_part(groups, validation, "validation", dataset, sum(map(len, groups)))
    return Split(np.sort(np.concatenate(groups)), validation_rows, test_rows, test_is_given)


def _shuffled_groups(dataset: Dataset, random: np.random.Generator) -> list[Indices]:
    """The row numbers of each class (for regression: of all rows), each group in random order."""
    order = random.permutation(np.arange(len(dataset.targets), dtype=np.int64))
    if not dataset.classification:
        return [order]
    labels = dataset.targets[order]
    _, counts = np.unique(labels, return_counts=True)
    return np.split(order[np.argsort(labels, kind="stable")], np.cumsum(counts)[:-1])


def _take_part(
    groups: list[Indices], share: float, label: str, dataset: Dataset, rows: int
) -> tuple[Indices, list[Indices]]:
    """Move the fraction ``share`` of ``rows`` from ``groups`` to a new part.

    Returns the row numbers of the part, in ascending order, and the remaining groups. Raises InputError if a group
    would become empty.
    """
    counts = np.array([len(group) for group in groups])
    total = max(1, round(share * rows)) if share else 0
    spare = int(np.sum(counts - 1))
    if total > spare:
        keep = f"each of {len(groups)} classes" if dataset.classification else "training"
        raise InputError(
            f"{dataset.name}: too few rows: {label}={share} of {rows} rows is {total}, but only {spare} are "
            f"available if {keep} keeps one row; give more rows or a smaller {label}"
        )
    sizes = _largest_remainder(counts, total)
    part = np.concatenate([group[:n] for group, n in zip(groups, sizes, strict=True)])
    return np.sort(part), [group[n:] for group, n in zip(groups, sizes, strict=True)]


def _largest_remainder(counts: Indices, total: int) -> list[int]:
    """The number of rows to take from each group: ``total`` in all, in proportion to ``counts``.

    Every group keeps at least one row.
    """
    quotas = counts * (total / counts.sum())
    sizes = np.minimum(np.floor(quotas).astype(np.int64), counts - 1)
    order = np.argsort(sizes - quotas, kind="stable")
    while (missing := total - int(sizes.sum())) > 0:
        open_groups = order[sizes[order] < counts[order] - 1]
        sizes[open_groups[:missing]] += 1
    return [int(n) for n in sizes]
