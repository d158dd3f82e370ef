"""Functions composed of ops (means, softmax, convolution, pooling) and their gradients, against JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Shape, Value
from glassgrad.ops import table as ops
from glassgrad.ops.op import make_input
from ops.differences import assert_near, weighted_sum

RNG = np.random.default_rng(3)


def conv(stride: tuple[int, int], padding: str) -> tuple[Callable[..., Value], Callable[..., Any]]:
    def theirs(image: Any, weights: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(image, weights, stride, padding.upper(), dimension_numbers=layout)

    return lambda image, weights: ops.conv2d(image, weights, stride, padding), theirs


def pool(size: tuple[int, int], stride: tuple[int, int] | None) -> Callable[[Any], Any]:
    window, steps = (1, *size, 1), (1, *(stride or size), 1)
    return lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, window, steps, "VALID") / np.prod(size)


def max_pool(size: tuple[int, int], stride: tuple[int, int]) -> Callable[[Any], Any]:
    window, steps = (1, *size, 1), (1, *stride, 1)
    return lambda x: jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, steps, "VALID")


CUBE, IMAGES = (3, 4, 5), (2, 7, 8, 3)
PAIRS: dict[str, tuple[Callable[..., Value], Callable[..., Any], tuple[Shape, ...]]] = {
    "mean": (ops.reduce_mean, lambda x: x.mean(), (CUBE,)),
    "mean of axes": (
        lambda x: ops.reduce_mean(x, (0, -1), keepdims=True),
        lambda x: x.mean((0, 2), keepdims=True),
        (CUBE,),
    ),
    "min": (lambda x: ops.reduce_min(x, 1), lambda x: x.min(1), (CUBE,)),
    "logsumexp": (ops.logsumexp, lambda x: jax.nn.logsumexp(x, -1), (CUBE,)),
    "logsumexp, axis kept": (
        lambda x: ops.logsumexp(x, 1, keepdims=True),
        lambda x: jax.nn.logsumexp(x, 1, keepdims=True),
        (CUBE,),
    ),
    "softmax": (ops.softmax, lambda x: jax.nn.softmax(x, -1), (CUBE,)),
    "softmax, first axis": (lambda x: ops.softmax(x, 0), lambda x: jax.nn.softmax(x, 0), (CUBE,)),
    "log_softmax": (ops.log_softmax, lambda x: jax.nn.log_softmax(x, -1), (CUBE,)),
    "conv": (*conv((1, 1), "valid"), (IMAGES, (3, 2, 3, 4))),
    "conv, stride": (*conv((2, 3), "valid"), (IMAGES, (3, 2, 3, 4))),
    "conv, same": (*conv((1, 1), "same"), (IMAGES, (3, 4, 3, 2))),
    "conv, same and stride": (*conv((2, 3), "same"), (IMAGES, (3, 3, 3, 2))),
    "max pool": (lambda x: ops.max_pool2d(x, (2, 3), (2, 2)), max_pool((2, 3), (2, 2)), (IMAGES,)),
    "average pool": (lambda x: ops.average_pool2d(x, (3, 2)), pool((3, 2), None), (IMAGES,)),
    "average pool, overlapping": (
        lambda x: ops.average_pool2d(x, (3, 3), (1, 2)),
        pool((3, 3), (1, 2)),
        (IMAGES,),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_value_and_gradient_equal_those_of_jax(name: str) -> None:
    mine, theirs, shapes = PAIRS[name]
    x = tuple(make_input(f"x{i}", shape, "float64") for i, shape in enumerate(shapes))
    arrays = [RNG.normal(size=shape) for shape in shapes]
    y = mine(*x)
    actual = evaluate(Graph(x, (y, *gradient(weighted_sum([y]), x))), arrays)
    # The weights of the weighted sum, which are its derivative with respect to y.
    (weights,) = evaluate(Graph((y,), tuple(gradient(weighted_sum([y]), [y]))), [actual[0]])
    with jax.enable_x64(True):
        value, back = jax.vjp(jax.jit(theirs), *arrays)
        expected = [np.asarray(item) for item in (value, *back(jax.numpy.asarray(weights)))]
    assert_near(actual, expected, limit=1e-12)


@pytest.mark.parametrize("build", [ops.softmax, ops.log_softmax, ops.logsumexp])
def test_softmax_log_softmax_and_logsumexp_do_not_overflow(build: Callable[[Value], Value]) -> None:
    x = make_input("x", (3,), "float32")
    y = build(x)
    outputs = (y, *gradient(weighted_sum([y]), [x]))
    for array in ([1e4, 0.0, -1e4], [-1e30, -1e30, 1e30]):
        assert all(np.isfinite(item).all() for item in evaluate(Graph((x,), outputs), [array]))


def test_the_probabilities_sum_to_one() -> None:
    x = make_input("x", (4, 9), "float32")
    array = RNG.normal(size=(4, 9)) * 20
    for build in (ops.softmax, lambda x: ops.exp(ops.log_softmax(x))):
        (actual,) = evaluate(Graph((x,), (ops.reduce_sum(build(x), 1),)), [array])
        np.testing.assert_allclose(actual, 1, rtol=1e-6)


def test_same_padding_gives_ceil_of_extent_over_stride() -> None:
    weights = make_input("w", (3, 3, 1, 1), "float32")
    for extent in range(1, 9):
        for stride in range(1, 4):
            image = make_input("image", (1, extent, 3, 1), "float32")
            assert ops.conv2d(image, weights, (stride, 1), "same").shape == (1, -(-extent // stride), 3, 1)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: ops.conv2d(x, make_input("w", (2, 2, 3, 1), "float32")),
        lambda x: ops.conv2d(x, make_input("w", (9, 2, 1, 1), "float32")),
        lambda x: ops.conv2d(x, make_input("w", (2, 2, 1, 1), "float32"), padding="full"),
        lambda x: ops.max_pool2d(x, (9, 1)),
        lambda x: ops.concatenate([], 0),
        lambda x: ops.reduce_sum(x, 4),
        lambda x: x + make_input("y", (7, 1), "float32"),
        lambda x: x + make_input("y", (), "float64"),
        lambda x: x @ make_input("y", (3,), "float32"),
        lambda x: ops.broadcast_to(x, (5, 4, 1)),
        lambda x: ops.convert(x, "int32") + 0.5,
        lambda x: x + "1",
        lambda x: bool(x > 0),
        lambda x: ops.select(x, x, x),
        lambda x: ops.reshape(x, (3, -1)),
        lambda x: ops.slice_axis(x, 1, 3, 9),
    ],
)
def test_invalid_operands_are_rejected_with_a_one_line_message(build: Callable[[Value], Value]) -> None:
    with pytest.raises(GraphError, match=r"^[^\n]+$"):
        build(make_input("x", (2, 5, 4, 1), "float32"))


def test_arithmetic_with_python_numbers_keeps_the_dtype() -> None:
    x = make_input("x", (3,), "float32")
    values = [x + 1, 1 - x, 2 * x, 1 / x, x**2, 2**x, -x, x / 3]
    actual = evaluate(Graph((x,), tuple(values)), [[0.5, 1.0, 4.0]])
    expected = [lambda a: a + 1, lambda a: 1 - a, lambda a: 2 * a, lambda a: 1 / a]
    expected += [lambda a: a**2, lambda a: 2**a, lambda a: -a, lambda a: a / 3]
    for got, formula in zip(actual, expected, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, formula(np.array([0.5, 1.0, 4.0])), rtol=1e-6)
    comparisons = Graph((x,), (x < 1, x <= 1, x > 1, x >= 1))
    assert [item.tolist() for item in evaluate(comparisons, [[0.0, 1.0, 2.0]])] == [
        [True, False, False],
        [True, True, False],
        [False, False, True],
        [False, True, True],
    ]


@pytest.mark.parametrize(
    ("row", "total", "shares"),
    [
        ([np.inf, 0.0], np.inf, [1, 0]),
        ([np.inf, np.inf], np.inf, [0.5, 0.5]),
        ([-np.inf, 0.0], 0.0, [0, 1]),
        ([-np.inf, -np.inf], -np.inf, [0.5, 0.5]),
        ([np.nan, 0.0], np.nan, [np.nan, np.nan]),
    ],
)
def test_softmax_log_softmax_and_logsumexp_at_infinity(
    row: list[float], total: float, shares: list[float]
) -> None:
    x = make_input("x", (2,), "float64")
    graph = Graph((x,), (ops.logsumexp(x), ops.softmax(x), ops.log_softmax(x)))
    actual = evaluate(graph, [row])
    np.testing.assert_array_equal(actual[0], total)
    np.testing.assert_array_equal(actual[1], shares)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(actual[2], np.log(shares), rtol=1e-15)
