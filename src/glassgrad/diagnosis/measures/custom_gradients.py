"""The user's own layers, activations and losses: is their derivative what central differences find?

Glassgrad's own parts are tested; a derivative rule that a user wrote for an op of their own is not, and neither is a
layer that cuts the gradient off by mistake.
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
"""Of the central difference: its error is about step^2 for smooth functions, and rounding / step."""

COTANGENT = 1e-3
"""The size of the gradients that are handed back: small, so that a rule that clips large ones does not count as
wrong."""

FLOATS: tuple[DType, ...] = ("float64", "float32")

STEPS_ASIDE = 1e-9
"""Where the function stands still in every small neighbourhood and the rule gives a slope all the same, the rule is
meant that way (a straight-through estimator: Y. Bengio et al., 2013)."""

Function = Callable[[Sequence[Value]], list[Value]]


@dataclass(frozen=True)
class GradientCheck:
    """One part and what it was differentiated by. ``errors`` are relative, one per seed; those ``inside`` are what
    the chain rule through the part's own ops gives, without its rule. ``factor`` is the rule's derivative in units of
    the true one, along it; ``meant`` says that the function has steps, which a rule must replace.
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
        """The largest of the errors; 0 where the rule is meant to differ."""
        return 0.0 if self.meant else max(self.errors)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object({**vars(self), "error": self.error})


@dataclass(frozen=True)
class _Case:
    """A function of arrays: ``names`` say what each is. Only floats are differentiated by."""

    where: str
    part: str
    names: tuple[str, ...]
    arrays: tuple[Array, ...]
    build: Function


def is_custom(part: Any) -> bool:
    """Whether a part is the user's."""
    return not type(part).__module__.startswith("glassgrad.")


def check_custom_gradients(points: Sequence[tuple[Model, Flow]], targets: Array) -> list[GradientCheck]:
    """Every part that is not Glassgrad's, at each of ``points``; the worst of each part and argument."""
    worst: dict[tuple[str, str, str], GradientCheck] = {}
    for model, flow in points:
        for case in _cases(model, flow, targets):
            for found in _checks(case):
                key = (found.where, found.part, found.by)
                if key not in worst or found.error > worst[key].error:
                    worst[key] = found
    return list(worst.values())


def _cases(model: Model, flow: Flow, targets: Array) -> Iterator[_Case]:
    for node in model.network.nodes:
        if is_custom(node.layer):
            yield _layer(node, model, flow)
            continue
        part = own_activation(node.layer)
        if part is not None and is_custom(part):
            z = np.random.default_rng(0).normal(0.0, 2.0, (ROWS, 8))
            yield _Case(node.name, _called(part), ("its input",), (z,), _of_one(part))
    if is_custom(model.loss):
        outputs = flow.outputs[model.network.output][:ROWS]
        known = targets[: len(outputs)]

        def row_losses(values: Sequence[Value]) -> list[Value]:
            kind: DType = "int32" if known.dtype.kind == "i" else values[0].dtype
            return [model.loss.row_losses(values[0], constant(known, kind))]

        yield _Case("loss", _called(model.loss), ("the outputs",), (outputs,), row_losses)


def _of_one(part: Activation) -> Function:
    return lambda values: [part(values[0])]


def _called(part: Any) -> str:
    return part.name if isinstance(part, Activation | Loss) else type(part).__name__


def _layer(node: LayerNode, model: Model, flow: Flow) -> _Case:
    given = [flow.outputs[name][:ROWS] for name in node.inputs]
    weights, state = own_values(model.weights, node.name), own_values(model.statistics, node.name)
    rows = len(given[0])

    def build(values: Sequence[Value]) -> list[Value]:
        dtype = values[0].dtype
        row_mask = constant(np.ones(rows, bool), "bool")
        context = BuildContext(node.name, 0, True, row_mask, training_randomness(rows))
        kept = {key: constant(array, dtype) for key, array in state.items()}
        own: Mapping[str, Value] = dict(zip(weights, values[len(given) :], strict=True))
        return [node.layer.build(context, list(values[: len(given)]), own, kept)[0]]

    several = len(given) > 1
    names = [f"its input {i + 1}" if several else "its input" for i in range(len(given))]
    return _Case(node.name, type(node.layer).__name__, (*names, *weights), (*given, *weights.values()), build)


