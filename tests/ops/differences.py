"""Central differences, with which the tests compare every derivative.

With a step h, the truncation error is h^2/6 times the third derivative, and the rounding error is about eps/h times
the function. For float64 and h = eps^(1/3) = 6e-6 both are near 1e-11. A tolerance of 1e-7 relative to the numbers is
therefore safe, and a wrong rule still fails, because it is wrong in the first digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from glassgrad.graph.node import Value
from glassgrad.ops.op import constant
from glassgrad.ops.reductions import reduce_sum

Arrays = Sequence[np.ndarray]

STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
LIMIT = 1e-7


def central_gradient(function: Callable[[Arrays], float], arrays: Arrays) -> list[np.ndarray]:
    """The gradient of a scalar ``function`` with respect to every element of ``arrays``."""
    gradients = []
    for which, array in enumerate(arrays):
        derivative = np.empty(array.shape)
        for index in np.ndindex(array.shape):
            ahead, behind = (array.copy() for _ in range(2))
            ahead[index] += STEP
            behind[index] -= STEP
            values = [function([*arrays[:which], moved, *arrays[which + 1 :]]) for moved in (ahead, behind)]
            derivative[index] = (values[0] - values[1]) / (2 * STEP)
        gradients.append(derivative)
    return gradients


def central_direction(
    function: Callable[[Arrays], list[np.ndarray]], arrays: Arrays, direction: Arrays
) -> list[np.ndarray]:
    """The directional derivative of every output of ``function`` at ``arrays`` along ``direction``."""
    ahead = function([x + STEP * v for x, v in zip(arrays, direction, strict=True)])
    behind = function([x - STEP * v for x, v in zip(arrays, direction, strict=True)])
    return [(a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]


def assert_near(actual: Sequence[np.ndarray], expected: Sequence[np.ndarray], limit: float = LIMIT) -> None:
    """Assert equality within ``limit`` times the largest expected number (at least 1)."""
    assert len(actual) == len(expected) > 0
    for got, want in zip(actual, expected, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=limit * max(1.0, float(np.abs(want).max())))


def weighted_sum(outputs: Sequence[Value], seed: int = 0, *, curved: bool = False) -> Value:
    """The sum of all float outputs with random weights. ``curved`` adds half of their squares."""
    rng = np.random.default_rng(seed)
    total: Value | None = None
    for value in outputs:
        if value.type.is_float:
            weights = constant(
                rng.uniform(0.5, 1.5, value.shape) * rng.choice([-1, 1], value.shape), value.dtype
            )
            term = reduce_sum(weights * (value + value * value * 0.5 if curved else value))
            total = term if total is None else total + term
    assert total is not None, "no float output to differentiate"
    return total
