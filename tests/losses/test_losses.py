"""Losses: closed forms, gradients, huge logits, weights, and invalid specifications.

This is one file because all tests share the table of cases, one or more per loss.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special
from sklearn import metrics

from glassgrad.autodiff.sweeps import gradient, hessian_vector_product
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError, InputError
from glassgrad.graph.node import Graph
from glassgrad.losses.table import ALIASES, LOSSES, Loss, batch_loss, loss, weighted_mean
from glassgrad.ops.table import make_input, reduce_sum

ROWS, K, N = 6, 4, 3
RNG = np.random.default_rng(5)
VALUES = RNG.normal(size=(ROWS, N)) * 2
COUNTS = RNG.poisson(2.0, size=(ROWS, N)).astype(float)
CLASSES = np.array([0, 3, 1, 2, 2, 0], np.int32)
BINARY = np.array([0, 1, 1, 0, 1, 0], np.int32)
SHARES = special.softmax(RNG.normal(size=(ROWS, K)) * 2, axis=1)
SHARES[2] = [0, 1, 0, 0]
SCORES = RNG.normal(size=(ROWS, K)) * 2
NUMBERS = RNG.normal(size=(ROWS, N)) * 2
SINGLE = RNG.normal(size=(ROWS, 1)) * 2
LOGS = special.log_softmax(SCORES, axis=1)


def smoothed_one_hot(t, smoothing):
    return (1 - smoothing) * np.eye(K)[t] + smoothing / K


def signs(t):
    return np.where(t[:, None] == 1, 1, -1)


def largest_other_score(o, t):
    """The largest score of another class."""
    return np.where(np.eye(K)[t] > 0, -np.inf, o).max(axis=1)


def score_of_class(o, t):
    return o[np.arange(ROWS), t]


def soft_targets(o, t, share):
    """Binary cross-entropy of the smoothed target."""
    p, t = special.expit(o[:, 0]), (1 - share) * t + share / 2
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


# The loss, its outputs and targets, and the textbook formula of the row losses.
CASES = [
    ("squared_error", NUMBERS, VALUES, lambda o, t: np.mean((o - t) ** 2, axis=1)),
    ("squared_error", SCORES, CLASSES, lambda o, t: np.mean((o - np.eye(K)[t]) ** 2, axis=1)),
    ("root_mean_squared_error", NUMBERS, VALUES, lambda o, t: np.mean((o - t) ** 2, axis=1)),
    ("absolute_error", NUMBERS, VALUES, lambda o, t: np.mean(np.abs(o - t), axis=1)),
    ("huber", NUMBERS, VALUES, lambda o, t: special.huber(1, o - t).mean(axis=1)),
    ("huber(delta=2.5)", NUMBERS, VALUES, lambda o, t: special.huber(2.5, o - t).mean(axis=1)),
    ("log_cosh", NUMBERS, VALUES, lambda o, t: np.log(np.cosh(o - t)).mean(axis=1)),
    ("quantile", NUMBERS, VALUES, lambda o, t: np.abs(o - t).mean(axis=1) / 2),
    (
        "quantile(0.9)",
        NUMBERS,
        VALUES,
        lambda o, t: np.where(t > o, 0.9 * (t - o), 0.1 * (o - t)).mean(axis=1),
    ),
    (
        "categorical_cross_entropy",
        SCORES,
        CLASSES,
        lambda o, t: special.logsumexp(o, axis=1) - score_of_class(o, t),
    ),
    (
        "categorical_cross_entropy(0.2)",
        SCORES,
        CLASSES,
        lambda o, t: -(smoothed_one_hot(t, 0.2) * special.log_softmax(o, axis=1)).sum(axis=1),
    ),
    ("binary_cross_entropy", SINGLE, BINARY, lambda o, t: soft_targets(o, t, 0)),
    ("binary_cross_entropy(0.2)", SINGLE, BINARY, lambda o, t: soft_targets(o, t, 0.2)),
    ("negative_log_likelihood", LOGS, CLASSES, lambda o, t: -score_of_class(o, t)),
    ("hinge", SINGLE, BINARY, lambda o, t: np.maximum(0, 1 - signs(t) * o)[:, 0]),
    (
        "hinge",
        SCORES,
        CLASSES,
        lambda o, t: np.maximum(0, 1 + largest_other_score(o, t) - score_of_class(o, t)),
    ),
    ("perceptron", SINGLE, BINARY, lambda o, t: np.maximum(0, -signs(t) * o)[:, 0]),
    ("perceptron", SCORES, CLASSES, lambda o, t: o.max(axis=1) - score_of_class(o, t)),
    ("kl_divergence", LOGS, SHARES, lambda o, t: special.rel_entr(t, np.exp(o)).sum(axis=1)),
    ("kl_divergence", LOGS, CLASSES, lambda o, t: special.rel_entr(np.eye(K)[t], np.exp(o)).sum(axis=1)),
    ("poisson", NUMBERS, COUNTS, lambda o, t: np.mean(np.exp(o) - t * o, axis=1)),
]
IDS = [f"{spec}-{'x'.join(map(str, outputs.shape))}-{targets.dtype}" for spec, outputs, targets, _ in CASES]
cases = pytest.mark.parametrize(("spec", "outputs", "targets", "formula"), CASES, ids=IDS)


def inputs_like(*arrays):
    return [make_input(f"x{i}", array.shape, array.dtype.name) for i, array in enumerate(arrays)]


def rows_of(spec, outputs, targets):
    o, t = inputs_like(outputs, targets)
    return evaluate(Graph((o, t), (loss(spec).row_losses(o, t),)), [outputs, targets])[0]


def batch_of(spec, outputs, targets, weights=None):
    """The loss of a batch and its gradient by the outputs."""
    weights = np.ones(len(outputs), outputs.dtype) if weights is None else weights
    o, t, w = inputs_like(outputs, targets, weights)
    total = batch_loss(loss(spec), o, t, w)
    graph = Graph((o, t, w), (total, gradient(total, [o])[0]))
    return evaluate(graph, [outputs, targets, weights])


def row_gradients(spec, outputs, targets):
    """The gradient of the sum of the rows' losses by the outputs."""
    o, t = inputs_like(outputs, targets)
    slope = gradient(reduce_sum(loss(spec).row_losses(o, t)), [o])[0]
    return evaluate(Graph((o, t), (slope,)), [outputs, targets])[0]


