"""Dealing rows out to the parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgrad.common.errors import InputError
from glassgrad.data.dataset import Dataset, from_arrays
from glassgrad.data.sources import load_source
from glassgrad.data.split import Split, split


def classes(counts: list[int]) -> Dataset:
    targets = np.repeat(np.arange(len(counts)), counts)
    return from_arrays(np.zeros((len(targets), 1)), targets, name="some")


def floats(rows: int) -> Dataset:
    return from_arrays(np.zeros((rows, 1)), np.arange(rows, dtype=np.float64), name="some")


def parts(result: Split) -> list[np.ndarray]:
    return [result.train, result.validation, result.test]


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=8),
    st.sampled_from([0, 0.05, 0.1, 0.29, 0.5]),
    st.sampled_from([0, 0.01, 0.2, 0.33, 0.6]),
    st.integers(0, 2**64 - 1),
)
def test_the_parts_are_disjoint_complete_and_stratified(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    dataset = classes(counts)
    rows = sum(counts)
    try:
        result = split(dataset, validation=validation, test=test, seed=seed)
    except InputError as error:
        assert "too few rows" in str(error)  # noqa: PT017
        # It may only happen where the classes' last rows are in the way.
        wanted = max(bool(test), round(test * rows))
        wanted += max(bool(validation), round(validation * (rows - wanted)))
        assert wanted > rows - len(counts)
        return
    assert all(part.dtype == np.int64 for part in parts(result))
    assert np.array_equal(np.sort(np.concatenate(parts(result))), np.arange(rows))
    assert len(result.test) == (max(1, round(test * rows)) if test else 0)
    left = rows - len(result.test)
    assert len(result.validation) == (max(1, round(validation * left)) if validation else 0)
    in_training = np.bincount(dataset.targets[result.train], minlength=len(counts))
    assert (in_training >= 1).all()
    if min(counts) >= 10:
        in_test = np.bincount(dataset.targets[result.test], minlength=len(counts))
        assert (abs(in_test - len(result.test) * np.array(counts) / rows) < 1).all()


def test_largest_remainder_by_hand() -> None:
    # 20 % of 10, 7 and 3 rows are 2, 1.4 and 0.6: the third class gets the one left over.
    result = split(classes([10, 7, 3]), validation=0, test=0.2)
    assert np.bincount(classes([10, 7, 3]).targets[result.test]).tolist() == [2, 1, 1]
    assert len(result.validation) == 0


def test_validation_is_a_fraction_of_the_rows_without_the_test_part() -> None:
    result = split(floats(100), validation=0.25, test=0.2)
    assert [len(part) for part in parts(result)] == [60, 20, 20]
    assert not result.test_is_given


def test_all_rows_can_be_used_for_training() -> None:
    result = split(classes([1, 1]), validation=0, test=0)
    assert result.train.tolist() == [0, 1]
    assert [len(part) for part in parts(result)] == [2, 0, 0]


def test_a_given_test_part_is_not_split() -> None:
    X, y = np.zeros((20, 1)), np.arange(20) % 2
    dataset = from_arrays(X, y, test_features=X[:6], test_targets=y[:6])
    result = split(dataset, validation=0.1, test=0.5)
    assert result.test_is_given
    assert result.test.tolist() == list(range(6))
    assert len(result.validation) == 2
    assert len(result.train) == 18


def test_the_split_depends_only_on_the_seed() -> None:
    digits = load_source("digits")
    first, again, other = (split(digits, validation=0.1, test=0.2, seed=seed) for seed in (1, 1, 2))
    for a, b, c in zip(parts(first), parts(again), parts(other), strict=True):
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)
    assert [len(part) for part in parts(first)] == [1294, 144, 359]
    assert (np.diff(first.train) > 0).all()


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (classes([1, 1]), {}, "test=0.2 of 2 rows is 1, but only 0 are available if each of 2 classes"),
        (classes([1] * 9 + [2]), {"test": 0.5}, "test=0.5 of 11 rows is 6, but only 1 are available"),
        (floats(1), {}, "test=0.2 of 1 rows is 1, but only 0 are available if training keeps one row"),
        (floats(2), {}, "validation=0.1 of 1 rows is 1, but only 0 are available"),
        (floats(9), {"test": 0.99}, "test=0.99 of 9 rows is 9, but only 8"),
    ],
)
def test_too_few_rows_are_refused(dataset: Dataset, options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        split(dataset, **{"validation": 0.1, "test": 0.2, "seed": 0} | options)
    assert str(refusal.value).startswith(f"some: too few rows: {message}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_invalid_fractions_are_refused(part: str, share: float) -> None:
    with pytest.raises(InputError, match=f"^{part} must be a number of at least 0 and below 1, not "):
        split(floats(10), **{"validation": 0.1, "test": 0.2, "seed": 0} | {part: share})


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_outside_64_bits_are_refused(seed: int) -> None:
    with pytest.raises(InputError, match=r"^seed "):
        split(floats(10), validation=0.1, test=0.2, seed=seed)


# --- the rows of a part --------------------------------------------------------------------------------------


def test_a_part_holds_the_rows_that_the_split_names():
    data = from_arrays(np.arange(20.0), np.arange(20.0) * 2)
    rows = split(data, validation=0.25, test=0)
    features, targets = rows.take(data, "validation")
    assert np.array_equal(features[:, 0], rows.validation)
    assert np.array_equal(targets, 2 * rows.validation)
    assert rows.take(data, "test") is None


def test_a_given_test_part_is_used_completely():
    data = from_arrays(
        np.arange(20.0), np.arange(20.0), test_features=np.full(3, 7.0), test_targets=np.full(3, 8.0)
    )
    features, targets = split(data, validation=0.1, test=0.2).take(data, "test")
    assert features.tolist() == [[7.0]] * 3
    assert targets.tolist() == [8.0] * 3
