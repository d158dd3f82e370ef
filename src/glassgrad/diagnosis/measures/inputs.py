"""The inputs as training meets them: constant, of very different size, repeated, or giving the target away."""

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
"""Single inputs and pairs are looked at up to this number of columns."""


@frozen
class Inputs:
    """Inputs by name, and columns of the source by what they say alone.

    ``spreads`` and ``sizes`` [inputs] are standard deviations and root mean squares of the inputs as the network
    takes them. ``constant`` columns hold one value only; ``repeated`` are pairs of columns that say the same.
    ``alone`` is, by column, the share of the constant predictor's mistakes or variance that the best guess from
    this column alone takes away (see ``alone_score``).
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
        """The largest size of an input over the smallest one that varies."""
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


def look_at_inputs(subject: Subject) -> Inputs:
    """Of the training rows."""
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
    whole = np.asarray(features, np.float64).reshape(len(features), -1)
    constant = [column for column, own in groups.items() if (np.ptp(whole[:, own], axis=0) == 0).all()]
    if schema.table is not None:
        constant += [column.name for column in schema.table.columns if column.kind == "constant"]
    alone = {}
    repeated: list[tuple[str, str]] = []
    if len(groups) <= MOST_COLUMNS:
        count = None if schema.classes is None else len(schema.classes)
        rows = np.random.default_rng(0).permutation(len(features))[:ALONE_ROWS]
        for column, own in groups.items():
            if len(groups) > 1 and column not in constant:
                alone[column] = alone_score(features[rows][:, own], targets[rows], count)
        repeated = list(_repeated(whole[:ROWS], groups, set(constant)))
    return Inputs(names, spreads, sizes, schema.scaling, tuple(constant), tuple(repeated), alone)


def _repeated(x: Floats, groups: dict[str, list[int]], left_out: set[str]) -> Iterator[tuple[str, str]]:
    """Pairs of columns all of whose inputs go together: correlation 1 or -1, up to rounding."""
    own = {column: x[:, places] for column, places in groups.items() if column not in left_out}
    single = [column for column, values in own.items() if values.shape[1] == 1]
    if not single:
        return
    table = np.hstack([own[column] for column in single])
    table = table - table.mean(axis=0)
    norms = np.sqrt((table**2).sum(axis=0))
    table = table / np.where(norms > 0, norms, 1.0)
    together = np.triu(np.abs(table.T @ table) > 1 - 1e-7, 1)
    seen: set[int] = set()
    for i, j in zip(*np.nonzero(together), strict=True):
        if int(j) not in seen:
            seen.add(int(j))
            yield single[int(i)], single[int(j)]


def alone_score(x: Array, y: Array, classes: int | None) -> float:
    """How much the best guess from one column [rows, inputs] takes away of what a constant guess leaves, 0 to 1.

    Each fold of the rows is guessed from the others: from rows of the same value where values repeat, else from the
    ``NEAREST`` rows on either side. Of numbers, a line through all rows is tried as well.
    """
    truth = _truth(y, classes)
    codes = _codes(x)
    near, line, middles = (np.empty_like(truth) for _ in range(3))
    for number in range(FOLDS):
        score = np.arange(len(codes)) % FOLDS == number
        fit = ~score
        middles[score] = middle = truth[fit].mean(axis=0)
        near[score] = looked_up(codes[fit], truth[fit], codes[score])
        moved = codes[fit] - codes[fit].mean()
        slope = (moved[:, None] * truth[fit]).sum(axis=0) / max(float((moved**2).sum()), 1e-300)
        line[score] = middle + (codes[score] - codes[fit].mean())[:, None] * slope
    if classes is not None:
        wrong, most = (float(np.mean(said.argmax(axis=1) != y)) for said in (near, middles))
        return max(1 - wrong / most, 0.0) if most > 0 else 0.0
    left = min(float(((truth - said) ** 2).sum()) for said in (near, line))
    whole = float(((truth - middles) ** 2).sum())
    return max(1 - left / whole, 0.0) if whole > 0 else 0.0


def _codes(x: Array) -> Floats:
    """A column as one number a row: the category of several inputs, or the input itself."""
    return x.argmax(axis=1).astype(np.float64) if x.shape[1] > 1 else np.asarray(x[:, 0], np.float64)


def _truth(y: Array, classes: int | None) -> Floats:
    """Targets as numbers [rows, n]: of a class 1 in its column."""
    found: Floats = (
        np.eye(classes)[y] if classes is not None else np.asarray(y, np.float64).reshape(len(y), -1)
    )
    return found


def guess_alone(
    subject: Subject, column: str, known: tuple[Array, Array], asked: Array, classes: int | None
) -> Array:
    """Targets of the rows ``asked``, looked up by one column among ``known`` rows and targets: classes, or numbers
    [rows, n]."""
    schema = subject.task.parts.schema
    own = [number for number, name in enumerate(schema.input_names) if column_of(name, schema) == column]
    said = looked_up(_codes(known[0][:, own]), _truth(known[1], classes), _codes(asked[:, own]))
    return said if classes is None else said.argmax(axis=1)


def looked_up(known: Floats, truth: Floats, asked: Floats) -> Floats:
    """The mean truth [rows, n] of ``known`` rows: those of the same value, where values repeat, else the nearest."""
    repeats = len(np.unique(known)) <= len(known) / 20
    return (_of_equals if repeats else _of_neighbours)(known, truth, asked, truth.mean(axis=0))


def _of_equals(known: Floats, truth: Floats, asked: Floats, middle: Floats) -> Floats:
    """The mean of the rows with the same value."""
    values, place = np.unique(known, return_inverse=True)
    counts = np.bincount(place)
    sums = np.stack([np.bincount(place, column) for column in truth.T], axis=1)
    found = np.minimum(np.searchsorted(values, asked), len(values) - 1)
    seen = (values[found] == asked)[:, None]
    return np.where(seen, sums[found] / counts[found][:, None], middle)


def _of_neighbours(known: Floats, truth: Floats, asked: Floats, middle: Floats) -> Floats:
    """The mean of the nearest rows on either side."""
    order = np.argsort(known, kind="stable")
    sums = np.vstack([np.zeros(truth.shape[1]), np.cumsum(truth[order], axis=0)])
    place = np.searchsorted(known[order], asked)
    low, high = np.maximum(place - NEAREST, 0), np.minimum(place + NEAREST, len(known))
    found: Floats = (sums[high] - sums[low]) / (high - low)[:, None]
    return found
