"""The example of old weights: its numbers support its claims."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "old_weights.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture(scope="module")
def rows(example):
    return example["measure"]()


def test_each_rate_is_half_the_previous_one(rows):
    rates = np.array([row.rate for row in rows])
    assert len(rates) >= 5
    assert rates[:-1] / rates[1:] == pytest.approx(2)


def test_the_difference_of_one_step_is_of_second_order(rows):
    rates = np.log([row.rate for row in rows])
    orders = np.diff(np.log([row.difference for row in rows])) / np.diff(rates)
    assert (np.abs(orders - 2) < 0.15).all()
    assert abs(orders[-1] - 2) < 0.02
    lengths = np.diff(np.log([row.step for row in rows])) / np.diff(rates)
    assert lengths == pytest.approx(1)  # the step itself is of first order


def test_second_derivatives_predict_the_difference(rows):
    errors = np.array([abs(row.predicted / row.difference - 1) for row in rows])
    assert (np.diff(errors) < 0).all()
    assert errors[-1] < 0.01


def test_a_large_rate_shows_the_difference_between_the_methods(rows):
    gaps = [abs(row.loss_together - row.loss_one_by_one) for row in rows]
    assert gaps[0] > 100 * gaps[-1]
    assert gaps[0] > 0.01


def test_at_rate_zero_neither_method_changes_the_weights(example):
    experiment = example["Experiment"]()
    together, _ = experiment.together(experiment.start, 0.0)
    one_by_one = experiment.one_by_one(experiment.start, 0.0)
    for name, start in experiment.start.items():
        assert (together[name] == start).all()
        assert (one_by_one[name] == start).all()


def test_the_gradient_matches_central_differences(example):
    """The step of one weight compared with central differences of the loss."""
    experiment = example["Experiment"]()
    start, _ = experiment.together(experiment.start, 0.0)
    after, _ = experiment.together(start, 1.0)
    for name, index in (("hidden.weight", (10, 3)), ("output.bias", (4,))):
        losses = []
        for sign in (1, -1):
            moved = start[name].copy()
            moved[index] += sign * 1e-6
            losses.append(experiment.together(start | {name: moved}, 0.0)[1])
        slope = (losses[0] - losses[1]) / 2e-6
        assert start[name][index] - after[name][index] == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_it_prints_its_table(example, capsys):
    example["main"]()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + len(example["RATES"])
    assert "difference" in lines[2]
    assert lines[3].split()[0] == "0.800"
