"""First and second derivatives at the edge cases of every op, by both sweeps, on every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from backends.runners import RUNNERS
from glassgrad.autodiff.sweeps import gradient, hessian_vector_product, jvp
from glassgrad.backends.native.backend import run_graph
from glassgrad.backends.native.runtime.machine import host, machine
from glassgrad.graph.node import FLOATS, DType, Graph, Value
from glassgrad.ops import table as ops
from glassgrad.ops.op import NO_GRADIENT, TABLE, constant, make_input
from glassgrad.ops.products import Bilinear
from glassgrad.ops.structure import Linear, full, zeros_like
from ops.edges import BINARY, EDGES, UNARY, WITHOUT_EDGES, Edge

WIDTHS = {"avx2": 32, "sse2": 16}
ON: dict[str, Callable[[Graph, Sequence[Any]], list[np.ndarray]]] = {
    **RUNNERS,
    **{f"native on {name}": partial(run_graph, target=machine(name)) for name in WIDTHS},
}
LIMIT = {"float32": 2e-6, "float64": 1e-13}
COMPOSITES = {"softmax", "log_softmax", "logsumexp"}

on_every_backend = pytest.mark.parametrize("backend", ON)
of_every_dtype = pytest.mark.parametrize("dtype", FLOATS)


def tangent_of(y: Value, x: Value, tangent: Value) -> Value:
    (moved,) = jvp([y], [tangent], [x])
    return zeros_like(y) if moved is None else moved


def forward(y: Value, x: Value) -> Value:
    """dy/dx of an elementwise y, by the forward sweep."""
    return tangent_of(y, x, full(x.shape, 1, x.dtype))


def reverse(y: Value, x: Value) -> Value:
    """dy/dx of an elementwise y, by the reverse sweep."""
    return gradient(ops.reduce_sum(y), [x])[0]


SWEEPS = {"forward": forward, "reverse": reverse}


def elementwise_derivatives(y: Value, inputs: Sequence[Value]) -> dict[str, Value]:
    """All first derivatives by both sweeps, and all second derivatives by all four pairs of sweeps."""
    results = {}
    for i, x in enumerate(inputs):
        for name, sweep in SWEEPS.items():
            first = results[f"{i} {name}"] = sweep(y, x)
            for j, other in enumerate(inputs):
                for second, again in SWEEPS.items():
                    results[f"{i}{j} {second} over {name}"] = again(first, other)
    return results


def elementwise_truth(op: str) -> dict[str, list[float | None]]:
    """The derivatives in the table of edges, by the indices of the inputs that they are taken with respect to."""
    if op in UNARY:
        first, second = zip(*UNARY[op].values(), strict=True)
        return {"0": list(first), "00": list(second)}
    a, b, aa, ab, bb = zip(*BINARY[op].values(), strict=True)
    return {"0": list(a), "1": list(b), "00": list(aa), "01": list(ab), "10": list(ab), "11": list(bb)}


def points(op: str) -> list[np.ndarray]:
    """The inputs of an elementwise op, one array each."""
    listed = [(x,) for x in UNARY[op]] if op in UNARY else list(BINARY[op])
    return [np.array(column, np.float64) for column in zip(*listed, strict=True)]


@cache
def computed_elementwise(backend: str, dtype: DType) -> dict[str, dict[str, np.ndarray]]:
    """The derivatives of every elementwise op of the table, from one graph."""
    inputs: list[Value] = []
    arrays: list[np.ndarray] = []
    outputs: dict[tuple[str, str], Value] = {}
    for op in (*UNARY, *BINARY):
        op_arrays = points(op)
        values = [make_input(f"{op}{i}", array.shape, dtype) for i, array in enumerate(op_arrays)]
        derivatives = elementwise_derivatives(getattr(ops, op)(*values), values)
        outputs |= {(op, name): value for name, value in derivatives.items()}
        inputs += values
        arrays += op_arrays
    results: dict[str, dict[str, np.ndarray]] = {}
    output_arrays = ON[backend](Graph(tuple(inputs), tuple(outputs.values())), arrays)
    for (op, name), array in zip(outputs, output_arrays, strict=True):
        results.setdefault(op, {})[name] = array
    return results


def skip_unless_runnable(backend: str) -> None:
    width = WIDTHS.get(backend.removeprefix("native on "), 0)
    if host().vector_bytes < width:
        pytest.skip("this processor does not have vectors of that width")


def assert_matches(actual: np.ndarray, truth: Sequence[float | None], dtype: DType, what: str) -> None:
    """Assert equality where ``truth`` has a number; infinities and NaN must match exactly."""
    checked = [i for i, number in enumerate(truth) if number is not None]
    expected = np.array([truth[i] for i in checked], np.float64)
    np.testing.assert_allclose(actual[checked], expected, rtol=LIMIT[dtype], atol=LIMIT[dtype], err_msg=what)


@on_every_backend
@of_every_dtype
@pytest.mark.parametrize("op", [*UNARY, *BINARY])
def test_an_elementwise_op_has_the_right_derivatives(op: str, dtype: DType, backend: str) -> None:
    skip_unless_runnable(backend)
    truth, compared = elementwise_truth(op), 0
    for name, array in computed_elementwise(backend, dtype)[op].items():
        assert_matches(array, truth[name.split()[0]], dtype, name)
        compared += 1
    assert compared == (6 if op in UNARY else 2 * 2 * (1 + 2 * 2))


def array_derivatives(edge: Edge, x: Value) -> list[Value]:
    """The gradient and the Hessian of ``edge``, each by several sweeps."""
    size, y = len(edge.at), edge.build(x)
    units = [constant(row, x.dtype) for row in np.eye(size)]
    (slope,) = gradient(y, [x])
    moved = ops.concatenate([ops.reshape(tangent_of(y, x, unit), (1,)) for unit in units], 0)
    if edge.second is None:
        return [slope, moved]
    rows = [hessian_vector_product(y, [x], [unit])[0] for unit in units]
    again = [gradient(ops.reshape(ops.slice_axis(slope, 0, i, i + 1), ()), [x])[0] for i in range(size)]
    stacked = [ops.concatenate([ops.reshape(row, (1, size)) for row in part], 0) for part in (rows, again)]
    return [slope, moved, *stacked]


@cache
def computed_on_arrays(backend: str, dtype: DType) -> dict[str, list[np.ndarray]]:
    """The derivatives of every array edge of the table, from one graph."""
    inputs = [make_input(f"x{i}", (len(edge.at),), dtype) for i, edge in enumerate(EDGES)]
    derivatives = [array_derivatives(edge, x) for edge, x in zip(EDGES, inputs, strict=True)]
    graph = Graph(tuple(inputs), tuple(value for part in derivatives for value in part))
    arrays = iter(ON[backend](graph, [np.array(edge.at, np.float64) for edge in EDGES]))
    return {str(edge): [next(arrays) for _ in part] for edge, part in zip(EDGES, derivatives, strict=True)}


@on_every_backend
@of_every_dtype
@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_an_op_on_arrays_has_the_right_derivatives(edge: Edge, dtype: DType, backend: str) -> None:
    skip_unless_runnable(backend)
    slope, moved, *hessians = computed_on_arrays(backend, dtype)[str(edge)]
    assert_matches(slope, edge.first, dtype, "reverse")
    if edge.forward:
        assert_matches(moved, edge.first, dtype, "forward")
    size = len(edge.at)
    rows = edge.second or ((0.0,) * size,) * size
    assert len(hessians) == (0 if edge.second is None else 2)
    for hessian, name in zip(hessians, ("forward over reverse", "reverse over reverse"), strict=False):
        assert_matches(hessian.ravel(), [number for row in rows for number in row], dtype, name)


def test_every_op_with_a_derivative_has_edge_cases_or_a_stated_reason() -> None:
    expected = {
        name
        for name, op in TABLE.items()
        if op.derivative is not NO_GRADIENT and not isinstance(op.derivative, Linear | Bilinear)
    }
    covered = {*UNARY, *BINARY, *(edge.op for edge in EDGES)}
    assert expected - covered == set(WITHOUT_EDGES)
    assert covered - expected == {"select", *COMPOSITES}
    assert len({str(edge) for edge in EDGES}) == len(EDGES)
    assert all(WITHOUT_EDGES.values())


def test_every_function_of_one_variable_is_tested_at_zero_one_and_infinity() -> None:
    for op, at in UNARY.items():
        assert {0, 1, np.inf} <= set(at), op
