"""The two sweeps: missing rules, unused inputs, shared values, and derivatives of derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
import pytest

from glassgrad.autodiff.sweeps import gradient, hessian_vector_product, jvp, vjp
from glassgrad.backends.reference import evaluate
from glassgrad.backends.xla import interpret
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Value, scope
from glassgrad.ops import table as ops
from glassgrad.ops.op import NO_GRADIENT, TABLE, Op, constant, make_input
from ops.cases import CASES, Case

RNG = np.random.default_rng(5)
UNFINISHED = Op("unfinished", lambda t, a, r: (t[0],), np.cbrt, None)


def run(outputs: Sequence[Value], inputs: Sequence[Value], *arrays: object) -> list[np.ndarray]:
    return evaluate(Graph(tuple(inputs), tuple(outputs)), arrays)


def ones(shape: tuple[int, ...]) -> Value:
    return constant(np.ones(shape), "float64")


# --- no derivative ---------------------------------------------------------------------------------------


def test_a_missing_rule_raises_and_names_the_op() -> None:
    x = make_input("x", (3,), "float64")
    y = UNFINISHED(x * 2)
    with pytest.raises(GraphError, match="'unfinished' has no derivative rule"):
        gradient(ops.reduce_sum(y), [x])
    with pytest.raises(GraphError, match="'unfinished' has no derivative rule"):
        jvp([y], [ones((3,))], [x])


def test_a_missing_rule_off_the_path_is_not_an_error() -> None:
    x, z = make_input("x", (3,), "float64"), make_input("z", (3,), "float64")
    y = ops.reduce_sum(x * UNFINISHED(z) + ops.stop_gradient(UNFINISHED(x)))
    (slope,) = run(gradient(y, [x]), [x, z], np.zeros(3), np.full(3, 8.0))
    assert slope.tolist() == [2, 2, 2]


FLAT = [case for case in CASES if TABLE[case.op].derivative is NO_GRADIENT and case.args]


@pytest.mark.parametrize("case", FLAT, ids=str)
def test_no_gradient_passes_through_an_op_without_one(case: Case) -> None:
    graph = case.graph(case.dtypes[-1])
    wrt = [value for value in graph.inputs if value.type.is_float]
    cotangents = [ops.zeros_like(y) + 1.0 if y.type.is_float else None for y in graph.outputs]
    assert vjp(graph.outputs, cotangents, wrt) == [None] * len(wrt)
    tangents = [ops.zeros_like(x) + 1.0 for x in wrt]
    assert jvp(graph.outputs, tangents, wrt) == [None] * len(graph.outputs)


def test_integers_have_no_gradient() -> None:
    x, n = make_input("x", (3,), "float64"), make_input("n", (3,), "int32")
    y = ops.reduce_sum(x * ops.convert(n, "float64") + ops.convert(ops.convert(x, "int32"), "float64"))
    (slope,) = run(gradient(y, [x]), [x, n], np.ones(3), [1, 2, 3])
    assert slope.tolist() == [1, 2, 3]
    assert vjp([y], [ones(())], [n]) == [None]


def test_stop_gradient_preserves_the_value_and_blocks_the_gradient() -> None:
    x = make_input("x", (3,), "float64")
    y = ops.reduce_sum(x * ops.stop_gradient(x))
    value, slope = run([y, *gradient(y, [x])], [x], [1, 2, 3])
    assert (value, slope.tolist()) == (14, [1, 2, 3])


def test_the_gradient_with_respect_to_an_unused_input_is_zero() -> None:
    x, unused = make_input("x", (3,), "float64"), make_input("unused", (2, 2), "float32")
    y = ops.reduce_sum(x)
    assert vjp([y], [ones(())], [unused]) == [None]
    slope, curve = gradient(y, [unused])[0], hessian_vector_product(y, [x], [ones((3,))])[0]
    assert (slope.shape, slope.dtype) == ((2, 2), "float32")
    for item in run([slope, curve], [x, unused], np.ones(3), np.ones((2, 2))):
        assert not item.any()


def test_the_gradient_needs_a_float_scalar() -> None:
    x = make_input("x", (3,), "float64")
    for y in (x, ops.argmax(x)):
        with pytest.raises(GraphError, match="needs a float scalar, not"):
            gradient(y, [x])


def test_a_cotangent_of_another_type_is_rejected() -> None:
    x = make_input("x", (3,), "float64")
    with pytest.raises(GraphError, match=r"sin: a cotangent of float64\[2\] for a value of float64\[3\]"):
        vjp([ops.sin(x)], [ones((2,))], [x])


# --- paths -----------------------------------------------------------------------------------------------


def test_cotangents_add_up_where_paths_meet() -> None:
    x = make_input("x", (), "float64")
    a = x * 2
    y = a * a + ops.sin(a) + a  # three uses of a, two of them in one node
    (tangent,) = jvp([y], [ones(())], [x])
    assert tangent is not None
    actual, moved = run([*gradient(y, [x]), tangent], [x], 0.3)
    assert actual == pytest.approx(8 * 0.3 + 2 * np.cos(0.6) + 2)
    assert moved == pytest.approx(float(actual))


def test_each_node_is_visited_once() -> None:
    x = make_input("x", (), "float64")
    y = x
    for _ in range(60):  # 2**60 paths
        y = y * 0.5 + y * 0.5
    assert run(gradient(y, [x]), [x], 3.0)[0] == 1.0


def test_the_gradient_with_respect_to_an_intermediate_value() -> None:
    x = make_input("x", (3,), "float64")
    middle = ops.sin(x)
    y = ops.reduce_sum(middle * middle)
    array = np.array([0.1, 0.2, 0.3])
    by_middle, by_x = 2 * np.sin(array), 2 * np.sin(array) * np.cos(array)
    for wrt, expected in (
        ([middle], [by_middle]),
        ([x], [by_x]),
        ([x, middle], [by_x, by_middle]),
        ([middle, x, x], [by_middle, by_x, by_x]),
    ):
        for got, want in zip(run(gradient(y, wrt), [x], array), expected, strict=True):
            np.testing.assert_allclose(got, want)


def test_independent_variables_get_partial_derivatives() -> None:
    x = make_input("x", (), "float64")
    middle = ops.sin(x)
    by_x, by_middle = vjp([middle * middle + x], [ones(())], [x, middle], independent=True)
    assert by_x is not None
    assert by_middle is not None
    assert run([by_x, by_middle], [x], 0.3) == pytest.approx([1.0, 2 * np.sin(0.3)])


# x, y = sin(x) and w = x * y. The loss w * exp(y) + x**3 is a function of an offset added to each of the three.


def offset_loss(dx, dy, dw, x=0.7):
    x = x + dx
    y = jax.numpy.sin(x) + dy
    w = x * y + dw
    return w * jax.numpy.exp(y) + x**3


def dependent_values(x: Value) -> tuple[Value, list[Value]]:
    y = ops.sin(x)
    w = x * y
    return w * ops.exp(y) + x * x * x, [x, y, w]


def test_values_that_depend_on_one_another_get_total_derivatives_in_both_sweeps() -> None:
    x = make_input("x", (), "float64")
    loss, wrt = dependent_values(x)
    with jax.enable_x64(True):
        slopes = [float(item) for item in jax.grad(offset_loss, (0, 1, 2))(0.0, 0.0, 0.0)]
        hessian = np.array(jax.hessian(offset_loss, (0, 1, 2))(0.0, 0.0, 0.0))
    basis = [[constant(float(i == j), "float64") for j in range(3)] for i in range(3)]
    assert run(gradient(loss, wrt), [x], 0.7) == pytest.approx(slopes, rel=1e-12)
    moved = [jvp([loss], tangents, wrt)[0] for tangents in basis]
    assert run([item for item in moved if item is not None], [x], 0.7) == pytest.approx(slopes, rel=1e-12)
    columns = [run(hessian_vector_product(loss, wrt, vectors), [x], 0.7) for vectors in basis]
    np.testing.assert_allclose(np.array(columns), hessian, rtol=1e-12)


def test_the_order_of_wrt_does_not_matter() -> None:
    x = make_input("x", (), "float64")
    loss, wrt = dependent_values(x)
    forwards = run(gradient(loss, wrt), [x], 0.7)
    assert run(gradient(loss, wrt[::-1]), [x], 0.7) == forwards[::-1]
    for i, value in enumerate(wrt):
        assert run(gradient(loss, [value]), [x], 0.7) == [forwards[i]]


def test_wrt_one_output_of_a_node_keeps_paths_through_its_other_outputs() -> None:
    x = make_input("x", (3,), "float64")
    (last,), (seen,) = ops.scan(lambda h, e: (h * e, h + e), [ones(())], [x])
    y = last * 10 + ops.reduce_sum(seen)
    array = np.array([2.0, 3.0, 5.0])
    by_x, by_last = run(gradient(y, [x, last]), [x], array)
    np.testing.assert_allclose(by_x, run(gradient(y, [x]), [x], array)[0])
    assert by_last == 10


def test_the_output_may_be_one_of_wrt() -> None:
    x = make_input("x", (), "float64")
    y = x * x
    assert run(gradient(y, [x, y]), [x], 3.0) == [6.0, 1.0]
    assert run(gradient(x, [x, y]), [x], 3.0) == [1.0, 0.0]


def test_tangents_of_one_value_given_twice_add_up() -> None:
    x = make_input("x", (), "float64")
    (moved,) = jvp([x * x], [ones(()), ones(())], [x, x])
    assert moved is not None
    assert run([moved], [x], 3.0) == [12.0]


def test_a_tangent_of_another_type_is_rejected() -> None:
    x = make_input("x", (3,), "float64")
    with pytest.raises(GraphError, match=r"input: a tangent of float64\[2\] for a value of float64\[3\]"):
        jvp([ops.sin(x)], [ones((2,))], [x])


def test_vjp_of_several_outputs() -> None:
    x = make_input("x", (2,), "float64")
    outputs = [x * x, ops.exp(x), x * 3]
    (back,) = vjp(outputs, [constant([1.0, 0.0], "float64"), constant([0.0, 1.0], "float64"), None], [x])
    assert back is not None
    np.testing.assert_allclose(run([back], [x], [5.0, 2.0])[0], [10, np.exp(2.0)])


def test_backward_nodes_are_marked_with_the_layer_they_belong_to() -> None:
    x = make_input("x", (2, 3), "float64")
    with scope("forward", "first"):
        hidden = ops.tanh(x)
    with scope("forward", "second"):
        y = ops.reduce_sum(hidden * hidden)
    (slope,) = gradient(y, [x])
    added = {(node.scope.section, node.scope.layer) for node in Graph((x,), (slope,)).nodes()}
    assert ("backward", "first") in added
    assert ("backward", "second") in added


# --- higher orders ---------------------------------------------------------------------------------------

SHAPES = ((3, 4), (4, 2), (2,))
ARRAYS = [RNG.normal(size=shape) for shape in SHAPES]


def loss(x: Value, w: Value, b: Value) -> Value:
    z = ops.tanh(x @ w + b)
    picked = ops.gather_rows(ops.log_softmax(z), constant([0, 2, 2, 1], "int32"))
    return ops.reduce_sum(picked * picked) + ops.logsumexp(ops.reshape(z, (-1,)))


def inputs() -> list[Value]:
    return [make_input(f"x{i}", shape, "float64") for i, shape in enumerate(SHAPES)]


def test_the_hessian_by_every_combination_of_sweeps_equals_that_of_jax() -> None:
    x, w, b = values = inputs()
    y = loss(x, w, b)
    size = w.type.size
    basis = [constant(np.eye(size)[i].reshape(w.shape), "float64") for i in range(size)]
    slope = gradient(y, [w])[0]
    forward_over_reverse = [hessian_vector_product(y, [w], [v])[0] for v in basis]
    reverse_over_reverse = [gradient(ops.reduce_sum(slope * v), [w])[0] for v in basis]
    along = [jvp([y], [v], [w])[0] for v in basis]
    reverse_over_forward = [gradient(a, [w])[0] for a in along if a is not None]
    forward_over_forward = [jvp([a], [v], [w])[0] for a in along if a is not None for v in basis]
    columns = [*forward_over_reverse, *reverse_over_reverse, *reverse_over_forward]
    actual = run([*columns, *(item for item in forward_over_forward if item is not None)], values, *ARRAYS)

    with jax.enable_x64(True):
        graph = Graph(tuple(values), (y,))
        arrays = [jax.numpy.asarray(array) for array in ARRAYS]
        hessian = jax.hessian(lambda w: interpret(graph, [arrays[0], w, arrays[2]])[0])
        expected = np.asarray(jax.jit(hessian)(arrays[1])).reshape(size, size)
    mixtures = [np.stack(actual[i * size : (i + 1) * size]).reshape(size, size) for i in range(3)]
    for mixture in (*mixtures, np.stack(actual[3 * size :]).reshape(size, size)):
        np.testing.assert_allclose(mixture, expected, atol=1e-12)


def test_third_order() -> None:
    x = make_input("x", (), "float64")
    y = ops.sin(x) * ops.exp(x)
    for _ in range(3):
        (y,) = gradient(y, [x])
    # (e^x sin x)''' = 2 e^x (cos x - sin x)
    assert run([y], [x], 0.7)[0] == pytest.approx(2 * np.exp(0.7) * (np.cos(0.7) - np.sin(0.7)))


def test_the_two_sweeps_are_transposes_of_each_other() -> None:
    x, w, b = values = inputs()
    y = ops.tanh(x @ w + b)
    tangents = [constant(RNG.normal(size=shape), "float64") for shape in SHAPES]
    cotangent = constant(RNG.normal(size=y.shape), "float64")
    (moved,) = jvp([y], tangents, values)
    back = vjp([y], [cotangent], values)
    assert moved is not None
    left = ops.reduce_sum(moved * cotangent)
    right = [ops.reduce_sum(t * b) for t, b in zip(tangents, back, strict=True) if b is not None]
    actual = run([left, *right], values, *ARRAYS)
    assert actual[0] == pytest.approx(float(sum(actual[1:])), rel=1e-13)
