"""Custom ops: a function of values as an op, with or without its own derivative rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from backends.runners import RUNNERS
from glassgrad.autodiff.sweeps import gradient, hessian_vector_product, jvp
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Value
from glassgrad.ops import table as ops
from glassgrad.ops.op import Context, Maybe, constant, make_input
from glassgrad.passes.clean import clean

X = np.array([-1.5, -0.2, 0.3, 2.0])


def run(outputs: Sequence[Value], x: Value, backend: str = "reference") -> list[np.ndarray]:
    graph = Graph((x,), tuple(outputs))
    actual = RUNNERS[backend](graph, [X])
    for got, want in zip(RUNNERS[backend](clean(graph), [X]), actual, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-15)
    return actual


def pass_through(
    ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
) -> Sequence[Maybe]:
    return cotangents


@pytest.mark.parametrize("backend", RUNNERS)
def test_without_a_rule_the_derivative_is_that_of_the_body(backend: str) -> None:
    def swish(x: Value) -> Value:
        """x * sigmoid(x)."""
        return x * ops.sigmoid(x)

    op = ops.custom_op(swish)
    assert (op.__name__, op.__doc__) == ("swish", "x * sigmoid(x).")
    x, v = make_input("x", (4,), "float64"), constant(np.arange(4.0), "float64")
    results = []
    for build in (op, swish):
        total = ops.reduce_sum(build(x))
        results.append(
            run([total, *gradient(total, [x]), *hessian_vector_product(total, [x], [v])], x, backend)
        )
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-14)


@pytest.mark.parametrize("backend", RUNNERS)
def test_a_custom_rule_replaces_the_derivative_of_the_body(backend: str) -> None:
    rounded = ops.custom_op(ops.floor, derivative=pass_through, name="straight through")
    x = make_input("x", (4,), "float64")
    y = rounded(x)
    one = constant(np.ones(4), "float64")
    slopes = [*gradient(ops.reduce_sum(y), [x]), *(t for t in jvp([y], [one], [x]) if t is not None)]
    actual = run([y, *slopes], x, backend)
    assert actual[0].tolist() == [-2, -1, 0, 2]
    assert [slope.tolist() for slope in actual[1:]] == [[1] * 4] * 2
    assert run(gradient(ops.reduce_sum(ops.floor(x)), [x]), x, backend)[0].tolist() == [0] * 4


def test_the_rule_is_differentiated_for_the_second_order() -> None:
    def rule(
        ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        (ct,) = cotangents
        assert ct is not None
        return [ct * 3 * inputs[0] * inputs[0]]

    cube = ops.custom_op(lambda x: x * x * x, derivative=rule)
    x, v = make_input("x", (4,), "float64"), constant(np.ones(4), "float64")
    total = ops.reduce_sum(cube(x))
    first, second = run([*gradient(total, [x]), *hessian_vector_product(total, [x], [v])], x)
    np.testing.assert_allclose(first, 3 * X**2)
    np.testing.assert_allclose(second, 6 * X)


def test_a_rule_gets_zeros_for_an_unused_output() -> None:
    def rule(
        ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        first, second = cotangents
        assert first is not None
        assert second is not None
        return [first * 10 + second * 100, None]

    both = ops.custom_op(lambda a, b: [a + b, a * b], derivative=rule)
    x = make_input("x", (4,), "float64")
    y, _ = both(x, x * 2)
    (slope,) = run(gradient(ops.reduce_sum(y), [x]), x)
    assert slope.tolist() == [10] * 4


def test_a_value_from_outside_is_rejected() -> None:
    x, y = make_input("x", (4,), "float64"), make_input("y", (4,), "float64")
    with pytest.raises(GraphError, match="'y' from outside"):
        ops.custom_op(lambda a: a + y)(x)


def product_rule(
    ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
) -> Sequence[Maybe]:
    """A rule that differentiates another formula with ``ctx.vjp``."""
    return ctx.vjp([inputs[0] * ops.exp(inputs[1])], cotangents, inputs)


@pytest.mark.parametrize("rule", [None, product_rule])
@pytest.mark.parametrize(
    "second", [lambda x: x, ops.sin, lambda x: x * 1.0], ids=["the same", "a function of it", "a copy"]
)
def test_inputs_that_depend_on_each_other_each_count_once(rule, second) -> None:
    def plain(a: Value, b: Value) -> Value:
        return a * ops.exp(b)

    op = ops.custom_op(plain, derivative=rule)
    x, v = make_input("x", (4,), "float64"), constant(np.arange(4.0), "float64")
    results = []
    for function in (op, plain):
        y = function(x, second(x))
        total = ops.reduce_sum(y)
        moved = [item for item in jvp([y], [v], [x]) if item is not None]
        results.append(run([*gradient(total, [x]), *moved, *hessian_vector_product(total, [x], [v])], x))
    assert len(results[0]) == 3
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)


@pytest.mark.parametrize("backend", RUNNERS)
def test_an_operand_may_be_a_python_number(backend: str) -> None:
    def scaled(x: Value, factor: Value, offset: Value) -> Value:
        return x * factor + offset

    op = ops.custom_op(scaled)
    x = make_input("x", (4,), "float64")
    y = op(x, 2.0, 3)
    total = ops.reduce_sum(y * y)
    tangent = jvp([y], [constant(np.ones(4), "float64")], [x])[0]
    assert tangent is not None
    actual, slope, moved = run([y, *gradient(total, [x]), tangent], x, backend)
    np.testing.assert_allclose(actual, 2 * X + 3)
    np.testing.assert_allclose(slope, 4 * (2 * X + 3))
    np.testing.assert_allclose(moved, [2] * 4)
    (first,) = run([op(2.0, x, x)], x, backend)
    np.testing.assert_allclose(first, 3 * X)


def test_a_python_number_takes_the_dtype_of_the_first_float_operand() -> None:
    index, x = make_input("i", (4,), "int32"), make_input("x", (4,), "float32")
    op = ops.custom_op(lambda i, x, factor: ops.convert(i, x.dtype) * x * factor)
    assert [value.dtype for value in op(index, x, 0.5).node.inputs] == ["int32", "float32", "float32"]
    assert ops.custom_op(lambda i, n: i + n)(index, 2).dtype == "int32"
    with pytest.raises(GraphError, match=r"0\.5 does not fit a value of int32"):
        ops.custom_op(lambda i, n: i + n)(index, 0.5)


def test_an_op_with_a_custom_rule_takes_python_numbers() -> None:
    def rule(
        ctx: Context, cotangents: Sequence[Maybe], outputs: Sequence[Value], inputs: Sequence[Value]
    ) -> Sequence[Maybe]:
        (ct,) = cotangents
        assert ct is not None
        return [ct * inputs[1] * 10, None]

    op = ops.custom_op(lambda x, factor: x * factor, derivative=rule)
    x = make_input("x", (4,), "float64")
    assert run(gradient(ops.reduce_sum(op(x, 2.0)), [x]), x)[0].tolist() == [20] * 4


def test_operands_without_a_value_are_rejected() -> None:
    op = ops.custom_op(lambda a, b: a + b, name="both")
    with pytest.raises(GraphError, match="both needs at least one value"):
        op(1.0, 2.0)
    with pytest.raises(GraphError, match="str is neither a value"):
        op(make_input("x", (4,), "float64"), "2")
