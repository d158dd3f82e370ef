"""Derivatives at kinks and ties, where the op defines a value for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from backends.runners import RUNNERS
from glassgrad.autodiff.sweeps import gradient, jvp
from glassgrad.backends.reference import evaluate
from glassgrad.graph.node import Graph, Value
from glassgrad.ops import table as ops
from glassgrad.ops.op import constant, make_input

Build = Callable[..., Value]


def slopes(build: Build, *numbers: float) -> list[float]:
    """The derivatives of ``build`` with respect to its scalar arguments. Both sweeps must agree."""
    x = [make_input(f"x{i}", (), "float64") for i in range(len(numbers))]
    y = build(*x)
    one, zero = constant(1.0, "float64"), constant(0.0, "float64")
    backward = evaluate(Graph(tuple(x), tuple(gradient(y, x))), numbers)
    for i, slope in enumerate(backward):
        (moved,) = jvp([y], [one if j == i else zero for j in range(len(x))], x)
        (forward,) = evaluate(Graph(tuple(x), (zero if moved is None else moved,)), numbers)
        np.testing.assert_array_equal(forward, slope)
    return [float(slope) for slope in backward]


@pytest.mark.parametrize(
    ("build", "at", "expected"),
    [
        (ops.maximum, (2.0, 2.0), [0.5, 0.5]),
        (ops.maximum, (2.0, 1.0), [1, 0]),
        (ops.minimum, (2.0, 2.0), [0.5, 0.5]),
        (ops.minimum, (2.0, 1.0), [0, 1]),
        (ops.absolute, (0.0,), [0]),
        (ops.sign, (0.0,), [0]),
        (ops.floor, (1.0,), [0]),
        (lambda x: ops.select(x > 0, x, 0.0), (0.0,), [0]),
        (ops.power, (0.0, 2.0), [0, 0]),
        (ops.power, (0.0, 1.0), [1, 0]),
        (ops.power, (-3.0, 2.0), [-6, 0]),
        (ops.sqrt, (0.0,), [np.inf]),
        (ops.log, (0.0,), [np.inf]),
    ],
)
def test_the_derivative_at_a_kink(build: Build, at: tuple[float, ...], expected: list[float]) -> None:
    assert slopes(build, *at) == expected


def of_array(build: Build, array: list[float]) -> list[float]:
    x = make_input("x", (len(array),), "float64")
    (actual,) = evaluate(Graph((x,), tuple(gradient(build(x), [x]))), [array])
    return [float(item) for item in actual]


def test_equal_maxima_share_the_gradient_evenly() -> None:
    assert of_array(ops.reduce_max, [1, 3, 3, 0]) == [0, 0.5, 0.5, 0]
    assert of_array(ops.reduce_min, [1, 0, 3, 0]) == [0, 0.5, 0, 0.5]


def test_top_k_takes_the_first_of_equal_numbers() -> None:
    assert of_array(lambda x: ops.reduce_sum(ops.top_k(x, 2)[0]), [1, 3, 3, 3]) == [0, 1, 1, 0]


def test_equal_maxima_of_a_window_share_the_gradient() -> None:
    image = make_input("image", (1, 2, 2, 1), "float64")
    (slope,) = gradient(ops.reduce_sum(ops.max_pool2d(image, (2, 2))), [image])
    (actual,) = evaluate(Graph((image,), (slope,)), [np.array([5.0, 5.0, 1.0, 5.0]).reshape(1, 2, 2, 1)])
    np.testing.assert_allclose(actual.ravel(), [1 / 3, 1 / 3, 0, 1 / 3])


def test_an_unselected_operand_has_derivative_zero_even_if_its_own_is_infinite() -> None:
    # The safe form replaces the invalid operand before the function is applied, not after.
    assert slopes(lambda x: ops.select(x > 0, ops.log(ops.select(x > 0, x, 1.0)), 0.0), 0.0) == [0]


@pytest.mark.parametrize("backend", RUNNERS)
def test_top_k_puts_nan_first_and_keeps_the_order_of_signed_zeros(backend: str) -> None:
    x = make_input("x", (7,), "float64")
    graph = Graph((x,), ops.top_k(x, 7))
    values, index = RUNNERS[backend](graph, [[-0.0, 2.0, np.nan, 0.0, np.inf, -np.nan, -np.inf]])
    assert index.tolist() == [2, 5, 4, 1, 0, 3, 6]
    np.testing.assert_array_equal(values, [np.nan, np.nan, np.inf, 2, 0, 0, -np.inf])