def float32(array):
    return array.astype("float32") if array.dtype == "float64" else array


# --- closed forms and gradients ---------------------------------------------------------------------------


def test_every_registered_name_is_covered():
    named = {spec.partition("(")[0] for spec, *_ in CASES}
    assert named | set(ALIASES) == set(LOSSES)
    assert len(named) == 13


@cases
@pytest.mark.parametrize("precision", [np.asarray, float32])
def test_closed_form(spec, outputs, targets, formula, precision):
    actual = rows_of(spec, precision(outputs), precision(targets))
    assert actual.dtype == precision(outputs).dtype
    tolerance = 1e-12 if actual.dtype == "float64" else 1e-5
    np.testing.assert_allclose(actual, formula(outputs, targets), rtol=tolerance, atol=tolerance)


@cases
def test_gradient_is_the_central_difference(spec, outputs, targets, formula):
    weights = np.array([1.0, 0.5, 2, 1, 0, 3])
    h, expected = 1e-5, np.zeros_like(outputs)
    for index in np.ndindex(*outputs.shape):
        bump = np.zeros_like(outputs)
        bump[index] = h
        above, below = (batch_of(spec, outputs + b, targets, weights)[0] for b in (bump, -bump))
        expected[index] = (above - below) / (2 * h)
    actual = batch_of(spec, outputs, targets, weights)[1]
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-9)
    assert np.abs(actual[:4]).max() > 1e-3
    assert not actual[4].any()