def _checks(case: _Case) -> list[GradientCheck]:
    for dtype in FLOATS:
        try:
            return _Check(case, dtype).run()
        except GraphError:  # a part that makes values of one dtype only
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
        found = vjp(outputs, self.cotangents, self.values)
        slopes = [zeros_like(v) if ct is None else ct for v, ct in zip(self.values, found, strict=True)]
        return Graph((*self.values, *self.cotangents), tuple(slopes))

    def run(self) -> list[GradientCheck]:
        """One entry for each argument; none where the function gives no number here."""
        if not all(np.isfinite(array).all() for array in evaluate(self.forward, self.arrays)):
            return []
        found: list[list[tuple[Floats, Floats, Floats]]] = [[] for _ in self.arrays]
        for seed in SEEDS:
            random = np.random.default_rng(seed)
            weights = [COTANGENT * random.standard_normal(value.shape) for value in self.outputs]
            own, inside = (
                evaluate(graph, [*self.arrays, *weights]) for graph in (self.backward, self.inside)
            )
            for place in range(len(self.arrays)):
                found[place].append(self._along(place, weights, own[place], inside[place], random))
        return [self._entry(place, items) for place, items in enumerate(found)]

    def _along(
        self, place: int, weights: Sequence[Array], own: Array, inside: Array, random: np.random.Generator
    ) -> tuple[Floats, Floats, Floats]:
        """Derivatives along random directions: by central differences, by the part's rule, by its ops."""
        measured, given, through = np.zeros(DIRECTIONS), np.zeros(DIRECTIONS), np.zeros(DIRECTIONS)
        array = self.arrays[place]
        scale = np.maximum(1.0, np.abs(array))
        for i in range(DIRECTIONS):
            direction = scale * random.standard_normal(array.shape)
            ends = [self._at(place, array + sign * self.step * direction, weights) for sign in (1, -1)]
            measured[i] = (ends[0] - ends[1]) / (2 * self.step)
            given[i] = float(np.sum(own * direction, dtype=np.float64))
            through[i] = float(np.sum(inside * direction, dtype=np.float64))
        return measured, given, through

    def _at(self, place: int, array: Array, weights: Sequence[Array]) -> float:
        arrays = [*self.arrays]
        arrays[place] = array
        outputs = evaluate(self.forward, arrays)
        return sum(float(np.sum(w * y, dtype=np.float64)) for w, y in zip(weights, outputs, strict=True))

    def _entry(self, place: int, items: Sequence[tuple[Floats, Floats, Floats]]) -> GradientCheck:
        case = self.case
        measured, given, _ = (np.concatenate(column) for column in zip(*items, strict=True))
        length = float(measured @ measured)
        return GradientCheck(
            case.where,
            case.part,
            case.names[place],
            tuple(_error(m, g) for m, g, _ in items),
            tuple(_error(m, t) for m, _, t in items),
            float(measured @ given) / length if length > 0 else math.inf if given.any() else 1.0,
            self._has_steps(place, measured, given),
        )

    def _has_steps(self, place: int, measured: Floats, given: Floats) -> bool:
        """Whether the function stands still nearby, moves further away, and has a rule that says otherwise."""
        if not given.any() or np.median(np.abs(measured)) > STEPS_ASIDE * np.median(np.abs(given)):
            return False
        far = [*self.arrays]
        far[place] = far[place] + 3.0 * np.random.default_rng(len(SEEDS) + 7).standard_normal(
            far[place].shape
        )
        pairs = zip(evaluate(self.forward, self.arrays), evaluate(self.forward, far), strict=True)
        return any(not np.array_equal(here, there) for here, there in pairs)


def _error(measured: Floats, given: Floats) -> float:
    """The distance of two vectors, relative to the longer; Inf for what is not finite."""
    largest = max(float(np.linalg.norm(measured)), float(np.linalg.norm(given)))
    if not math.isfinite(largest):
        return math.inf
    return float(np.linalg.norm(measured - given)) / largest if largest > 0 else 0.0


def _without_rules(graph: Graph) -> tuple[Value, ...]:
    """The outputs of ``graph`` with every op of the user's opened, so that the chain rule goes through its body."""

    def visit(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        if node.op.name != "call" or node.op is CALL:
            return copy_node(node, inputs)
        (body,) = node.regions
        return inline(Graph(body.inputs, _without_rules(body)), inputs)

    return rebuild(graph, visit)
