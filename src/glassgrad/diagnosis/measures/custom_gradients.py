"""Checks the derivatives of custom layers, activations and losses against central differences.

The check finds wrong derivative rules of custom ops, and layers that block the gradient by mistake.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.autodiff.sweeps import vjp
from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError
from glassgrad.common.layer_names import own_values
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.measures.flow import Flow, training_randomness
from glassgrad.graph.node import DType, Graph, Node, Value
from glassgrad.graph.rebuild import copy_node, inline, rebuild
from glassgrad.losses.base import Loss
from glassgrad.nn.activations import Activation
from glassgrad.nn.layer import BuildContext
from glassgrad.nn.network import LayerNode, own_activation
from glassgrad.ops.custom import CALL
from glassgrad.ops.op import constant, make_input
from glassgrad.ops.structure import zeros_like
from glassgrad.training.model import Model

Floats = npt.NDArray[np.float64]

ROWS = 8
SEEDS = (1, 2, 3)
DIRECTIONS = 6
STEP: dict[DType, float] = {"float64": 1e-5, "float32": 1e-2}
"""Step of the central difference. Its error is about step^2 for smooth functions, plus rounding / step."""

COTANGENT = 1e-3
"""Size of the cotangents: small, so that a rule that clips large gradients does not count as wrong."""

FLOATS: tuple[DType, ...] = ("float64", "float32")

FLAT_SHARE = 1e-9
"""If the central differences are below this share of the rule's derivative, the function may be piecewise constant,
and the rule a straight-through estimator (Y. Bengio et al., 2013)."""

Function = Callable[[Sequence[Value]], list[Value]]


@dataclass(frozen=True)
class GradientCheck:
    """The check of one custom part with respect to one argument ``by``.

    ``errors`` are relative errors of its derivative, one per seed. ``inside`` are those of the chain rule through the
    part's ops, without its derivative rule. ``factor`` is the rule's derivative in units of the true one, projected
    onto it. ``meant`` says that the function is piecewise constant, so that the rule differs on purpose.
    """

    where: str
    part: str
    by: str
    errors: tuple[float, ...]
    inside: tuple[float, ...]
    factor: float
    meant: bool

    @property
    def error(self) -> float:
        """The largest error; 0 if the rule differs on purpose."""
        return 0.0 if self.meant else max(self.errors)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object({**vars(self), "error": self.error})


@dataclass(frozen=True)
class _Case:
    """A function of ``arrays``, which ``names`` describe. Only floating-point arguments are differentiated."""

    where: str
    part: str
    names: tuple[str, ...]
    arrays: tuple[Array, ...]
    build: Function


def is_custom(part: Any) -> bool:
    """Whether a part is defined outside Glassgrad."""
    return not type(part).__module__.startswith("glassgrad.")


def check_custom_gradients(points: Sequence[tuple[Model, Flow]], targets: Array) -> list[GradientCheck]:
    """Check every custom part at each of ``points``; the worst result for each part and argument."""
    worst: dict[tuple[str, str, str], GradientCheck] = {}
    for model, flow in points:
        for case in _cases(model, flow, targets):
            for check in _checks(case):
                key = (check.where, check.part, check.by)
                if key not in worst or check.error > worst[key].error:
                    worst[key] = check
    return list(worst.values())


def _cases(model: Model, flow: Flow, targets: Array) -> Iterator[_Case]:
    for node in model.network.nodes:
        if is_custom(node.layer):
            yield _layer(node, model, flow)
            continue
        part = own_activation(node.layer)
        if part is not None and is_custom(part):
            z = np.random.default_rng(0).normal(0.0, 2.0, (ROWS, 8))
            yield _Case(node.name, _name(part), ("its input",), (z,), _elementwise(part))
    if is_custom(model.loss):
        outputs = flow.outputs[model.network.output][:ROWS]
        truth = targets[: len(outputs)]

        def row_losses(values: Sequence[Value]) -> list[Value]:
            kind: DType = "int32" if truth.dtype.kind == "i" else values[0].dtype
            return [model.loss.row_losses(values[0], constant(truth, kind))]

        yield _Case("loss", _name(model.loss), ("the outputs",), (outputs,), row_losses)


def _elementwise(part: Activation) -> Function:
    return lambda values: [part(values[0])]


def _name(part: Any) -> str:
    return part.name if isinstance(part, Activation | Loss) else type(part).__name__


def _layer(node: LayerNode, model: Model, flow: Flow) -> _Case:
    layer_inputs = [flow.outputs[name][:ROWS] for name in node.inputs]
    weights, state = own_values(model.weights, node.name), own_values(model.statistics, node.name)
    rows = len(layer_inputs[0])

    def build(values: Sequence[Value]) -> list[Value]:
        dtype = values[0].dtype
        row_mask = constant(np.ones(rows, bool), "bool")
        context = BuildContext(node.name, 0, True, row_mask, training_randomness(rows))
        statistics = {key: constant(array, dtype) for key, array in state.items()}
        params: Mapping[str, Value] = dict(zip(weights, values[len(layer_inputs) :], strict=True))
        return [node.layer.build(context, list(values[: len(layer_inputs)]), params, statistics)[0]]

    several = len(layer_inputs) > 1
    names = [f"its input {i + 1}" if several else "its input" for i in range(len(layer_inputs))]
    arrays = (*layer_inputs, *weights.values())
    return _Case(node.name, type(node.layer).__name__, (*names, *weights), arrays, build)


def _checks(case: _Case) -> list[GradientCheck]:
    for dtype in FLOATS:
        try:
            return _Check(case, dtype).run()
        except GraphError:  # The part supports one dtype only.
            continue
    return []


class _Check:
    """One case in one dtype."""

    def __init__(self, case: _Case, dtype: DType) -> None:
        self.case, self.dtype, self.step = case, dtype, STEP[dtype]
        self.arrays = [np.asarray(array, dtype) for array in case.arrays]
        self.values = [make_input(f"x{i}", array.shape, dtype) for i, array in enumerate(self.arrays)]
        self.outputs = [value for value in case.build(self.values) if value.type.is_float]
        self.forward = Graph(tuple(self.values), tuple(self.outputs))
        self.cotangents = [make_input(f"ct{i}", value.shape, dtype) for i, value in enumerate(self.outputs)]
        self.backward = self._backward(self.outputs)
        self.inside = self._backward(_without_rules(self.forward))

    def _backward(self, outputs: Sequence[Value]) -> Graph:
        gradients = vjp(outputs, self.cotangents, self.values)
        slopes = [zeros_like(v) if ct is None else ct for v, ct in zip(self.values, gradients, strict=True)]
        return Graph((*self.values, *self.cotangents), tuple(slopes))

    def run(self) -> list[GradientCheck]:
        """One result for each argument; empty if the function is not finite at this point."""
        if not all(np.isfinite(array).all() for array in evaluate(self.forward, self.arrays)):
            return []
        derivatives: list[list[tuple[Floats, Floats, Floats]]] = [[] for _ in self.arrays]
        for seed in SEEDS:
            random = np.random.default_rng(seed)
            weights = [COTANGENT * random.standard_normal(value.shape) for value in self.outputs]
            by_rule, by_ops = (
                evaluate(graph, [*self.arrays, *weights]) for graph in (self.backward, self.inside)
            )
            for index in range(len(self.arrays)):
                derivatives[index].append(self._along(index, weights, by_rule[index], by_ops[index], random))
        return [self._entry(index, items) for index, items in enumerate(derivatives)]

    def _along(
        self, index: int, weights: Sequence[Array], by_rule: Array, by_ops: Array, random: np.random.Generator
    ) -> tuple[Floats, Floats, Floats]:
        """Derivatives [directions] along random directions: by central differences, by the rule, and by the ops."""
        measured, ruled, through = np.zeros(DIRECTIONS), np.zeros(DIRECTIONS), np.zeros(DIRECTIONS)
        array = self.arrays[index]
        scale = np.maximum(1.0, np.abs(array))
        for i in range(DIRECTIONS):
            direction = scale * random.standard_normal(array.shape)
            ends = [self._at(index, array + sign * self.step * direction, weights) for sign in (1, -1)]
            measured[i] = (ends[0] - ends[1]) / (2 * self.step)
            ruled[i] = float(np.sum(by_rule * direction, dtype=np.float64))
            through[i] = float(np.sum(by_ops * direction, dtype=np.float64))
        return measured, ruled, through

    def _at(self, index: int, array: Array, weights: Sequence[Array]) -> float:
        arrays = [*self.arrays]
        arrays[index] = array
        outputs = evaluate(self.forward, arrays)
        return sum(float(np.sum(w * y, dtype=np.float64)) for w, y in zip(weights, outputs, strict=True))

    def _entry(self, index: int, items: Sequence[tuple[Floats, Floats, Floats]]) -> GradientCheck:
        case = self.case
        measured, ruled, _ = (np.concatenate(column) for column in zip(*items, strict=True))
        length = float(measured @ measured)
        return GradientCheck(
            case.where,
            case.part,
            case.names[index],
            tuple(_error(m, g) for m, g, _ in items),
            tuple(_error(m, t) for m, _, t in items),
            float(measured @ ruled) / length if length > 0 else math.inf if ruled.any() else 1.0,
            self._is_piecewise_constant(index, measured, ruled),
        )

    def _is_piecewise_constant(self, index: int, measured: Floats, ruled: Floats) -> bool:
        """Whether the function is constant nearby and changes further away, while its rule gives a slope."""
        if not ruled.any() or np.median(np.abs(measured)) > FLAT_SHARE * np.median(np.abs(ruled)):
            return False
        far = [*self.arrays]
        far[index] = far[index] + 3.0 * np.random.default_rng(len(SEEDS) + 7).standard_normal(
            far[index].shape
        )
        pairs = zip(evaluate(self.forward, self.arrays), evaluate(self.forward, far), strict=True)
        return any(not np.array_equal(here, there) for here, there in pairs)


def _error(measured: Floats, derived: Floats) -> float:
    """The distance of two vectors, relative to the longer one; Inf if a value is not finite."""
    largest = max(float(np.linalg.norm(measured)), float(np.linalg.norm(derived)))
    if not math.isfinite(largest):
        return math.inf
    return float(np.linalg.norm(measured - derived)) / largest if largest > 0 else 0.0


def _without_rules(graph: Graph) -> tuple[Value, ...]:
    """The outputs of ``graph`` with all custom ops inlined, so that the chain rule goes through their bodies."""

    def visit(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        if node.op.name != "call" or node.op is CALL:
            return copy_node(node, inputs)
        (body,) = node.regions
        return inline(Graph(body.inputs, _without_rules(body)), inputs)

    return rebuild(graph, visit)