def test_against_scikit_learn():
    value = {spec: batch_of(spec, outputs, targets)[0] for spec, outputs, targets, _ in CASES[9:16]}
    probabilities = loss("cross_entropy").probabilities(SCORES)
    assert value["categorical_cross_entropy"] == pytest.approx(metrics.log_loss(CLASSES, probabilities))
    assert value["binary_cross_entropy"] == pytest.approx(
        metrics.log_loss(BINARY, special.expit(SINGLE[:, 0]))
    )
    assert value["hinge"] == pytest.approx(metrics.hinge_loss(CLASSES, SCORES))
    rmse, _ = batch_of("rmse", NUMBERS[:, :1], VALUES[:, :1])
    assert rmse == pytest.approx(metrics.root_mean_squared_error(VALUES[:, 0], NUMBERS[:, 0]))
    pinball, _ = batch_of("quantile(0.3)", NUMBERS, VALUES)
    assert pinball == pytest.approx(metrics.mean_pinball_loss(VALUES, NUMBERS, alpha=0.3))
    counts, _ = batch_of("poisson", NUMBERS, COUNTS)
    saturated = np.mean(COUNTS - special.xlogy(COUNTS, COUNTS))
    deviance = metrics.mean_poisson_deviance(COUNTS.ravel(), np.exp(NUMBERS).ravel())
    assert 2 * (counts - saturated) == pytest.approx(deviance)


# --- very large numbers -----------------------------------------------------------------------------------

LARGE = 1e4
# spec, outputs of one row, target, loss, gradient by the outputs
EXTREMES = [
    ("categorical_cross_entropy", [LARGE, -LARGE, 0], 0, 0, [0, 0, 0]),
    ("categorical_cross_entropy", [LARGE, -LARGE, 0], 1, 2 * LARGE, [1, -1, 0]),
    (
        "categorical_cross_entropy(0.3)",
        [LARGE, -LARGE, LARGE],
        1,
        1.6 * LARGE + math.log(2),
        [0.4, -0.8, 0.4],
    ),
    ("binary_cross_entropy", [LARGE], 1, 0, [0]),
    ("binary_cross_entropy", [LARGE], 0, LARGE, [1]),
    ("binary_cross_entropy", [-LARGE], 1, LARGE, [-1]),
    ("binary_cross_entropy", [-LARGE], 0, 0, [0]),
    ("binary_cross_entropy(0.2)", [LARGE], 1, 0.1 * LARGE, [0.1]),
    ("binary_cross_entropy(0.2)", [LARGE], 0, 0.9 * LARGE, [0.9]),
    ("negative_log_likelihood", [-LARGE, 0], 0, LARGE, [-1, 0]),
    ("negative_log_likelihood", [-math.inf, 0], 1, 0, [0, -1]),
    ("kl_divergence", [-LARGE, 0], 0, LARGE, [-1, 0]),
    ("kl_divergence", [-math.inf, 0], [0.0, 1], 0, [0, -1]),
    ("kl_divergence", [-LARGE, -LARGE], [0.5, 0.5], LARGE - math.log(2), [-0.5, -0.5]),
    ("hinge", [LARGE], 0, LARGE + 1, [1]),
    ("hinge", [LARGE], 1, 0, [0]),
    ("hinge", [LARGE, -LARGE, 0], 1, 2 * LARGE + 1, [1, -1, 0]),
    ("hinge", [LARGE, -LARGE, 0], 0, 0, [0, 0, 0]),
    ("perceptron", [-LARGE], 1, LARGE, [-1]),
    ("perceptron", [LARGE, -LARGE, 0], 1, 2 * LARGE, [1, -1, 0]),
    ("squared_error", [LARGE], [-LARGE], 4 * LARGE**2, [4 * LARGE]),
    ("squared_error", [LARGE, 0], 0, (LARGE - 1) ** 2 / 2, [LARGE - 1, 0]),
    ("root_mean_squared_error", [LARGE], [-LARGE], 2 * LARGE, [1]),
    ("absolute_error", [LARGE], [-LARGE], 2 * LARGE, [1]),
    ("huber", [LARGE], [-LARGE], 2 * LARGE - 0.5, [1]),
    ("huber", [1e25], [0.0], 1e25, [1]),
    ("log_cosh", [LARGE], [-LARGE], 2 * LARGE - math.log(2), [1]),
    ("log_cosh", [-LARGE], [LARGE], 2 * LARGE - math.log(2), [-1]),
    ("quantile(0.9)", [-LARGE], [LARGE], 0.9 * 2 * LARGE, [-0.9]),
    ("poisson", [-LARGE], [3.0], 3 * LARGE, [-3]),
    ("poisson", [80.0], [3.0], math.exp(80), [math.exp(80)]),
]


