"""The derivative taken on the whole graph at once, in three ways that have nothing in common with the paths.

* the reverse sweep, which gives the derivative by every weight and input in one go;
* the forward sweep along the one weight or input (an independent direction: no cotangent is in it);
* a central difference of the loss, without any derivative rule.
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
"""The name under which the network's input stands among the weights."""

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Relative widths of the central difference that are tried."""

EPSILON = float(np.finfo(np.float64).eps)

FLOOR = 1e-3
"""Errors are relative to the derivative, or to this share of the largest one of the same tensor if that is larger.

Below it a difference of two losses has no digits left to show.
"""


@frozen
class Whole:
    """The loss of one row as a function of all weights and of the input, and its derivatives."""

    loss: float
    seed: Array
    gradients: Mapping[str, Array]
    _graph: Graph
    _places: tuple[str, ...]
    _arrays: Mapping[str, Array]

    @classmethod
    def of(cls, anatomy: Anatomy, loss: Loss, targets: Array) -> Whole:
        """``targets`` [1] or [1, n], as the loss takes them. ``seed`` is dL/d output of every unit of the output."""
        arrays = {INPUT: anatomy.x[None]} | anatomy.weights
        values = {name: make_input(name or "x", array.shape, "float64") for name, array in arrays.items()}
        output, total = _loss(anatomy, loss, targets, values)
        wanted = gradient(total, [*values.values(), output])
        graph = Graph(tuple(values.values()), (total, *wanted))
        found = evaluate(graph, list(arrays.values()))
        gradients = dict(zip(arrays, found[1:-1], strict=True))
        return cls(
            float(found[0]),
            found[-1].reshape(-1),
            gradients,
            Graph(tuple(values.values()), (total,)),
            tuple(arrays),
            arrays,
        )

    def forward(self, name: str, index: tuple[int, ...]) -> float:
        """The derivative by one element, by the forward sweep."""
        (total,) = self._graph.outputs
        which = self._places.index(name)
        one = np.zeros(self._arrays[name].shape)
        one[index] = 1.0
        (moved,) = jvp([total], [fixed(one)], [self._graph.inputs[which]])
        if moved is None:
            return 0.0
        (found,) = evaluate(Graph(self._graph.inputs, (moved,)), list(self._arrays.values()))
        return float(found)

    def central(self, name: str, index: tuple[int, ...]) -> float:
        """The derivative by one element, by central differences of fourth order.

        (8 (L(+h) - L(-h)) - (L(+2h) - L(-2h))) / 12h, for several widths h; taken are the two that follow one
        another and agree best, beyond what rounding alone may do: too wide a step crosses kinks, too narrow a one
        drowns in rounding.
        """
        size = max(1.0, abs(float(self._arrays[name][index])))
        found = [self._difference(name, index, step * size) for step in STEPS]
        rounding = [EPSILON * (1 + abs(self.loss)) / (step * size) for step in STEPS]
        apart = [abs(a - b) + noise for (a, b), noise in zip(pairwise(found), rounding[1:], strict=True)]
        best = int(np.argmin(apart))
        return found[best]

    def kink(self, name: str, index: tuple[int, ...]) -> bool:
        """Whether the loss has a corner here: its slopes to both sides differ, however near one looks."""
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
        moved = self._arrays[name].copy()
        moved[index] += offset
        (value,) = evaluate(self._graph, [moved if key == name else a for key, a in self._arrays.items()])
        return float(value)

    def _difference(self, name: str, index: tuple[int, ...], h: float) -> float:
        def at(offset: float) -> float:
            return self._at(name, index, offset)

        return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)

    def error(self, name: str, index: tuple[int, ...], other: float) -> float:
        """How far ``other`` is from the derivative by the reverse sweep, relative (see ``FLOOR``)."""
        mine = float(self.gradients[name][index])
        scale = max(abs(mine), FLOOR * float(np.abs(self.gradients[name]).max()))
        return abs(other - mine) / scale if scale else abs(other - mine)


def _loss(anatomy: Anatomy, loss: Loss, targets: Array, values: Mapping[str, Value]) -> tuple[Value, Value]:
    row_mask = fixed(np.ones(1, bool))
    weights = {name: value for name, value in values.items() if name != INPUT}
    state = {name: fixed(array) for name, array in anatomy.statistics.items()}
    built = anatomy.network.build(values[INPUT], weights, state, row_mask=row_mask)
    rows = loss.row_losses(built.output, fixed(targets))
    return built.output, loss.finish(weighted_mean(rows, fixed(np.ones(1))))
