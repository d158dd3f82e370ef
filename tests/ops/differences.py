"""Central differences, the judge of every derivative.

With a step of h the formula errs by h^2/6 of the third derivative and by about eps/h of the function. For
float64 and h = eps^(1/3) = 6e-6 both are near 1e-11, so that 1e-7 of the size of the numbers is a wide and
still a sharp limit: a wrong rule is wrong in the first digits.
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
    """The gradient of a scalar ``function`` by every element of ``arrays``."""
    gradients = []
    for which, array in enumerate(arrays):
        found = np.empty(array.shape)
        for spot in np.ndindex(array.shape):
            ahead, behind = (array.copy() for _ in range(2))
            ahead[spot] += STEP
            behind[spot] -= STEP
            values = [function([*arrays[:which], moved, *arrays[which + 1 :]]) for moved in (ahead, behind)]
            found[spot] = (values[0] - values[1]) / (2 * STEP)
        gradients.append(found)
    return gradients


def central_direction(
    function: Callable[[Arrays], list[np.ndarray]], arrays: Arrays, direction: Arrays
) -> list[np.ndarray]:
    """The derivative of every output of ``function`` when ``arrays`` move along ``direction``."""
    ahead = function([x + STEP * v for x, v in zip(arrays, direction, strict=True)])
    behind = function([x - STEP * v for x, v in zip(arrays, direction, strict=True)])
    return [(a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]


def assert_near(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray], limit: float = LIMIT) -> None:
    """Equal to ``limit`` of the largest number."""
    assert len(found) == len(wanted) > 0
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=limit * max(1.0, float(np.abs(want).max())))


def weighted_sum(outputs: Sequence[Value], seed: int = 0, *, curved: bool = False) -> Value:
    """One number from all float outputs, with random weights; ``curved`` adds their squares."""
    rng = np.random.default_rng(seed)
    total: Value | None = None
    for value in outputs:
        if value.type.is_float:
            weights = constant(
                rng.uniform(0.5, 1.5, value.shape) * rng.choice([-1, 1], value.shape), value.dtype
            )
            term = reduce_sum(weights * (value + value * value * 0.5 if curved else value))
            total = term if total is None else total + term
    assert total is not None, "there is nothing to differentiate"
    return total
