"""scan: a recurrent network against JAX's scan in both directions, nested scans, and invalid bodies."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from glassgrad.autodiff.sweeps import gradient, hessian_vector_product
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Value
from glassgrad.ops import table as ops
from glassgrad.ops.op import constant, make_input
from glassgrad.passes.clean import clean
from ops.differences import assert_near

RNG = np.random.default_rng(11)
SHAPES = {"h": (2, 3), "x": (5, 2, 4), "w": (3, 3), "u": (4, 3)}
ARRAYS = [RNG.normal(size=shape) for shape in SHAPES.values()]
VECTORS = [RNG.normal(size=shape) for shape in SHAPES.values()]


def network(h: Value, x: Value, w: Value, u: Value, backwards: bool) -> Value:
    def cell(h: Value, x: Value, w: Value, u: Value) -> list[Value]:
        new = ops.tanh(h @ w + x @ u)
        return [new, ops.reduce_sum(new * new * new, 1)]

    (last,), (seen,) = ops.scan(cell, [h], [x], [w, u], backwards=backwards)
    weights = constant(np.arange(10.0).reshape(5, 2), "float64")
    return ops.reduce_sum(last) + ops.reduce_sum(seen * weights)


def network_of_jax(arrays: list[Any], backwards: bool) -> Any:
    h, x, w, u = arrays
    jnp = jax.numpy

    def cell(h: Any, x: Any) -> tuple[Any, Any]:
        new = jnp.tanh(h @ w + x @ u)
        return new, (new**3).sum(1)

    last, seen = jax.lax.scan(cell, h, x, reverse=backwards)
    return last.sum() + (seen * jnp.arange(10.0).reshape(5, 2)).sum()


@pytest.mark.parametrize("backwards", [False, True])
def test_a_recurrent_network_has_the_gradient_and_the_curvature_of_jax(backwards: bool) -> None:
    inputs = [make_input(name, shape, "float64") for name, shape in SHAPES.items()]
    value = network(*inputs, backwards=backwards)
    moved = hessian_vector_product(value, inputs, [constant(v, "float64") for v in VECTORS])
    graph = Graph(tuple(inputs), (value, *gradient(value, inputs), *moved))
    actual = evaluate(graph, ARRAYS)
    for got, want in zip(evaluate(clean(graph), ARRAYS), actual, strict=True):
        np.testing.assert_array_equal(got, want)

    with jax.enable_x64(True):

        def value_slopes_and_curves(x: list[Any], v: list[Any]) -> Any:
            return jax.jvp(jax.value_and_grad(lambda x: network_of_jax(x, backwards)), (x,), (v,))

        (expected, slopes), (_, curves) = jax.jit(value_slopes_and_curves)(ARRAYS, VECTORS)
        assert_near(actual, [np.asarray(item) for item in (expected, *slopes, *curves)], limit=1e-12)


def test_results_keep_the_order_of_the_sequence_when_the_scan_runs_backwards() -> None:
    x = make_input("x", (4,), "float32")
    (last,), (sums,) = ops.scan(lambda s, x: [s + x, s + x], [constant(0.0, "float32")], [x], backwards=True)
    actual = evaluate(Graph((x,), (last, sums)), [[1, 2, 3, 4]])
    assert [item.tolist() for item in actual] == [10, [10, 9, 7, 4]]


def test_an_integer_carry_has_no_gradient() -> None:
    x, start = make_input("x", (5,), "float64"), make_input("start", (), "int32")

    def body(count: Value, total: Value, x: Value) -> list[Value]:
        return [count + 1, total + x * ops.convert(count, "float64"), count]

    (count, total), (counts,) = ops.scan(body, [start, constant(0.0, "float64")], [x])
    outputs = (count, counts, *gradient(total, [x]))
    last, seen, slope = evaluate(Graph((x, start), outputs), [np.ones(5), 3])
    assert (last.tolist(), last.dtype) == (8, np.int32)
    assert seen.tolist() == slope.tolist() == [3, 4, 5, 6, 7]


def test_a_scan_within_a_scan_is_differentiated() -> None:
    x = make_input("x", (3, 4), "float64")

    def inner(total: Value, item: Value) -> list[Value]:
        return [ops.sin(total * item)]

    def outer(total: Value, row: Value) -> list[Value]:
        (last,), _ = ops.scan(inner, [total], [row])
        return [last]

    (y,), _ = ops.scan(outer, [constant(1.0, "float64")], [x])
    (slope,) = gradient(y, [x])
    array = RNG.uniform(0.5, 1.5, (3, 4))
    (actual,) = evaluate(Graph((x,), (slope,)), [array])

    def by_hand(items: np.ndarray) -> float:
        total = 1.0
        for item in items.ravel():
            total = np.sin(total * item)
        return float(total)

    for spot in np.ndindex(array.shape):
        step = np.zeros_like(array)
        step[spot] = 1e-6
        difference = (by_hand(array + step) - by_hand(array - step)) / 2e-6
        assert actual[spot] == pytest.approx(difference, abs=1e-8)


def test_invalid_scans_are_rejected() -> None:
    x, y = make_input("x", (3,), "float32"), make_input("y", (4,), "float32")
    zero = constant(0.0, "float32")
    with pytest.raises(GraphError, match="every sequence needs 3 elements"):
        ops.scan(lambda s, a, b: [s + a + b], [zero], [x, y])
    with pytest.raises(GraphError, match="needs a length"):
        ops.scan(lambda s: [s], [zero], [])
    with pytest.raises(GraphError, match=r"scan.*must return its carries"):
        ops.scan(lambda s, a: [a > s], [zero], [x])
    with pytest.raises(GraphError, match="'y' from outside"):
        ops.scan(lambda s, a: [s + a + ops.reduce_sum(y)], [zero], [x])