def test_the_extremes_cover_all_losses():
    assert {spec.partition("(")[0] for spec, *_ in EXTREMES} == set(LOSSES) - set(ALIASES)


@pytest.mark.parametrize(("spec", "outputs", "target", "value", "slope"), EXTREMES)
def test_extreme_outputs(spec, outputs, target, value, slope):
    targets = np.array([target], np.int32 if isinstance(target, int) else np.float32)
    actual = batch_of(spec, np.array([outputs], np.float32), targets)
    np.testing.assert_allclose(actual[0], value, rtol=1e-6)
    np.testing.assert_allclose(actual[1], [slope], rtol=1e-5)


def test_binary_cross_entropy_of_a_confident_row_is_small_but_not_zero():
    outputs, targets = np.array([[30.0], [-30.0]], "float32"), np.array([1, 0], np.int32)
    np.testing.assert_allclose(rows_of("bce", outputs, targets), math.exp(-30), rtol=1e-5)
    np.testing.assert_allclose(
        row_gradients("bce", outputs, targets), [[-math.exp(-30)], [math.exp(-30)]], rtol=1e-5
    )


def test_log_cosh_near_zero_is_half_the_square():
    d = np.array([[1e-3], [-1e-3], [1e-4]], "float32")
    np.testing.assert_allclose(rows_of("log_cosh", d, np.zeros_like(d)), d[:, 0] ** 2 / 2, rtol=1e-2)


def test_root_mean_squared_error_of_a_perfect_fit_has_zero_gradient():
    value, slope = batch_of("rmse", VALUES, VALUES)
    assert value == 0
    assert not slope.any()


def test_root_mean_squared_error_does_not_hide_a_nan():
    outputs = NUMBERS.copy()
    outputs[1, 1] = np.nan
    assert np.isnan(batch_of("rmse", outputs, VALUES)[0])


@pytest.mark.parametrize(("spec", "curvature"), [("log_cosh", 1), ("bce", 0.25), ("squared_error", 2)])
def test_second_derivative_at_zero(spec, curvature):
    targets = np.array([0], np.int32) if spec == "bce" else np.zeros((1, 1))
    o, t = inputs_like(np.zeros((1, 1)), targets)
    (product,) = hessian_vector_product(reduce_sum(loss(spec).row_losses(o, t)), [o], [o + 1.0])
    assert evaluate(Graph((o, t), (product,)), [np.zeros((1, 1)), targets])[0] == pytest.approx(curvature)


@pytest.mark.parametrize(
    ("spec", "outputs", "target", "slope"),
    [
        ("perceptron", [0.0], 1, [-1]),
        ("perceptron", [0.0, 0.0], 1, [0.5, -0.5]),
        ("hinge", [0.0], 0, [1]),
        ("hinge", [0.0, 0.0, 0.0], 1, [0.5, -1, 0.5]),
        ("absolute_error", [2.0], [2.0], [0]),
        ("quantile(0.75)", [2.0], [2.0], [-0.25]),
        ("huber", [3.0], [2.0], [1]),
    ],
)
def test_the_gradient_at_a_kink(spec, outputs, target, slope):
    targets = np.array([target], np.int32 if isinstance(target, int) else np.float64)
    assert row_gradients(spec, np.array([outputs]), targets).tolist() == [slope]


