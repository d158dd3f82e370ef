"""The example on thirty layers: the right start trains, the wrong one does not, and one sees why beforehand."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "deep_stack.py"
EPOCHS = {"he_normal": 4, "lsuv": 4, "xavier_normal": 2, "normal(0.01)": 1, "normal(1.0)": 1}


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture(scope="module")
def rows(example):
    return {init: example["measure"](init, epochs) for init, epochs in EPOCHS.items()}


def test_all_starts_are_measured(example):
    assert set(EPOCHS) == set(example["STARTS"])


@pytest.mark.parametrize("init", ["he_normal", "lsuv"])
def test_the_right_start_keeps_the_signal_and_trains(rows, init):
    row = rows[init]
    assert 0.2 < min(row.variances[:-1]) <= max(row.variances) < 5
    assert 0.1 < row.gradient < 10
    assert row.loss < 2.0
    assert row.accuracy > 0.25


def test_fitted_to_the_data_every_layer_has_unit_variance(rows):
    # The 512 digits that are looked at are not quite those that it was fitted to.
    np.testing.assert_allclose(rows["lsuv"].variances, 1, atol=0.25)
    assert rows["lsuv"].accuracy > 0.45


@pytest.mark.parametrize("init", ["xavier_normal", "normal(0.01)"])
def test_the_wrong_start_loses_the_signal_and_stays_at_chance(rows, init):
    row = rows[init]
    assert row.variances[29] < 1e-7 * row.variances[0]
    assert row.gradient < 1e-3 * rows["he_normal"].gradient
    assert row.loss > 2.29  # log 10 = 2.303
    assert row.accuracy < 0.2


def test_xavier_halves_the_variance_in_every_layer(rows):
    variances = rows["xavier_normal"].variances
    assert (variances[29] / variances[0]) ** (1 / 29) == pytest.approx(0.5, abs=0.05)


def test_weights_far_too_large_overflow(rows):
    assert rows["normal(1.0)"].variances[29] > 1e40
    assert rows["normal(1.0)"].diverged


def test_the_table_has_a_line_for_each(example, rows):
    text = example["table"](list(rows.values()))
    assert [line.split()[0] for line in text.splitlines()[3:]] == list(rows)
    assert "diverged" in text
