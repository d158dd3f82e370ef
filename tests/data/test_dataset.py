"""Data sets made from arrays, and everything that `validate` refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from glassgrad.common.errors import InputError
from glassgrad.data.dataset import Dataset, from_arrays, validate

X = np.arange(12.0).reshape(6, 2)
LABELS = np.array([0, 1, 0, 1, 0, 1])
FLOATS = np.array([0.5, 1.0, 1.5, 2.0, 2.5, 3.0])


def with_value(array: np.ndarray, index: Any, value: float) -> np.ndarray:
    changed = array.astype(np.float64)
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("targets", "classification"),
    [
        (LABELS, True),
        (LABELS.astype(np.uint8), True),
        (LABELS == 1, True),
        (np.array(list("ababab")), True),
        (list("ababab"), True),
        (np.array(list("ababab"), dtype="S1"), True),
        (np.array(list("ababab"), dtype=np.dtypes.StringDType()), True),
        (FLOATS, False),
        (FLOATS.astype(np.float32), False),
        (np.stack([FLOATS, FLOATS], axis=1), False),
    ],
)
def test_the_task_follows_from_the_targets(targets: Any, classification: bool) -> None:
    dataset = from_arrays(X, targets)
    assert dataset.classification is classification
    assert dataset.targets.shape == np.shape(targets)
    assert dataset.targets.tolist() == [
        t.decode() if isinstance(t, bytes) else t for t in np.asarray(targets).tolist()
    ]
    assert dataset.name == "arrays"
    assert dataset.test_features is None
    assert dataset.test_targets is None


def test_the_task_can_be_chosen() -> None:
    as_numbers = from_arrays(X, LABELS, task="regression")
    assert not as_numbers.classification
    assert as_numbers.targets.dtype == np.float64
    as_labels = from_arrays(X, LABELS.astype(np.float32), task="classification")
    assert as_labels.classification
    assert as_labels.targets.dtype == np.int64


def test_features_stay_unchanged_except_a_single_column() -> None:
    images = np.zeros((6, 3, 4), dtype=np.uint8)
    assert from_arrays(images, LABELS).features is images
    assert from_arrays(FLOATS, LABELS).features.shape == (6, 1)
    assert from_arrays([[1, 2]] * 6, LABELS).features.shape == (6, 2)


REFUSED = {
    "ragged": ([[1, 2], [3]], [0, 1], {}, "X is not a regular array"),
    "objects": (np.array([[object()]] * 6), LABELS, {}, "X holds Python objects"),
    "object targets": (X, np.array([None] * 6), {}, "y holds Python objects"),
    "complex": (X.astype(complex), LABELS, {}, "X has dtype complex128"),
    "dates": (X, np.array(["2020-01-01"] * 6, dtype="M8[D]"), {}, "y has dtype datetime64"),
    "broken bytes": (X, np.array([b"\xff", b"a"] * 3), {}, "y is not a regular array"),
    "text features": (X.astype(str), LABELS, {}, "X has dtype <U"),
    "scalar features": (3.0, LABELS, {}, "X has shape ()"),
    "no rows": (np.zeros((0, 2)), np.zeros(0, dtype=int), {}, "X has no rows"),
    "no columns": (np.zeros((6, 0)), LABELS, {}, "no columns"),
    "scalar targets": (X, 1, {}, "y has shape ()"),
    "column of labels": (X, LABELS[:, None], {}, "y has shape (6, 1)"),
    "no targets": (X, np.zeros((6, 0)), {}, "y has shape (6, 0)"),
    "rank 3 targets": (X, np.zeros((6, 1, 1)), {}, "y has shape (6, 1, 1)"),
    "rows differ": (X, LABELS[:5], {}, "X has 6 rows but y has 5"),
    "nan": (with_value(X, (3, 1), np.nan), LABELS, {}, "X has NaN in row 3, column 1"),
    "inf": (with_value(X, (0, 0), -np.inf), LABELS, {}, "X has Inf in row 0, column 0"),
    "nan in image": (
        with_value(np.zeros((6, 2, 2)), (5, 0, 1), np.nan),
        LABELS,
        {},
        "X has NaN in row 5, index (0, 1)",
    ),
    "nan target": (X, with_value(FLOATS, 2, np.nan), {}, "y has NaN in row 2"),
    "inf in targets": (X, with_value(np.zeros((6, 2)), (4, 1), np.inf), {}, "y has Inf in row 4, column 1"),
    "nan label": (X, with_value(LABELS, 2, np.nan), {"task": "classification"}, "y has NaN in row 2"),
    "fraction label": (X, with_value(LABELS, 1, 0.5), {"task": "classification"}, "y has 0.5 in row 1"),
    "huge label": (X, with_value(LABELS, 1, 1e300), {"task": "classification"}, "y has 1e+300 in row 1"),
    "one class": (X, np.zeros(6, dtype=int), {}, "only one class, 0"),
    "text regression": (X, list("ababab"), {"task": "regression"}, "y holds text"),
    "task": (
        X,
        LABELS,
        {"task": "clasification"},
        "unknown task 'clasification'; did you mean 'classification'",
    ),
    "half a test part": (X, LABELS, {"test_features": X}, "both features and targets"),
    "other half": (X, LABELS, {"test_targets": LABELS}, "both features and targets"),
    "test shape": (X, LABELS, {"test_features": X[:, :1], "test_targets": LABELS}, "test X has shape (1,)"),
    "test targets": (X, FLOATS, {"test_features": X, "test_targets": X}, "test y has shape (2,)"),
    "test rows": (
        X,
        LABELS,
        {"test_features": X[:2], "test_targets": LABELS},
        "test X has 2 rows but test y has 6",
    ),
    "test nan": (
        X,
        LABELS,
        {"test_features": with_value(X, (1, 0), np.nan), "test_targets": LABELS},
        "test X has NaN in row 1, column 0",
    ),
    "test class": (
        X,
        LABELS,
        {"test_features": X, "test_targets": LABELS + 1},
        "classes that y does not have: 2;",
    ),
    "test kind": (
        X,
        LABELS,
        {"test_features": X, "test_targets": list("010101")},
        "classes that y does not have: '0', '1';",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_arrays_are_refused_in_one_line(case: str) -> None:
    features, targets, options, said = REFUSED[case]
    with pytest.raises(InputError) as refusal:
        from_arrays(features, targets, source_name="my.npz", **options)
    message = str(refusal.value)
    assert said in message
    assert "\n" not in message
    assert case == "task" or message.startswith("my.npz: ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": FLOATS}, "X has shape (6,)"),
        ({"targets": FLOATS}, "y has dtype float64"),
        ({"classification": False}, "y has dtype int64"),
    ],
)
def test_a_dataset_built_by_hand_is_checked(changes: dict[str, Any], said: str) -> None:
    parts: dict[str, Any] = {
        "name": "mine",
        "features": X,
        "targets": LABELS,
        "test_features": None,
        "test_targets": None,
        "classification": True,
    }
    validate(Dataset(**parts))
    with pytest.raises(InputError, match=r"^mine: ") as refusal:
        validate(Dataset(**(parts | changes)))
    assert said in str(refusal.value)
