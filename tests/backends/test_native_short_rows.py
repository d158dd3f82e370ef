"""Masks between kernels of short rows: they are transposed on stores and loads."""

from __future__ import annotations

import numpy as np
import pytest

from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.native.backend import run_graph
from glassgrad.backends.native.runtime.machine import host, machine
from glassgrad.backends.reference import evaluate
from glassgrad.graph.node import Graph
from glassgrad.losses.table import batch_loss, loss
from glassgrad.ops.elementwise import select
from glassgrad.ops.op import make_input
from glassgrad.passes.clean import clean

MACHINES = [
    name for name, least in (("avx512", 64), ("avx2", 32), ("sse2", 16)) if host().vector_bytes >= least
]


@pytest.mark.parametrize("target", MACHINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["perceptron", "hinge"])
def test_the_gradient_of_a_weighted_margin_is_that_of_the_reference(
    name: str, dtype: str, target: str
) -> None:
    """With five classes and eight rows, LLVM at level 1 lost a bit of a mask that was transposed as bits."""
    if machine(target).triple != host().triple:
        pytest.skip("this processor cannot run it")
    for classes in (3, 5, 7, 9, 10):
        for rows in (8, 16, 20):
            scores = make_input("scores", (rows, classes), dtype)  # type: ignore[arg-type]
            targets, row_mask = (
                make_input("targets", (rows,), "int32"),
                make_input("row_mask", (rows,), "bool"),
            )
            weights = make_input("weights", (rows,), dtype)  # type: ignore[arg-type]
            total = batch_loss(loss(name), scores, targets, select(row_mask, weights, 0.0))
            graph = clean(Graph((scores, targets, weights, row_mask), (total, *gradient(total, [scores]))))
            random = np.random.default_rng(100 * classes + rows)
            given = [
                random.normal(size=(rows, classes)).astype(dtype),
                random.integers(0, classes, rows).astype(np.int32),
                (random.integers(0, 8, rows) / 4).astype(dtype),
                np.ones(rows, bool),
            ]
            for found, wanted in zip(
                run_graph(graph, given, machine(target)), evaluate(graph, given), strict=True
            ):
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
