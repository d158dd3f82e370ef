"""Activations and losses at 0, at huge numbers and at infinity: value, first and second derivative."""

from __future__ import annotations

import math

import numpy as np
import pytest

from backends.runners import RUNNERS
from glassgrad.autodiff.sweeps import gradient, jvp
from glassgrad.graph.node import Graph, Value
from glassgrad.losses.table import loss
from glassgrad.nn.activations import ACTIVATIONS, SELU_ALPHA, SELU_SCALE, activation
from glassgrad.ops import table as ops
from glassgrad.ops.op import constant, make_input

INF = math.inf
HUGE = 1e30
ROW_WISE = {"softmax", "log_softmax"}  # tested with the ops

# For each activation: point -> (value, first derivative, second derivative).
Derivatives = tuple[float, float, float]
LINE, FLAT = (INF, 1, 0), (0, 0, 0)
ACTIVATION_EDGES: dict[str, dict[float, Derivatives]] = {
    "identity": {0: (0, 1, 0), INF: LINE, -INF: (-INF, 1, 0)},
    "step": {0: (1, 0, 0), INF: (1, 0, 0), -INF: FLAT},
    "sigmoid": {0: (0.5, 0.25, 0), INF: (1, 0, 0), -INF: FLAT},
    "tanh": {0: (0, 1, 0), INF: (1, 0, 0), -INF: (-1, 0, 0)},
    "relu": {0: FLAT, INF: LINE, -INF: FLAT},
    "leaky_relu": {0: (0, 0.01, 0), INF: LINE, -INF: (-INF, 0.01, 0)},
    # At the kink, the derivatives are those from the left.
    "elu": {0: (0, 1, 1), INF: LINE, -INF: (-1, 0, 0)},
    "selu": {
        0: (0, SELU_SCALE * SELU_ALPHA, SELU_SCALE * SELU_ALPHA),
        INF: (INF, SELU_SCALE, 0),
        -INF: (-SELU_SCALE * SELU_ALPHA, 0, 0),
    },
    "gelu": {0: (0, 0.5, math.sqrt(2 / math.pi)), INF: LINE, -INF: FLAT},
    "silu": {0: (0, 0.5, 0.5), INF: LINE, -INF: FLAT},
    "mish": {0: (0, 0.6, 0.64), INF: LINE, -INF: FLAT},
    "softplus": {0: (math.log(2), 0.5, 0.25), INF: LINE, -INF: FLAT},
}

# For each loss and target: output -> (value, first derivative, second derivative).
LOSS_EDGES: dict[tuple[str, float], dict[float, Derivatives]] = {
    ("squared_error", 0.0): {0: (0, 0, 2), 1: (1, 2, 2), INF: (INF, INF, 2), -INF: (INF, -INF, 2)},
    ("absolute_error", 0.0): {0: FLAT, 1: (1, 1, 0), INF: LINE, -INF: (INF, -1, 0)},
    ("huber", 0.0): {
        0: (0, 0, 1),
        0.5: (0.125, 0.5, 1),
        1: (0.5, 1, 1),
        2: (1.5, 1, 0),
        HUGE: (HUGE, 1, 0),
        INF: LINE,
        -INF: (INF, -1, 0),
    },
    ("log_cosh", 0.0): {0: (0, 0, 1), HUGE: (HUGE, 1, 0), INF: LINE, -INF: (INF, -1, 0)},
    ("quantile(0.75)", 0.0): {0: (0, -0.25, 0), 1: (0.25, 0.25, 0), INF: (INF, 0.25, 0), -INF: (INF, -0.75, 0)},
    ("poisson", 0.0): {0: (1, 1, 1), 1: (math.e,) * 3, INF: (INF, INF, INF), -INF: FLAT},
    ("poisson", 2.0): {0: (1, -1, 1), 1: (math.e - 2, math.e - 2, math.e), INF: (INF, INF, INF), -INF: (INF, -2, 0)},
    ("binary_cross_entropy", 1): {0: (math.log(2), -0.5, 0.25), HUGE: FLAT, -HUGE: (HUGE, -1, 0), INF: FLAT,
                                  -INF: (INF, -1, 0)},
    ("binary_cross_entropy", 0): {0: (math.log(2), 0.5, 0.25), INF: LINE, -INF: FLAT},
    ("hinge", 1): {0: (1, -1, 0), 1: (0, -0.5, 0), INF: FLAT, -INF: (INF, -1, 0)},
    ("perceptron", 1): {0: (0, -1, 0), INF: FLAT, -INF: (INF, -1, 0)},
}  # fmt: skip


def value_and_derivatives(y: Value, x: Value) -> list[Value]:
    """y, dy/dx by the reverse and the forward sweep, and d2y/dx2 by reverse-reverse and forward-over-reverse."""
    ones = ops.full(x.shape, 1, x.dtype)

    def forward(y: Value) -> Value:
        (tangent,) = jvp([y], [ones], [x])
        return ops.zeros_like(y) if tangent is None else tangent

    (slope,) = gradient(ops.reduce_sum(y), [x])
    (curvature,) = gradient(ops.reduce_sum(slope), [x])
    return [y, slope, forward(y), curvature, forward(slope)]


def assert_derivatives(y: Value, x: Value, edges: dict[float, Derivatives], backend: str) -> None:
    value, first, second = (np.array(column, np.float64) for column in zip(*edges.values(), strict=True))
    results = RUNNERS[backend](Graph((x,), tuple(value_and_derivatives(y, x))), [list(edges)])
    for actual, expected in zip(results, (value, first, first, second, second), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATION_EDGES)
def test_an_activation_has_its_limits_and_their_derivatives(name: str, dtype: str, backend: str) -> None:
    edges = ACTIVATION_EDGES[name]
    x = make_input("x", (len(edges),), dtype)
    assert_derivatives(activation(name)(x), x, edges, backend)


@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("spec", "target"), LOSS_EDGES)
def test_a_loss_has_its_limits_and_their_derivatives(
    spec: str, target: float, dtype: str, backend: str
) -> None:
    edges = LOSS_EDGES[spec, target]
    count = len(edges)
    x = make_input("x", (count,), dtype)
    is_class = loss(spec).task == "classification"
    targets = constant(np.full((count,) if is_class else (count, 1), target), "int32" if is_class else dtype)
    assert_derivatives(loss(spec).row_losses(ops.reshape(x, (count, 1)), targets), x, edges, backend)


@pytest.mark.parametrize("target", [0, 1])
def test_cross_entropy_of_an_infinite_logit(target: int) -> None:
    x = make_input("x", (1, 2), "float64")
    value = loss("categorical_cross_entropy").row_losses(x, constant([target], "int32"))
    graph = Graph((x,), (value, *gradient(ops.reduce_sum(value), [x])))
    losses, slope = RUNNERS["reference"](graph, [[[INF, 0.0]]])
    assert losses.tolist() == [INF if target else 0]
    assert slope.tolist() == [[1, -1] if target else [0, 0]]


def test_every_elementwise_activation_has_edges() -> None:
    assert set(ACTIVATION_EDGES) | ROW_WISE == set(ACTIVATIONS)
    assert all({0, INF, -INF} <= set(edges) for edges in ACTIVATION_EDGES.values())
