"""The clean-up passes preserve results, and the verifier finds malformed graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Graph, Node, Type, Value
from glassgrad.graph.verify import verify
from glassgrad.ops import table as ops
from glassgrad.ops.op import Context, Maybe, constant, make_input
from glassgrad.passes.clean import clean, clean_for_execution
from ops.cases import CASES, Case
from ops.differences import weighted_sum


def names(graph: Graph) -> list[str]:
    """The op names of ``graph`` and its regions, without inputs and constants."""
    op_names = []
    for node in graph.nodes():
        op_names += [node.op.name] if node.op.name not in ("input", "constant") else []
        for region in node.regions:
            op_names += names(region)
    return op_names


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cleaning_preserves_results(case: Case) -> None:
    """NaN counts as equal to NaN. Only the sign of a zero may change, because x + 0 becomes x."""
    dtype = "float64" if case.differentiable else case.dtypes[-1]
    graph, arrays = case.graph(dtype), case.arrays(dtype)
    wrt = [value for value in graph.inputs if value.type.is_float]
    if case.differentiable:
        scalar = weighted_sum(graph.outputs, curved=True)
        graph = Graph(graph.inputs, (*graph.outputs, scalar, *gradient(scalar, wrt)))
    cleaned = clean(graph)
    assert [v.type for v in cleaned.outputs] == [v.type for v in graph.outputs]
    assert "call" not in names(cleaned)
    for got, want in zip(evaluate(cleaned, arrays), evaluate(graph, arrays), strict=True):
        np.testing.assert_array_equal(got, want)
    assert names(clean(cleaned)) == names(cleaned)


def own_rule(ctx: Context, cotangents: Sequence[Maybe], outputs: Any, inputs: Any) -> Sequence[Maybe]:
    return [ct * 3.0 for ct in cotangents if ct is not None]


X = make_input("x", (2, 3), "float32")
OWN_RULE = ops.custom_op(lambda x: ops.sin(x) * 1, derivative=own_rule)


@pytest.mark.parametrize(
    ("value", "remaining"),
    [
        (X * 1, []),
        (1 * X, []),
        (X + 0, []),
        (0 + X, []),
        (X - 0, []),
        (X / 1, []),
        (X**1, []),
        (ops.negate(-X), []),
        (ops.stop_gradient(X), ["stop_gradient"]),
        (ops.transpose(ops.transpose(X)), []),
        (ops.reshape(ops.reshape(X, (6,)), (2, 3)), []),
        (ops.reshape(ops.reshape(X, (6,)), (3, 2)), ["reshape"]),
        (ops.broadcast(ops.broadcast(X, (4, 2, 3), (1, 2)), (4, 2, 5, 3), (0, 1, 3)), ["broadcast"]),
        (ops.sin(X) + ops.sin(X), ["sin", "add"]),
        (X * 0, ["broadcast", "multiply"]),
        (0 - X, ["broadcast", "subtract"]),
        (1 / X, ["broadcast", "divide"]),
        (ops.reverse(ops.reverse(X, 0), 1), ["reverse", "reverse"]),
        (ops.custom_op(lambda x: ops.sin(x) * 1)(X), ["sin"]),
        (OWN_RULE(X), ["call", "sin"]),
        (ops.iota(3, "int32") + ops.iota(3, "int32"), ["iota", "add"]),
        (constant(1.0, "float32") + constant(1.0, "float32"), ["add"]),
        (
            ops.scan(lambda s, x: [s * 1 + ops.sin(x) + ops.sin(x)], [constant(np.zeros(3), "float32")], [X])[
                0
            ][0],
            ["scan", "sin", "add", "add"],
        ),
    ],
)
def test_nodes_that_compute_nothing_are_removed_and_equal_nodes_are_merged(
    value: Value, remaining: list[str]
) -> None:
    cleaned = clean(Graph((X,), (value,)))
    assert sorted(names(cleaned)) == sorted(remaining)
    array = [[1.5, np.inf, -0.25], [np.nan, -np.inf, 3.0]]
    (got,), (want,) = evaluate(cleaned, [array]), evaluate(Graph((X,), (value,)), [array])
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("value", "remaining"),
    [
        (ops.stop_gradient(X), []),
        (OWN_RULE(ops.stop_gradient(X)), ["sin"]),
        (ops.reshape(ops.stop_gradient(ops.reshape(X, (6,))), (2, 3)), []),
        (
            ops.scan(
                lambda s, x: [OWN_RULE(s) + ops.stop_gradient(x)], [constant(np.zeros(3), "float32")], [X]
            )[0][0],
            ["scan", "sin", "add"],
        ),
        (ops.custom_op(OWN_RULE)(X), ["sin"]),
    ],
)
def test_cleaning_for_execution_removes_what_only_derivatives_need(
    value: Value, remaining: list[str]
) -> None:
    graph = Graph((X,), (value,))
    cleaned = clean_for_execution(graph)
    assert sorted(names(cleaned)) == sorted(remaining)
    assert "stop_gradient" in names(clean(graph)) or "call" in names(clean(graph))
    array = [[1.5, 0.5, -0.25], [2.0, -1.0, 3.0]]
    np.testing.assert_array_equal(evaluate(cleaned, [array])[0], evaluate(graph, [array])[0])


def test_random_bits_of_different_streams_are_not_merged() -> None:
    seed, step, rows = (make_input(n, s, "uint32") for n, s in (("seed", (2,)), ("step", ()), ("rows", (4,))))
    bits = [ops.random_bits(seed, step, rows, stream=stream, shape=(2,)) for stream in (1, 2, 1)]
    first, second, third = clean(Graph((seed, step, rows), tuple(bits))).outputs
    assert first is third
    assert first is not second


def test_an_unused_input_is_kept() -> None:
    y = make_input("y", (), "float32")
    cleaned = clean(Graph((X, y), (ops.sin(X),)))
    assert cleaned.inputs == (X, y)


# --- the verifier ------------------------------------------------------------------------------


def broken_types() -> Graph:
    y = ops.sin(X)
    y.node.types = (Type((3, 2), "float32"),)
    return Graph((X,), (y,))


def broken_order() -> Graph:
    early, late = ops.sin(X), ops.cos(X)
    early.node.inputs = (late,)
    return Graph((X,), (early,))


def broken_operands() -> Graph:
    z = make_input("z", (2, 4), "float32")
    y = ops.sin(X) + ops.cos(X)
    y.node.inputs = (y.node.inputs[0], z)
    return Graph((X, z), (y,))


def broken_region() -> Graph:
    (y,), _ = ops.scan(lambda s, x: [ops.cos(ops.sin(s + x))], [constant(np.zeros(3), "float32")], [X])
    (body,) = y.node.regions
    body.outputs[0].node.inputs[0].node.types = (Type((3,), "int32"),)
    return Graph((X,), (y,))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Graph((), (ops.sin(X),)), "input 'x' is used but not listed"),
        (lambda: Graph((X, X), (ops.sin(X),)), "lists the same input twice"),
        (broken_types, "sin has types"),
        (broken_order, "sin takes a value that was built after it"),
        (broken_operands, "add"),
        (broken_region, "sin has types"),
    ],
)
def test_the_verifier_rejects_malformed_graphs(build: Callable[[], Graph], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        verify(build())


def test_the_verifier_accepts_well_formed_graphs_and_subgraphs() -> None:
    y = ops.sin(X)
    z = ops.reduce_sum(y * y)
    for graph in (Graph((X,), (z,)), Graph((y,), (z,))):
        assert verify(graph) is graph
    assert evaluate(Graph((y,), (z,)), [np.full((2, 3), 2.0)])[0] == 24


def test_an_invalid_node_is_rejected_when_it_is_built() -> None:
    with pytest.raises(GraphError, match=r"add\(float32\[2, 3\], float32\[3\]\): the operands"):
        Node(ops.TABLE["add"], (X, make_input("b", (3,), "float32")))
