"""The derivative of the whole graph, computed in three ways that are independent of the paths.

* A reverse sweep gives the derivatives by all weights and inputs at once.
* A forward sweep gives the derivative by one weight or input, without cotangents.
* A central difference of the loss needs no derivative rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from glassgrad.autodiff.sweeps import gradient, jvp
from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.frozen import frozen
from glassgrad.explain.links import Anatomy, fixed
from glassgrad.graph.node import Graph, Value
from glassgrad.losses.base import Loss, weighted_mean
from glassgrad.ops.op import make_input

INPUT = ""
"""The name of the network's input among the names of weights."""

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""The relative widths at which the central difference is computed."""

EPSILON = float(np.finfo(np.float64).eps)

FLOOR = 1e-3
"""Errors are relative to the derivative, or to this share of the largest derivative in its tensor if that is larger.

Central differences of smaller derivatives have no correct digits.
"""


@frozen
class WholeGraph:
    """The loss of one row as a function of all weights and of the input, and its derivatives."""

    loss: float
    seed: Array
    gradients: Mapping[str, Array]
    _graph: Graph
    _names: tuple[str, ...]
    _arrays: Mapping[str, Array]

    @classmethod
    def of(cls, anatomy: Anatomy, loss: Loss, targets: Array) -> WholeGraph:
        """The graph for encoded ``targets`` [1] or [1, n]. ``seed`` is the derivative of the loss by every output."""
        arrays = {INPUT: anatomy.x[None]} | anatomy.weights
        values = {name: make_input(name or "x", array.shape, "float64") for name, array in arrays.items()}
        output, total = _loss(anatomy, loss, targets, values)
        derivatives = gradient(total, [*values.values(), output])
        graph = Graph(tuple(values.values()), (total, *derivatives))
        results = evaluate(graph, list(arrays.values()))
        gradients = dict(zip(arrays, results[1:-1], strict=True))
        return cls(
            float(results[0]),
            results[-1].reshape(-1),
            gradients,
            Graph(tuple(values.values()), (total,)),
            tuple(arrays),
            arrays,
        )

    def forward(self, name: str, index: tuple[int, ...]) -> float:
        """The derivative by one element, from a forward sweep."""
        (total,) = self._graph.outputs
        number = self._names.index(name)
        direction = np.zeros(self._arrays[name].shape)
        direction[index] = 1.0
        (tangent,) = jvp([total], [fixed(direction)], [self._graph.inputs[number]])
        if tangent is None:
            return 0.0
        (value,) = evaluate(Graph(self._graph.inputs, (tangent,)), list(self._arrays.values()))
        return float(value)

    def central(self, name: str, index: tuple[int, ...]) -> float:
        """The derivative by one element, from central differences of fourth order.

        The formula is (8 (L(+h) - L(-h)) - (L(+2h) - L(-2h))) / 12h. It is computed for every width h in ``STEPS``.
        The result is the wider of the two consecutive widths that agree best, where an estimate of the rounding error
        adds to their difference. A large h can cross kinks, a small h has large rounding errors.
        """
        size = max(1.0, abs(float(self._arrays[name][index])))
        estimates = [self._difference(name, index, step * size) for step in STEPS]
        rounding = [EPSILON * (1 + abs(self.loss)) / (step * size) for step in STEPS]
        errors = [abs(a - b) + noise for (a, b), noise in zip(pairwise(estimates), rounding[1:], strict=True)]
        return estimates[int(np.argmin(errors))]

    def kink(self, name: str, index: tuple[int, ...]) -> bool:
        """Whether the loss has a corner here: its one-sided slopes differ at a small and at a very small distance."""
        scale = max(
            abs(float(self.gradients[name][index])), FLOOR * float(np.abs(self.gradients[name]).max())
        )
        size = max(1.0, abs(float(self._arrays[name][index])))
        here = self._at(name, index, 0.0)
        for step in (1e-4, 1e-6):
            h = step * size
            after, before = self._at(name, index, h) - here, here - self._at(name, index, -h)
            if abs(after - before) / h <= 0.01 * scale:
                return False
        return True

    def _at(self, name: str, index: tuple[int, ...], offset: float) -> float:
        """The loss after ``offset`` is added to one element."""
        moved = self._arrays[name].copy()
        moved[index] += offset
        (value,) = evaluate(self._graph, [moved if key == name else a for key, a in self._arrays.items()])
        return float(value)

    def _difference(self, name: str, index: tuple[int, ...], h: float) -> float:
        def at(offset: float) -> float:
            return self._at(name, index, offset)

        return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)

    def error(self, name: str, index: tuple[int, ...], other: float) -> float:
        """The relative error of ``other`` against the derivative from the reverse sweep (see ``FLOOR``)."""
        derivative = float(self.gradients[name][index])
        scale = max(abs(derivative), FLOOR * float(np.abs(self.gradients[name]).max()))
        return abs(other - derivative) / scale if scale else abs(other - derivative)


def _loss(anatomy: Anatomy, loss: Loss, targets: Array, values: Mapping[str, Value]) -> tuple[Value, Value]:
    """The output of the network and the loss, as graph."""
    row_mask = fixed(np.ones(1, bool))
    weights = {name: value for name, value in values.items() if name != INPUT}
    state = {name: fixed(array) for name, array in anatomy.statistics.items()}
    built = anatomy.network.build(values[INPUT], weights, state, row_mask=row_mask)
    rows = loss.row_losses(built.output, fixed(targets))
    return built.output, loss.finish(weighted_mean(rows, fixed(np.ones(1))))