# --- smoothing and weights --------------------------------------------------------------------------------


def test_smoothing_of_zero_builds_the_plain_graph():
    for name in ("categorical_cross_entropy", "binary_cross_entropy"):
        assert loss(f"{name}(0)") == loss(name)


def test_the_gradient_vanishes_at_the_smoothed_target():
    """The gradient is 0 if the probabilities are 1 - e + e / K and e / K."""
    share, t = 0.1, np.array([2], np.int32)
    logits = np.log(smoothed_one_hot(t, share))
    np.testing.assert_allclose(row_gradients(f"cross_entropy({share})", logits, t), 0, atol=1e-15)
    logit = np.array([[special.logit(1 - share / 2)]])
    np.testing.assert_allclose(row_gradients(f"bce({share})", logit, np.array([1], np.int32)), 0, atol=1e-15)


@cases
def test_a_weight_of_two_counts_like_two_rows(spec, outputs, targets, formula):
    repeated = [0, 1, 1, 2, 3, 5]  # row 1 twice, without row 4
    weighted = batch_of(spec, outputs, targets, np.array([1.0, 2, 1, 1, 0, 1]))[0]
    assert weighted == pytest.approx(batch_of(spec, outputs[repeated], targets[repeated])[0], rel=1e-12)


def mean_of(losses, weights):
    rows, w = inputs_like(losses, weights)
    mean = weighted_mean(rows, w)
    return evaluate(Graph((rows, w), (mean, gradient(mean, [rows])[0])), [losses, weights])


def test_weighted_mean():
    value, slope = mean_of(np.array([1.0, 2, 6]), np.array([1.0, 0, 3]))
    assert value == 4.75
    assert slope.tolist() == [0.25, 0, 0.75]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_counts_only_with_weight(bad):
    losses = np.array([1.0, bad])
    value, slope = mean_of(losses, np.array([2.0, 0]))
    assert value == 1
    assert slope.tolist() == [1, 0]
    assert not np.isfinite(mean_of(losses, np.array([2.0, 1]))[0])


def test_a_batch_without_weight_is_zero():
    value, slope = mean_of(np.array([1.0, np.nan]), np.zeros(2))
    assert value == 0
    assert not slope.any()


@cases
def test_a_nan_row_of_weight_zero_does_not_change_the_gradient(spec, outputs, targets, formula):
    weights = np.array([1.0, 1, 0, 1, 1, 1])
    nan_outputs = outputs.copy()
    nan_outputs[2] = np.nan
    nan_targets = targets.copy()
    if targets.dtype == "float64":
        nan_targets[2] = np.nan
    expected = batch_of(spec, outputs, targets, weights)
    actual = batch_of(spec, nan_outputs, nan_targets, weights)
    assert actual[0] == expected[0]
    np.testing.assert_array_equal(actual[1], expected[1])


@cases
def test_a_batch_without_weight_is_zero_for_every_loss(spec, outputs, targets, formula):
    value, slope = batch_of(spec, outputs, targets, np.zeros(ROWS))
    assert value == 0
    assert not slope.any()


# --- units, classes, probabilities ------------------------------------------------------------------------

UNITS = {  # for 2 classes, 5 classes, 3 target numbers; None: InputError
    "squared_error": (2, 5, 3),
    "root_mean_squared_error": (3, 3, 3),
    "absolute_error": (3, 3, 3),
    "huber": (3, 3, 3),
    "log_cosh": (3, 3, 3),
    "quantile": (3, 3, 3),
    "categorical_cross_entropy": (2, 5, None),
    "binary_cross_entropy": (1, 1, None),
    "negative_log_likelihood": (2, 5, None),
    "hinge": (1, 5, None),
    "perceptron": (1, 5, None),
    "kl_divergence": (2, 5, 3),
    "poisson": (3, 3, 3),
}


