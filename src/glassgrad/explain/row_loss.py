"""The loss of one row and its derivatives, computed on the whole graph in three ways, all independent of the paths.

* The reverse sweep gives the derivatives by all weights and inputs at once.
* The forward sweep gives the derivative by one weight or input. It uses tangents instead of cotangents.
* The central difference of the loss uses no derivative rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from glassgrad.autodiff.sweeps import gradient, jvp
from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.frozen import frozen
from glassgrad.explain.links import EvaluatedNetwork, fixed
from glassgrad.graph.node import Graph, Value
from glassgrad.losses.base import Loss, weighted_mean
from glassgrad.ops.op import make_input

INPUT = ""
"""The name of the network's input among the weights."""

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""The relative step sizes of the central difference."""

EPSILON = float(np.finfo(np.float64).eps)

FLOOR = 1e-3
"""Errors are relative to the derivative, but at least to this share of the largest derivative of the same tensor.

For smaller derivatives, the difference of two losses has no significant digits.
"""


@frozen
class RowLoss:
    """The loss of one row as a function of all weights and of the input, and its derivatives."""

    loss: float
    seed: Array
    gradients: Mapping[str, Array]
    _graph: Graph
    _names: tuple[str, ...]
    _arrays: Mapping[str, Array]

    @classmethod
    def of(cls, evaluated: EvaluatedNetwork, loss: Loss, targets: Array) -> RowLoss:
        """``targets`` are those of the loss, [1] or [1, n]. ``seed`` is dL/d output, one number per output unit."""
        arrays = {INPUT: evaluated.x[None]} | evaluated.weights
        values = {name: make_input(name or "x", array.shape, "float64") for name, array in arrays.items()}
        output, total = _loss(evaluated, loss, targets, values)
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
        """The derivative by one element, by the forward sweep."""
        (total,) = self._graph.outputs
        position = self._names.index(name)
        direction = np.zeros(self._arrays[name].shape)
        direction[index] = 1.0
        (tangent,) = jvp([total], [fixed(direction)], [self._graph.inputs[position]])
        if tangent is None:
            return 0.0
        (derivative,) = evaluate(Graph(self._graph.inputs, (tangent,)), list(self._arrays.values()))
        return float(derivative)

    def central(self, name: str, index: tuple[int, ...]) -> float:
        """The derivative by one element, by central differences of fourth order.

        (8 (L(+h) - L(-h)) - (L(+2h) - L(-2h))) / 12h, for several step sizes h. A large step may cross kinks; a
        small step suffers from rounding. Returned is the result whose distance to the next smaller step, plus the
        rounding error of that step, is smallest.
        """
        size = max(1.0, abs(float(self._arrays[name][index])))
        differences = [self._difference(name, index, step * size) for step in STEPS]
        rounding = [EPSILON * (1 + abs(self.loss)) / (step * size) for step in STEPS]
        errors = [
            abs(a - b) + noise for (a, b), noise in zip(pairwise(differences), rounding[1:], strict=True)
        ]
        return differences[int(np.argmin(errors))]

    def kink(self, name: str, index: tuple[int, ...]) -> bool:
        """Whether the loss has a kink here: the slopes on the two sides differ, also for very small steps."""
        scale = max(
            abs(float(self.gradients[name][index])), FLOOR * float(np.abs(self.gradients[name]).max())
        )
        size = max(1.0, abs(float(self._arrays[name][index])))
        center = self._at(name, index, 0.0)
        for step in (1e-4, 1e-6):
            h = step * size
            right, left = self._at(name, index, h) - center, center - self._at(name, index, -h)
            if abs(right - left) / h <= 0.01 * scale:
                return False
        return True

    def _at(self, name: str, index: tuple[int, ...], offset: float) -> float:
        shifted = self._arrays[name].copy()
        shifted[index] += offset
        (value,) = evaluate(self._graph, [shifted if key == name else a for key, a in self._arrays.items()])
        return float(value)

    def _difference(self, name: str, index: tuple[int, ...], h: float) -> float:
        def at(offset: float) -> float:
            return self._at(name, index, offset)

        return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)

    def error(self, name: str, index: tuple[int, ...], other: float) -> float:
        """The relative error of ``other`` against the derivative by the reverse sweep (see ``FLOOR``)."""
        derivative = float(self.gradients[name][index])
        scale = max(abs(derivative), FLOOR * float(np.abs(self.gradients[name]).max()))
        return abs(other - derivative) / scale if scale else abs(other - derivative)


def _loss(
    evaluated: EvaluatedNetwork, loss: Loss, targets: Array, values: Mapping[str, Value]
) -> tuple[Value, Value]:
    row_mask = fixed(np.ones(1, bool))
    weights = {name: value for name, value in values.items() if name != INPUT}
    state = {name: fixed(array) for name, array in evaluated.statistics.items()}
    built = evaluated.network.build(values[INPUT], weights, state, row_mask=row_mask)
    rows = loss.row_losses(built.output, fixed(targets))
    return built.output, loss.finish(weighted_mean(rows, fixed(np.ones(1))))
