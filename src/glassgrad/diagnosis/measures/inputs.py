"""The inputs of training: constant, of very different size, duplicated, or leaking the target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.backends.base import Array
from glassgrad.common.frozen import frozen
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.core.variants import column_of, columns

Floats = npt.NDArray[np.float64]

ROWS = 2000
ALONE_ROWS = 4000
FOLDS = 4
NEAREST = 4
MOST_COLUMNS = 400
"""Single inputs and pairs are examined up to this number of columns."""


@frozen
class Inputs:
    """The network's inputs by name, and the columns of the source.

    ``spreads`` and ``sizes`` [inputs] are standard deviations and root mean squares of the network's inputs.
    ``constant`` columns hold a single value; ``repeated`` are pairs of equivalent columns. ``alone`` maps each column
    to the share of the baseline's mistakes or variance that a prediction from this column alone removes (see
    ``alone_score``).
    """

    names: tuple[str, ...]
    spreads: Floats
    sizes: Floats
    scaling: str
    constant: tuple[str, ...]
    repeated: tuple[tuple[str, str], ...]
    alone: dict[str, float]

    @property
    def ratio(self) -> float:
        """The largest size of an input over the smallest; constant inputs are ignored."""
        varied = self.sizes[self.spreads > 0]
        return float(varied.max() / varied.min()) if len(varied) and varied.min() > 0 else 1.0

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(
            {
                "inputs": len(self.names),
                "scaling": self.scaling,
                "largest_size": float(self.sizes.max(initial=0.0)),
                "size_ratio": self.ratio,
                "constant": self.constant,
                "repeated": self.repeated,
                "alone": dict(sorted(self.alone.items(), key=lambda item: -item[1])[:20]),
            }
        )


def measure_inputs(subject: Subject) -> Inputs:
    """Measure the inputs on the training rows."""
    schema = subject.task.parts.schema
    features, targets = subject.train_rows
    x = np.asarray(features[:: -(-len(features) // ROWS)], np.float64).reshape(
        -1, int(np.prod(schema.feature_shape))
    )
    names = schema.input_names
    spreads = x.std(axis=0)
    spreads[spreads <= 1e-7 * np.maximum(np.abs(x).max(axis=0), 1e-30)] = 0.0
    sizes = np.sqrt((x**2).mean(axis=0))
    groups: dict[str, list[int]] = {}
    if len(schema.feature_shape) == 1 and columns(subject.dataset):
        for number, name in enumerate(names):
            groups.setdefault(column_of(name, schema), []).append(number)
    flat = np.asarray(features, np.float64).reshape(len(features), -1)
    constant = [column for column, numbers in groups.items() if (np.ptp(flat[:, numbers], axis=0) == 0).all()]
    if schema.table is not None:
        constant += [column.name for column in schema.table.columns if column.kind == "constant"]
    alone = {}
    repeated: list[tuple[str, str]] = []
    if len(groups) <= MOST_COLUMNS:
        count = None if schema.classes is None else len(schema.classes)
        rows = np.random.default_rng(0).permutation(len(features))[:ALONE_ROWS]
        for column, numbers in groups.items():
            if len(groups) > 1 and column not in constant:
                alone[column] = alone_score(features[rows][:, numbers], targets[rows], count)
        repeated = list(_repeated(flat[:ROWS], groups, set(constant)))
    return Inputs(names, spreads, sizes, schema.scaling, tuple(constant), tuple(repeated), alone)


def _repeated(x: Floats, groups: dict[str, list[int]], left_out: set[str]) -> Iterator[tuple[str, str]]:
    """Pairs of single-input columns with correlation 1 or -1, up to rounding."""
    inputs = {column: x[:, numbers] for column, numbers in groups.items() if column not in left_out}
    single = [column for column, values in inputs.items() if values.shape[1] == 1]
    if not single:
        return
    table = np.hstack([inputs[column] for column in single])
    table = table - table.mean(axis=0)
    norms = np.sqrt((table**2).sum(axis=0))
    table = table / np.where(norms > 0, norms, 1.0)
    correlated = np.triu(np.abs(table.T @ table) > 1 - 1e-7, 1)
    seen: set[int] = set()
    for i, j in zip(*np.nonzero(correlated), strict=True):
        if int(j) not in seen:
            seen.add(int(j))
            yield single[int(i)], single[int(j)]


def alone_score(x: Array, y: Array, classes: int | None) -> float:
    """The share of the baseline's mistakes or variance that one column [rows, inputs] removes, 0 to 1.

    Each fold of the rows is predicted from the others: from rows with the same value if values repeat, else from the
    ``NEAREST`` rows on either side. For quantities, a line through all rows is tried too.
    """
    truth = _truth(y, classes)
    codes = _codes(x)
    near, line, means = (np.empty_like(truth) for _ in range(3))
    for number in range(FOLDS):
        score = np.arange(len(codes)) % FOLDS == number
        fit = ~score
        means[score] = mean = truth[fit].mean(axis=0)
        near[score] = looked_up(codes[fit], truth[fit], codes[score])
        centred = codes[fit] - codes[fit].mean()
        slope = (centred[:, None] * truth[fit]).sum(axis=0) / max(float((centred**2).sum()), 1e-300)
        line[score] = mean + (codes[score] - codes[fit].mean())[:, None] * slope
    if classes is not None:
        wrong, baseline = (float(np.mean(predicted.argmax(axis=1) != y)) for predicted in (near, means))
        return max(1 - wrong / baseline, 0.0) if baseline > 0 else 0.0
    error = min(float(((truth - predicted) ** 2).sum()) for predicted in (near, line))
    total = float(((truth - means) ** 2).sum())
    return max(1 - error / total, 0.0) if total > 0 else 0.0


def _codes(x: Array) -> Floats:
    """One number per row of a column: the index of the category for several inputs, else the input itself."""
    return x.argmax(axis=1).astype(np.float64) if x.shape[1] > 1 else np.asarray(x[:, 0], np.float64)


def _truth(y: Array, classes: int | None) -> Floats:
    """Targets as numbers [rows, n]: one-hot for classes."""
    values: Floats = (
        np.eye(classes)[y] if classes is not None else np.asarray(y, np.float64).reshape(len(y), -1)
    )
    return values


def predict_alone(
    subject: Subject, column: str, train: tuple[Array, Array], queries: Array, classes: int | None
) -> Array:
    """Predictions for the rows ``queries`` from one column alone, looked up among the rows and targets ``train``:
    classes [rows], or quantities [rows, n]."""
    schema = subject.task.parts.schema
    numbers = [number for number, name in enumerate(schema.input_names) if column_of(name, schema) == column]
    predicted = looked_up(
        _codes(train[0][:, numbers]), _truth(train[1], classes), _codes(queries[:, numbers])
    )
    return predicted if classes is None else predicted.argmax(axis=1)


def looked_up(known: Floats, truth: Floats, queries: Floats) -> Floats:
    """The mean ``truth`` [rows, n] of ``known`` rows with the same value if values repeat, else of the nearest."""
    repeats = len(np.unique(known)) <= len(known) / 20
    return (_of_equals if repeats else _of_neighbours)(known, truth, queries, truth.mean(axis=0))


def _of_equals(known: Floats, truth: Floats, queries: Floats, mean: Floats) -> Floats:
    """The mean of the rows with the same value; ``mean`` if there are none."""
    values, groups = np.unique(known, return_inverse=True)
    counts = np.bincount(groups)
    sums = np.stack([np.bincount(groups, column) for column in truth.T], axis=1)
    matches = np.minimum(np.searchsorted(values, queries), len(values) - 1)
    is_equal = (values[matches] == queries)[:, None]
    return np.where(is_equal, sums[matches] / counts[matches][:, None], mean)


def _of_neighbours(known: Floats, truth: Floats, queries: Floats, mean: Floats) -> Floats:
    """The mean of the nearest rows on either side."""
    order = np.argsort(known, kind="stable")
    sums = np.vstack([np.zeros(truth.shape[1]), np.cumsum(truth[order], axis=0)])
    positions = np.searchsorted(known[order], queries)
    low, high = np.maximum(positions - NEAREST, 0), np.minimum(positions + NEAREST, len(known))
    means: Floats = (sums[high] - sums[low]) / (high - low)[:, None]
    return means
