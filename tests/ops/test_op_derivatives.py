"""First and second derivatives of every op, by both sweeps, against central differences and JAX."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import jax
import numpy as np
import pytest

from glassgrad.autodiff.sweeps import gradient, hessian_vector_product, jvp
from glassgrad.backends.reference import evaluate
from glassgrad.backends.xla import interpret
from glassgrad.graph.node import Graph, Value
from glassgrad.ops.op import constant, make_input
from glassgrad.ops.reductions import reduce_sum
from glassgrad.ops.structure import zeros_like
from ops.cases import DIFFERENTIABLE, Case
from ops.differences import assert_near, central_direction, central_gradient, weighted_sum

each = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)

# Compiling without optimization takes a third of the time, and these tests need correct lowerings only.
QUICK = {"xla_backend_optimization_level": 0}


class Subject:
    """A case in float64 as a function of its float inputs."""

    def __init__(self, case: Case) -> None:
        self.arrays = case.arrays("float64")
        self.graph = case.graph("float64")
        self.floats = [i for i, value in enumerate(self.graph.inputs) if value.type.is_float]
        self.wrt = [self.graph.inputs[i] for i in self.floats]
        self.x = [self.arrays[i] for i in self.floats]
        rng = np.random.default_rng(7)
        self.v = [rng.normal(size=array.shape).astype(array.dtype) for array in self.x]

    def run(self, outputs: Sequence[Value], x: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """``outputs`` on the reference backend, at the float inputs ``x`` if given."""
        arrays = dict(enumerate(self.arrays)) | dict(zip(self.floats, x or self.x, strict=True))
        return evaluate(Graph(self.graph.inputs, tuple(outputs)), [arrays[i] for i in range(len(arrays))])

    @cached_property
    def curved(self) -> Value:
        """A scalar whose second derivative is not zero even for a linear op."""
        return weighted_sum(self.graph.outputs, curved=True)


@lru_cache
def subject(case: Case) -> Subject:
    return Subject(case)


@each
def test_reverse_mode_equals_central_differences(case: Case) -> None:
    it = subject(case)
    scalar = weighted_sum(it.graph.outputs)
    expected = central_gradient(lambda x: float(it.run([scalar], x)[0]), it.x)
    assert_near(it.run(gradient(scalar, it.wrt)), expected)


@each
def test_forward_mode_equals_central_differences(case: Case) -> None:
    it = subject(case)
    outputs = [value for value in it.graph.outputs if value.type.is_float]
    tangents = jvp(outputs, [constant(v, "float64") for v in it.v], it.wrt)
    filled = [zeros_like(y) if t is None else t for y, t in zip(outputs, tangents, strict=True)]
    assert_near(it.run(filled), central_direction(lambda x: it.run(outputs, x), it.x, it.v))


@each
def test_second_order_equals_central_differences_of_the_gradient(case: Case) -> None:
    it = subject(case)
    gradients = gradient(it.curved, it.wrt)
    vectors = [constant(v, "float64") for v in it.v]
    expected = central_direction(lambda x: it.run(gradients, x), it.x, it.v)
    assert_near(it.run(hessian_vector_product(it.curved, it.wrt, vectors)), expected)
    pairs = zip(gradients, vectors, strict=True)
    along = sum((reduce_sum(g * v) for g, v in pairs), constant(0.0, "float64"))
    assert_near(it.run(gradient(along, it.wrt)), expected)  # reverse over reverse: the Hessian is symmetric


@each
def test_first_and_second_order_equal_those_of_jax(case: Case) -> None:
    it = subject(case)
    vectors = [make_input(f"v{i}", v.shape, "float64") for i, v in enumerate(it.v)]
    mine = [*gradient(it.curved, it.wrt), *hessian_vector_product(it.curved, it.wrt, vectors)]
    actual = evaluate(Graph((*it.graph.inputs, *vectors), tuple(mine)), [*it.arrays, *it.v])
    graph = Graph(it.graph.inputs, (it.curved,))

    def scalar(x: list[jax.Array]) -> jax.Array:
        arrays: dict[int, object] = dict(enumerate(it.arrays)) | dict(zip(it.floats, x, strict=True))
        return interpret(graph, [jax.numpy.asarray(arrays[i]) for i in range(len(arrays))])[0]

    with jax.enable_x64(True):
        second = jax.jit(lambda x, v: jax.jvp(jax.grad(scalar), (x,), (v,)))
        first, moved = second.lower(it.x, it.v).compile(QUICK)(it.x, it.v)
        expected = [np.asarray(item) for item in (*first, *moved)]
    assert_near(actual, expected, limit=1e-12)
