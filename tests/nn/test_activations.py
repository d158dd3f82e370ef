"""Activations: closed forms, gradients, and very large numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from glassgrad.autodiff.sweeps import gradient, hessian_vector_product
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import InputError
from glassgrad.graph.node import Graph
from glassgrad.nn.activations import ACTIVATIONS, Activation, Identity, LeakyReLU, activation
from glassgrad.ops.table import make_input, reduce_sum

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772

CLOSED_FORMS = {
    "identity": lambda x: x,
    "step": lambda x: np.where(x >= 0, 1.0, 0.0),
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "leaky_relu(0.3)": lambda x: np.where(x > 0, x, 0.3 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "elu(alpha=0.5)": lambda x: np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0))),
    "selu": lambda x: SCALE * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * special.ndtr(x),
    "silu": lambda x: x * special.expit(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "softmax": lambda x: special.softmax(x, axis=-1),
    "log_softmax": lambda x: special.log_softmax(x, axis=-1),
}

# Far from 0, every elementwise activation is linear: (value, slope) at -10,000 and at 10,000.
LARGE = 1e4
LIMITS = {
    "identity": ((-LARGE, 1), (LARGE, 1)),
    "step": ((0, 0), (1, 0)),
    "sigmoid": ((0, 0), (1, 0)),
    "tanh": ((-1, 0), (1, 0)),
    "relu": ((0, 0), (LARGE, 1)),
    "leaky_relu": ((-0.01 * LARGE, 0.01), (LARGE, 1)),
    "elu": ((-1, 0), (LARGE, 1)),
    "selu": ((-SCALE * ALPHA, 0), (SCALE * LARGE, SCALE)),
    "gelu": ((0, 0), (LARGE, 1)),
    "silu": ((0, 0), (LARGE, 1)),
    "mish": ((0, 0), (LARGE, 1)),
    "softplus": ((0, 0), (LARGE, 1)),
}
ROW_WISE = {"softmax", "log_softmax"}


def run(spec, x):
    value = make_input("x", x.shape, x.dtype.name)
    return evaluate(Graph((value,), (activation(spec)(value),)), [x])[0]


def weighted_gradient(spec, x, weights):
    """The gradient of sum(weights * activation(x)) by x."""
    value = make_input("x", x.shape, x.dtype.name)
    w = make_input("w", x.shape, x.dtype.name)
    slope = gradient(reduce_sum(activation(spec)(value) * w), [value])[0]
    return evaluate(Graph((value, w), (slope,)), [x, weights])[0]


def numbers(seed=0, shape=(5, 7)):
    """Standard normal numbers times 3, none near the kink at 0."""
    x = np.random.default_rng(seed).normal(size=shape) * 3
    return np.where(np.abs(x) < 0.01, 0.5, x)


def test_every_registered_name_is_covered():
    named = {spec.partition("(")[0] for spec in CLOSED_FORMS}
    assert named == set(ACTIVATIONS)
    assert named == set(LIMITS) | ROW_WISE
    assert len(named) == 14


@pytest.mark.parametrize("spec", CLOSED_FORMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 2e-6)])
def test_closed_form(spec, dtype, tolerance):
    x = np.append(numbers(), 0.0)
    actual = run(spec, x.astype(dtype))
    assert actual.dtype == dtype
    assert actual.shape == x.shape
    np.testing.assert_allclose(actual, CLOSED_FORMS[spec](x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("spec", CLOSED_FORMS)
def test_gradient_is_the_central_difference(spec):
    x, h = numbers(1), 1e-5
    weights = np.random.default_rng(2).normal(size=x.shape)
    expected = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        bump = np.zeros_like(x)
        bump[index] = h
        expected[index] = np.sum(weights * (run(spec, x + bump) - run(spec, x - bump))) / (2 * h)
    np.testing.assert_allclose(weighted_gradient(spec, x, weights), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("spec", LIMITS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_slope_far_from_zero(spec, dtype):
    x = np.array([-LARGE, LARGE], dtype)
    values, slopes = zip(*LIMITS[spec], strict=True)
    np.testing.assert_allclose(run(spec, x), values, rtol=1e-6)
    np.testing.assert_allclose(weighted_gradient(spec, x, np.ones_like(x)), slopes, rtol=1e-6)


@pytest.mark.parametrize("spec", LIMITS)
def test_no_finite_number_overflows(spec):
    x = np.array([-3e38, -1e20, -100, -1e-30, -0.0, 0.0, 1e-30, 100, 1e20, 3e38], "float32")
    x = x / 2 if spec == "selu" else x  # the scale of SELU is above 1
    assert np.isfinite(run(spec, x)).all()
    assert np.isfinite(weighted_gradient(spec, x, np.ones_like(x))).all()


def test_softmax_of_huge_logits():
    x = np.array([[LARGE, -LARGE, 0], [LARGE, LARGE, -LARGE]], "float32")
    np.testing.assert_array_equal(run("softmax", x), [[1, 0, 0], [0.5, 0.5, 0]])
    actual = weighted_gradient("softmax", x, np.array([[1, 2, 3], [1, 2, 0]], "float32"))
    np.testing.assert_array_equal(actual, [[0, 0, 0], [-0.25, 0.25, 0]])


def test_log_softmax_of_huge_logits():
    x = np.array([[LARGE, -LARGE, 0]], "float32")
    np.testing.assert_array_equal(run("log_softmax", x), [[0, -2 * LARGE, -LARGE]])
    # The gradient of the second log-probability: its one-hot code minus the probabilities.
    np.testing.assert_array_equal(
        weighted_gradient("log_softmax", x, np.array([[0, 1, 0]], "float32")), [[-1, 1, 0]]
    )


@pytest.mark.parametrize(
    ("spec", "value", "slope"),
    [
        ("step", 1, 0),
        ("relu", 0, 0),
        ("leaky_relu(0.2)", 0, 0.2),
        ("elu(0.5)", 0, 0.5),
        ("selu", 0, SCALE * ALPHA),
        ("gelu", 0, 0.5),
        ("silu", 0, 0.5),
        ("mish", 0, 0.6),
        ("softplus", math.log(2), 0.5),
    ],
)
def test_value_and_slope_at_zero(spec, value, slope):
    zero = np.zeros(1)
    assert run(spec, zero)[0] == pytest.approx(value)
    assert weighted_gradient(spec, zero, np.ones(1))[0] == pytest.approx(slope)


@pytest.mark.parametrize(("spec", "curvature"), [("softplus", 0.25), ("sigmoid", 0), ("mish", 0.64)])
def test_second_derivative_at_zero(spec, curvature):
    x, v = make_input("x", (1,), "float64"), make_input("v", (1,), "float64")
    (product,) = hessian_vector_product(reduce_sum(activation(spec)(x)), [x], [v])
    assert evaluate(Graph((x, v), (product,)), [[0.0], [1.0]])[0] == pytest.approx([curvature])


@pytest.mark.parametrize("spec", sorted(set(CLOSED_FORMS) - {"relu", "step"}))
def test_a_nan_stays_a_nan(spec):
    assert np.isnan(run(spec, np.array([np.nan, 1.0]))[0])


@settings(max_examples=50, deadline=None)
@given(x=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=6))
@pytest.mark.parametrize("spec", CLOSED_FORMS)
def test_outputs_stay_in_the_output_range(spec, x):
    low, high = activation(spec).output_range()
    actual = run(spec, np.array(x))
    assert (actual >= low - 1e-15).all()
    assert (actual <= high).all()


@pytest.mark.parametrize("spec", CLOSED_FORMS)
def test_the_output_range_is_reached(spec):
    """No range is too wide: the outputs reach both ends of it."""
    x = np.concatenate([np.linspace(-4, 4, 8001), [-1e6, 1e6]])
    x = np.stack([x, -x], axis=1)  # two columns, so that softmax reaches 0 and 1
    low, high = activation(spec).output_range()
    actual = run(spec, x)
    assert actual.min() < -9e3 if low == -math.inf else actual.min() == pytest.approx(low, abs=1e-6)
    assert actual.max() > 9e3 if high == math.inf else actual.max() == pytest.approx(high, abs=1e-6)


@pytest.mark.parametrize("slope", [0, -1.5])
def test_a_leaky_relu_with_a_slope_of_at_most_zero_is_not_negative(slope):
    part = LeakyReLU(slope)
    assert part.output_range() == (0, math.inf)
    assert run(part, numbers()).min() >= 0


@pytest.mark.parametrize("spec", CLOSED_FORMS)
def test_round_trip_through_configuration(spec):
    part = activation(spec)
    config = ACTIVATIONS.config(part)
    assert activation(config) == part
    assert config["name"] == part.name == spec.partition("(")[0]
    assert activation(part) is part
    assert hash(part) == hash(activation(config))


def test_parts_without_options_differ():
    assert activation("relu") == activation("relu")
    assert activation("relu") != activation("tanh")


def test_none_is_the_identity():
    assert activation(None) == Identity()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rellu", "unknown activation 'rellu'; did you mean 'relu'?"),
        ("elu(0)", "activation 'elu': alpha must be a number above 0, not 0"),
        ("elu('a')", "activation 'elu': alpha must be a number above 0, not 'a'"),
        ("leaky_relu(True)", "activation 'leaky_relu': slope must be a finite number, not True"),
        ("leaky_relu(1e999)", "activation 'leaky_relu': slope must be a finite number, not inf"),
        ("relu(1)", "activation 'relu' takes no arguments"),
    ],
)
def test_refusals(spec, message):
    with pytest.raises(InputError) as caught:
        activation(spec)
    assert str(caught.value).startswith(message)


def test_activation_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Activation()