def test_units():
    assert set(UNITS) == set(LOSSES) - set(ALIASES)
    for name, (two, five, numbers) in UNITS.items():
        part = loss(name)
        assert (part.units(2, 3), part.units(5, 3)) == (two, five), name
        if numbers is None:
            with pytest.raises(InputError, match="is for classes"):
                part.units(None, 3)
        else:
            assert part.units(None, 3) == numbers, name


def test_predicted_classes():
    classes = loss("cross_entropy").predicted_classes(np.array([[1, 3, 2], [5.0, 0, 1]]))
    assert classes.tolist() == [1, 0]
    assert classes.dtype == np.int32
    assert loss("hinge").predicted_classes(np.array([[-1.0], [2], [0]])).tolist() == [0, 1, 0]


def test_probabilities():
    np.testing.assert_allclose(loss("cross_entropy").probabilities(SCORES), special.softmax(SCORES, axis=1))
    p = special.expit(SINGLE[:, 0])
    np.testing.assert_allclose(loss("bce").probabilities(SINGLE), np.stack([1 - p, p], axis=1))
    for name in ("nll", "kl"):
        np.testing.assert_allclose(loss(name).probabilities(LOGS), special.softmax(SCORES, axis=1))
    for name in (
        set(UNITS)
        - {"categorical_cross_entropy", "binary_cross_entropy"}
        - {
            "negative_log_likelihood",
            "kl_divergence",
        }
    ):
        assert loss(name).probabilities(SCORES) is None


def test_probabilities_of_huge_logits():
    probabilities = loss("cross_entropy").probabilities(np.array([[LARGE, -LARGE, 0]], "float32"))
    assert probabilities.tolist() == [[1, 0, 0]]
    probabilities = loss("bce").probabilities(np.array([[LARGE], [-LARGE], [-50]], "float32"))
    assert probabilities[:2].tolist() == [[0, 1], [1, 0]]
    assert probabilities[2, 1] == pytest.approx(math.exp(-50))
    assert probabilities.dtype == "float32"


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [spec for spec, *_ in CASES])
def test_round_trip_through_configuration(spec):
    part = loss(spec)
    config = LOSSES.config(part)
    assert config["name"] == part.name == spec.partition("(")[0]
    assert loss(config) == part
    assert loss(part) is part


@pytest.mark.parametrize(("alias", "cls"), ALIASES.items())
def test_an_alias_is_saved_under_its_canonical_name(alias, cls):
    part = loss(alias)
    assert type(part) is cls
    assert LOSSES.config(part)["name"] == cls.name


def test_an_alias_takes_options():
    assert loss("cross_entropy(0.1)") == loss({"name": "categorical_cross_entropy", "label_smoothing": 0.1})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("crossentropy", "unknown loss 'crossentropy'; did you mean 'cross_entropy'?"),
        ("huber(0)", "loss 'huber': delta must be a number above 0, not 0"),
        ("quantile(1)", "loss 'quantile': level must be a number above 0 and below 1, not 1"),
        (
            "cross_entropy(1)",
            "loss 'categorical_cross_entropy': label_smoothing must be a number of at least 0",
        ),
        ("bce(-0.1)", "loss 'binary_cross_entropy': label_smoothing must be a number of at least 0"),
        ("hinge(2)", "loss 'hinge' takes no arguments"),
    ],
)
def test_bad_specifications(spec, message):
    with pytest.raises(InputError) as caught:
        loss(spec)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("spec", ["squared_error", "huber", "poisson"])
def test_shapes_are_never_broadcast(spec):
    with pytest.raises(GraphError, match=f"loss {spec}: outputs of"):
        rows_of(spec, NUMBERS, VALUES[:, :1])


def test_loss_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Loss()
