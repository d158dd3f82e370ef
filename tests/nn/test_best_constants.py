"""The best constant of every loss: no constant on a fine grid has a lower loss."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from glassgrad.backends.reference import evaluate
from glassgrad.graph.node import Graph
from glassgrad.losses.table import ALIASES, LOSSES, loss
from glassgrad.ops.table import make_input

RNG = np.random.default_rng(8)
ROWS = 41
VALUES = RNG.gamma(1.0, 1.0, size=(ROWS, 2)) * [1.0, 2.0] - [0.5, 1.0]  # skewed: mean, median and mode differ
COUNTS = RNG.poisson([0.7, 3.0], size=(ROWS, 2)).astype(float)
SHARES = special.softmax(RNG.normal(size=(ROWS, 3)) * 2, axis=1)
EVEN = RNG.permutation(np.repeat([0, 1, 2], [16, 14, 11])).astype(np.int32)  # no class has more than half
UNEVEN = RNG.permutation(np.repeat([0, 1, 2], [8, 28, 5])).astype(np.int32)
BINARY = RNG.permutation(np.repeat([0, 1], [29, 12])).astype(np.int32)
ONE_CLASS = np.ones(ROWS, np.int32)
WEIGHTS = {
    "equal": np.ones(ROWS),
    "unequal": RNG.gamma(0.5, 1.0, size=ROWS),
    "some zero": RNG.integers(0, 3, size=ROWS).astype(float),
}
LINE = np.linspace(-4, 8, 12_001)[:, np.newaxis]


def plane(step):
    """A grid of three scores, the third of them 0. A constant added to all three scores changes no loss."""
    axis = np.arange(-2, 2 + step / 2, step)
    first, second = np.meshgrid(axis, axis)
    return np.stack([first.ravel(), second.ravel(), np.zeros(first.size)], axis=1)


def simplex(parts):
    """All distributions of three classes in multiples of 1 / parts, none 0."""
    first, second = np.meshgrid(np.arange(1, parts), np.arange(1, parts))
    third = parts - first - second
    return np.stack([first, second, third], axis=-1)[third > 0] / parts


# The loss, its targets, the grid of constants, and the distance of the best grid loss from the minimum.
CASES = [
    *[
        (spec, VALUES, LINE, 1e-3)
        for spec in (
            "squared_error",
            "root_mean_squared_error",
            "absolute_error",
            "huber",
            "huber(0.2)",
            "huber(5.0)",
            "log_cosh",
            "quantile",
            "quantile(0.9)",
            "quantile(0.05)",
        )
    ],
    ("squared_error", UNEVEN, simplex(100), 1e-3),
    ("poisson", COUNTS, LINE, 1e-3),
    ("categorical_cross_entropy", EVEN, np.log(simplex(100)), 1e-3),
    ("categorical_cross_entropy(0.2)", UNEVEN, np.log(simplex(100)), 1e-3),
    ("binary_cross_entropy", BINARY, LINE, 1e-3),
    ("binary_cross_entropy", ONE_CLASS, LINE, 1e-3),
    ("binary_cross_entropy(0.2)", BINARY, LINE, 1e-3),
    ("negative_log_likelihood", UNEVEN, np.log(simplex(100)), 1e-3),
    ("kl_divergence", EVEN, np.log(simplex(100)), 1e-3),
    ("kl_divergence", SHARES, np.log(simplex(100)), 1e-3),
    ("hinge", BINARY, LINE, 1e-9),
    ("hinge", 1 - BINARY, LINE, 1e-9),
    ("hinge", EVEN, plane(0.05), 1e-9),
    ("hinge", UNEVEN, plane(0.05), 1e-9),
    ("perceptron", BINARY, LINE, 1e-9),
    ("perceptron", EVEN, plane(0.05), 1e-9),
]


def mean_losses(part, constants, targets, weights):
    """The weighted mean loss at each of the constants [G, n]: float64 [G]."""
    outputs = make_input("outputs", (len(constants) * len(targets), constants.shape[1]), "float64")
    tiled = np.tile(targets, (len(constants),) + (1,) * (targets.ndim - 1))
    target_input = make_input("targets", tiled.shape, tiled.dtype.name)
    rows = evaluate(
        Graph((outputs, target_input), (part.row_losses(outputs, target_input),)),
        [np.repeat(constants, len(targets), axis=0), tiled],
    )[0]
    return rows.reshape(len(constants), -1) @ weights / weights.sum()


def test_every_registered_loss_is_covered():
    assert {spec.partition("(")[0] for spec, *_ in CASES} | set(ALIASES) == set(LOSSES)


@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize(
    ("spec", "targets", "grid", "spacing"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)]
)
def test_no_constant_has_a_lower_loss(spec, targets, grid, spacing, weighting):
    part, weights = loss(spec), WEIGHTS[weighting]
    # The loss of several numbers is their mean, so the columns can be searched separately.
    several = targets.dtype.kind == "f" and grid is LINE
    columns = [targets[:, [j]] for j in range(targets.shape[1])] if several else [targets]
    best = part.best_constant(targets, weights, len(columns) * grid.shape[1])
    for column, constant in zip(columns, best.reshape(len(columns), -1), strict=True):
        actual = mean_losses(part, constant[np.newaxis], column, weights)[0]
        lowest = mean_losses(part, grid, column, weights).min()
        assert actual <= lowest + 1e-9
        # Nor far below it: the constant for a loss of log-probabilities must be a distribution.
        assert actual >= lowest - spacing


@pytest.mark.parametrize("spec", ["negative_log_likelihood", "kl_divergence"])
def test_log_probabilities_are_a_distribution(spec):
    best = loss(spec).best_constant(EVEN, WEIGHTS["unequal"], 3)
    assert special.logsumexp(best) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "spec", ["quantile(0.9)", "quantile(0.25)", "absolute_error", "huber(0.3)", "log_cosh"]
)
def test_a_weight_of_two_counts_like_two_rows(spec):
    counts = RNG.integers(1, 4, size=ROWS)
    repeated = np.repeat(VALUES, counts, axis=0)
    weighted = loss(spec).best_constant(VALUES, counts.astype(float), 2)
    np.testing.assert_allclose(
        weighted, loss(spec).best_constant(repeated, np.ones(len(repeated)), 2), rtol=1e-9
    )


def test_a_class_without_rows_has_a_finite_logit():
    best = loss("categorical_cross_entropy").best_constant(np.zeros(5, np.int32), np.ones(5), 3)
    assert np.isfinite(best).all()


def test_a_custom_loss_need_not_have_a_best_constant():
    from glassgrad.losses.regression import RegressionLoss

    class Cubic(RegressionLoss):
        name = "cubic"

        def errors(self, outputs, targets):
            return outputs * targets

    assert Cubic().best_constant(VALUES, WEIGHTS["equal"], 2) is None
