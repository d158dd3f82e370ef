"""The background of features: detected if skipping it pays off, and passed to the compiler."""

from __future__ import annotations

import numpy as np
import pytest

from glassgrad.backends.native.driver.inspect import inspect
from glassgrad.data.dataset import from_arrays
from glassgrad.training.background import background
from glassgrad.training.many import train_many
from glassgrad.training.train import train


def mostly(number: float, share: float, rows: int = 600, columns: int = 100) -> np.ndarray:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(rows, columns)).astype(np.float32)
    features[rng.random((rows, columns)) < share] = number
    return features


@pytest.mark.parametrize("number", [0.0, -0.4240269362926483, 1.0])
def test_the_most_frequent_value_is_the_background(number: float) -> None:
    found = background(mostly(number, 0.9))
    assert found == np.float32(number)
    assert found is not None
    assert np.float32(found) == np.float32(number), "the compiler compares with the very bits"


@pytest.mark.parametrize("shape", [(600, 10, 10), (600, 4, 5, 5)])
def test_images_are_treated_as_rows_of_pixels(shape: tuple[int, ...]) -> None:
    assert background(mostly(0.0, 0.9).reshape(shape)) == 0.0


@pytest.mark.parametrize(
    "features",
    [
        mostly(0.0, 0.0),
        mostly(0.0, 0.6),  # most are, but too few together
        mostly(0.0, 0.9, columns=63),  # too few columns for it to pay
        mostly(0.0, 0.9, rows=3),
        mostly(np.nan, 0.9),
        mostly(np.inf, 0.9),
        mostly(0.0, 0.9).astype(np.int32),
        mostly(-9999.0, 0.9),  # sums over it would lose the digits of the others
        mostly(0.0, 0.9)[:0],
    ],
)
def test_no_background_if_skipping_does_not_pay(features: np.ndarray) -> None:
    assert background(features) is None


def test_wide_rows_are_sampled() -> None:
    assert background(mostly(0.0, 0.95, rows=30, columns=50_000)) == 0.0


def test_runs_that_differ_only_in_the_background_value_share_code() -> None:
    rng = np.random.default_rng(0)
    dataset = from_arrays(np.abs(mostly(0.0, 0.9, columns=144)).reshape(-1, 12, 12), rng.integers(0, 3, 600))
    runs = train_many(dataset, [{"seed": seed} for seed in range(3)], layers=[64], epochs=1)
    numbers = [run.task.parts.background for run in runs]
    assert None not in numbers
    assert len(set(numbers)) == 3, "each seed trains on other rows, and so scales them otherwise"
    assert runs[0].program is runs[1].program is runs[2].program
    alone = train(dataset, seed=2, layers=[64], epochs=1)
    assert all(
        np.array_equal(alone.model.weights[key], array) for key, array in runs[2].model.weights.items()
    )


def test_few_rows_and_odd_numbers_of_columns_are_sampled() -> None:
    for rows in (4, 5, 255, 257, 511, 1025):
        assert background(mostly(0.0, 0.95, rows=rows, columns=77)) == 0.0


@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_training_on_images_uses_the_background(scaling: str) -> None:
    rng = np.random.default_rng(0)
    images = mostly(0.0, 0.9, columns=144).reshape(-1, 12, 12)
    dataset = from_arrays(np.abs(images), rng.integers(0, 3, len(images)))
    options = {"layers": [64], "epochs": 2, "scaling": scaling}
    run = train(dataset, **options)
    assert run.program is not None
    assert "passes over" in inspect(run.program, "schedule")
    wanted = train(dataset, backend="reference", **options)
    for record, other in zip(run.history, wanted.history, strict=True):
        assert record["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
