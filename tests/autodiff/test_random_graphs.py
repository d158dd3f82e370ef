"""Small random graphs from Hypothesis: derivatives against central differences, and passes and backends compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.runners import RUNNERS, assert_agree
from glassgrad.autodiff.sweeps import gradient, hessian_vector_product
from glassgrad.backends.reference import evaluate
from glassgrad.graph.node import Graph, Value
from glassgrad.graph.verify import verify
from glassgrad.ops import table as ops
from glassgrad.ops.op import Context, Maybe, constant, make_input
from glassgrad.passes.clean import clean
from ops.differences import assert_near, central_direction

N = 3  # every value is an N x N matrix, so any op can follow any other

STEPS: tuple[Callable[[Value, Value], Value], ...] = (
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / (b * b + 1.0),
    lambda a, b: a @ b * 0.5,
    lambda a, b: ops.tanh(a),
    lambda a, b: ops.sin(a) + 1.0,
    lambda a, b: ops.exp(ops.tanh(a)),
    lambda a, b: ops.log(a * a + 1.0),
    lambda a, b: ops.sqrt(ops.sigmoid(a)),
    lambda a, b: (a * a + 1.0) ** ops.tanh(b),
    lambda a, b: ops.transpose(a),
    lambda a, b: ops.reverse(a, 0),
    lambda a, b: ops.cumsum(a, 1),
    lambda a, b: ops.softmax(a) * b,
    lambda a, b: ops.concatenate([ops.slice_axis(a, 0, 0, 1), ops.slice_axis(b, 0, 1, N)], 0),
    lambda a, b: ops.broadcast_to(ops.reduce_mean(a, 1, keepdims=True), (N, N)) - b,
    lambda a, b: ops.gather_rows(a, constant([2, 0, 2], "int32")),
    lambda a, b: ops.select(constant(np.eye(N), "bool"), a, b),
    lambda a, b: ops.scan(lambda c, row: [ops.tanh(c + row), c * row], [ops.reduce_sum(a, 0)], [b])[1][0],
)

recipes = st.lists(
    st.tuples(st.sampled_from(range(len(STEPS))), st.integers(0, 7), st.integers(0, 7)),
    min_size=1,
    max_size=7,
)


def build(
    recipe: list[tuple[int, int, int]], steps: Sequence[Callable[[Value, Value], Value]] = STEPS
) -> tuple[Graph, list[Value], Value]:
    """A scalar function of two matrices. Each step takes two earlier values; tanh keeps its result within (-1, 1)."""
    inputs = [make_input(name, (N, N), "float64") for name in ("x", "y")]
    values = list(inputs)
    for which, a, b in recipe:
        values.append(ops.tanh(steps[which](values[-1 - a % len(values)], values[-1 - b % len(values)])))
    scalar = ops.reduce_sum(values[-1] * constant(np.arange(1.0, 1 + N * N).reshape(N, N) / N, "float64"))
    return Graph(tuple(inputs), (scalar,)), inputs, scalar


def arrays(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(N, N)) for _ in range(2)]


@settings(max_examples=60, derandomize=True)
@given(recipes)
def test_first_and_second_derivatives_equal_differences_and_cleaning_preserves_them(
    recipe: list[tuple[int, int, int]],
) -> None:
    graph, inputs, scalar = build(recipe)
    derived = gradient(scalar, inputs)
    x, v = arrays(1), arrays(2)
    curve = hessian_vector_product(scalar, inputs, [constant(item, "float64") for item in v])
    whole = verify(Graph(graph.inputs, (scalar, *derived, *curve)))
    actual = evaluate(whole, x)
    (slope,) = central_direction(lambda x: evaluate(graph, x), x, v)
    assert_near([np.array(sum((g * d).sum() for g, d in zip(actual[1:3], v, strict=True)))], [slope])
    first = Graph(graph.inputs, tuple(derived))
    assert_near(actual[3:], central_direction(lambda x: evaluate(first, x), x, v))
    cleaned = clean(whole)
    assert len(cleaned.nodes()) <= len(whole.nodes())
    for got, want in zip(evaluate(cleaned, x), actual, strict=True):
        np.testing.assert_array_equal(got, want)


def straight_through(
    ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
) -> Sequence[Maybe]:
    return cotangents


# Steps with stop_gradient and with custom derivative rules.
RULED: tuple[Callable[[Value, Value], Value], ...] = (
    *STEPS,
    lambda a, b: a * ops.stop_gradient(b),
    lambda a, b: ops.stop_gradient(ops.sin(a)) + b * 1.0,
    ops.custom_op(lambda a, b: ops.sin(a) * b),
    lambda a, b: ops.custom_op(lambda a: ops.floor(a * 4.0) / 4.0, derivative=straight_through)(a) + b,
    ops.custom_op(
        lambda a, b: a * b + 0.0, derivative=lambda ctx, cts, ys, xs: [cts[0] * xs[1] * 2.0, cts[0]]
    ),
    lambda a, b: ops.scan(
        lambda c, row: [ops.tanh(ops.stop_gradient(c) * row + c), c * 1.0], [ops.reduce_sum(a, 0)], [b]
    )[1][0],
    lambda a, b: (
        ops.scan(
            lambda c, row: [ops.custom_op(ops.tanh, derivative=straight_through)(c + row)],
            [ops.reduce_sum(a, 0)],
            [b],
        )[0][0]
        + a
    ),
)

ruled_recipes = st.lists(
    st.tuples(st.sampled_from(range(len(RULED))[::-1]), st.integers(0, 7), st.integers(0, 7)),
    min_size=1,
    max_size=7,
)


@settings(max_examples=60, derandomize=True)
@given(ruled_recipes)
def test_cleaning_preserves_gradients(recipe: list[tuple[int, int, int]]) -> None:
    graph, inputs, scalar = build(recipe, RULED)
    (cleaned,) = clean(graph).outputs
    slopes = [
        evaluate(Graph(graph.inputs, (value, *gradient(value, inputs))), arrays(1))
        for value in (scalar, cleaned)
    ]
    for got, want in zip(*slopes, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@settings(max_examples=5, derandomize=True)
@given(recipes)
def test_every_backend_agrees(recipe: list[tuple[int, int, int]]) -> None:
    graph, inputs, scalar = build(recipe)
    whole = Graph(graph.inputs, (scalar, *gradient(scalar, inputs)))
    expected = evaluate(whole, arrays(1))
    for name, run in RUNNERS.items():
        if name != "reference":
            assert_agree(run(whole, arrays(1)), expected, terms=20 * len(recipe))
