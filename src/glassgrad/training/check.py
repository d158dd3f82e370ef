"""The check of a derivative that needs no derivative: central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.constraints import Real, Whole, check
from glassgrad.graph.node import Graph, Value
from glassgrad.ops.op import constant, make_input
from glassgrad.ops.structure import reduce_sum


def check_derivative(
    function: Callable[..., Value | Sequence[Value]], *inputs: Any, step: float = 1e-5, seed: int = 0
) -> float:
    """The largest error of the derivative of ``function`` at ``inputs``, relative to its largest element.

    ``function`` builds graph from float64 values with the shapes of ``inputs``. A random weighting of all its
    outputs is differentiated by the reverse sweep and by (f(x + h) - f(x - h)) / 2h with h = ``step`` *
    max(1, |x|), element by element. A right derivative gives about 1e-8, a wrong one about 1. Raises InputError for a
    ``step`` or ``seed`` that is no such number.
    """
    check("step", step, Real(above=0))
    check("seed", seed, Whole(0, 2**63 - 1))
    arrays = [np.array(item, dtype=np.float64) for item in inputs]
    values = [make_input(f"x{i}", array.shape, "float64") for i, array in enumerate(arrays)]
    given = function(*values)
    outputs = [given] if isinstance(given, Value) else list(given)
    generator = np.random.default_rng(seed)
    total: Value | None = None
    for output in outputs:
        if output.type.is_float:
            weights = constant(generator.normal(size=output.shape), "float64")
            term = reduce_sum(output * weights)
            total = term if total is None else total + term
    if total is None:
        raise ValueError("the function gives no float output to differentiate")
    graph = Graph(tuple(values), (total, *gradient(total, values)))
    exact = evaluate(graph, arrays)[1:]
    forward = Graph(tuple(values), (total,))

    def at(index: int, spot: tuple[int, ...], moved: float) -> float:
        changed: list[Array] = [array.copy() for array in arrays]
        changed[index][spot] = moved
        return float(evaluate(forward, changed)[0])

    worst = 0.0
    scale = max((float(np.abs(array).max()) for array in exact if array.size), default=0.0)
    for index, array in enumerate(arrays):
        for spot in np.ndindex(array.shape):
            h = step * max(1.0, abs(float(array[spot])))
            x = float(array[spot])
            measured = (at(index, spot, x + h) - at(index, spot, x - h)) / (2 * h)
            worst = max(worst, abs(measured - float(exact[index][spot])))
            scale = max(scale, abs(measured))
    return worst / scale if scale > 0 else worst
