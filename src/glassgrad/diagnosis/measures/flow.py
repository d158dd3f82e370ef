"""A network looked into at given weights: values on their way forward, the gradient on its way back, layer by layer.

All of it in float64 on some of the training rows, by the interpreter: small gradients do not underflow, and nothing
is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glassgrad.autodiff.sweeps import jvp, vjp
from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError
from glassgrad.common.frozen import frozen
from glassgrad.common.layer_names import layer_of, of_layer, own_values
from glassgrad.diagnosis.core.plain import plain_object
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.graph.node import DType, Graph, Value
from glassgrad.losses.base import Loss, weighted_mean
from glassgrad.nn.layer import BuildContext, Randomness
from glassgrad.nn.network import LayerNode, kind_of
from glassgrad.ops.op import constant, make_input
from glassgrad.ops.structure import convert, zeros_like
from glassgrad.training.lenses import layer_gradients
from glassgrad.training.model import Model

Floats = npt.NDArray[np.float64]

ROWS = 256
FEWEST_ROWS = 16
WORK = 3e8
"""Multiplications of one pass forward: larger networks are looked into on fewer rows."""

NORM_ROWS = 24
ITERATIONS = 12
"""Of the power method: a singular value from below, to a few percent (N. Higham, Matrix norms, 1992)."""


@dataclass(frozen=True)
class LayerFlow:
    """One layer on its way. Sizes are root mean squares over rows and units; NaN of what a layer does not have.

    ``given`` is the size of its inputs, ``preactivation`` and ``output`` what it makes of them, ``spread`` how far
    its outputs differ from row to row. ``gradient`` is the norm of the gradient of the loss by all its outputs,
    ``sum_gradient`` that by its sums before the activation, ``weight_gradient`` that by its weights.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    given: float
    preactivation: float
    output: float
    spread: float
    gradient: float
    sum_gradient: float
    weight_gradient: float
    weight_norm: float

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return plain_object(vars(self))


@frozen
class Flow:
    """All layers, in order, on ``rows`` rows. ``outputs`` are the layers' outputs, ``input`` among them."""

    layers: tuple[LayerFlow, ...]
    rows: int
    loss: float
    outputs: Mapping[str, Array]

    def __getitem__(self, name: str) -> LayerFlow:
        return next(layer for layer in self.layers if layer.name == name)


def look(subject: Subject, model: Model) -> Flow:
    """``subject``'s network with the weights of ``model``, in training, on some of the probe rows.

    In the dtype of the run where a layer cannot be built in float64.
    """
    features, targets = subject.probe
    rows = _affordable_rows(model)
    features, targets = features[:rows], targets[:rows]
    try:
        return _look(model, subject.run.model.loss, features, targets, "float64")
    except GraphError:
        return _look(model, subject.run.model.loss, features, targets, subject.settings.dtype)


def _affordable_rows(model: Model) -> int:
    shapes = model.network.shapes(model.schema.feature_shape)
    work = 1.0
    for name, array in model.weights.items():
        shape = shapes[layer_of(name)]
        work += array.size * max(math.prod(shape) / max(shape[-1] if shape else 1, 1), 1)
    return int(np.clip(WORK / work, FEWEST_ROWS, ROWS))


def training_randomness(rows: int) -> Randomness:
    """The random inputs of one step, always the same."""
    seed, step = constant(np.array([1, 2]), "uint32"), constant(0, "uint32")
    return Randomness(seed, step, constant(np.arange(rows), "uint32"))


def _look(model: Model, loss: Loss, features: Array, targets: Array, dtype: DType) -> Flow:
    network = model.network
    x = make_input("features", features.shape, dtype)
    t = make_input("targets", targets.shape, "int32" if targets.dtype.kind == "i" else dtype)
    weights = {key: make_input(key, array.shape, dtype) for key, array in model.weights.items()}
    state = {key: make_input(key, array.shape, dtype) for key, array in model.statistics.items()}
    row_mask = constant(np.ones(len(features), bool), "bool")
    built = network.build(x, weights, state, row_mask=row_mask, random=training_randomness(len(features)))
    total = loss.finish(weighted_mean(loss.row_losses(built.output, t), convert(row_mask, dtype)))
    by_output, by_weight = layer_gradients(network, built, total, weights)
    names = [node.name for node in network.nodes]
    inner = {
        name: built.inner[f"{name}.preactivation"] for name in names if f"{name}.preactivation" in built.inner
    }
    reached = {name: by_output[built.outputs[name]] for name in names if built.outputs[name] in by_output}
    by_sum = {
        name: _back_to(built.outputs[name], reached[name], inner[name]) for name in inner if name in reached
    }
    wanted: list[Value] = [total]
    for group in (built.outputs, inner, reached, by_sum, by_weight):
        wanted += group.values()
    arrays = [features, targets, *model.weights.values(), *model.statistics.values()]
    found = iter(evaluate(Graph((x, t, *weights.values(), *state.values()), tuple(wanted)), arrays))
    value = float(next(found))
    outputs = {name: next(found) for name in built.outputs}
    before = {name: next(found) for name in inner}
    gradients = {name: next(found) for name in reached}
    sums = {name: next(found) for name in by_sum}
    slopes = {name: next(found) for name in by_weight}
    layers = tuple(
        LayerFlow(
            node.name,
            kind_of(node.layer),
            node.inputs,
            size(*(outputs[source] for source in node.inputs)),
            size(before[node.name]) if node.name in before else math.nan,
            size(outputs[node.name]),
            spread(outputs[node.name]),
            norm(gradients[node.name]) if node.name in gradients else math.nan,
            norm(sums[node.name]) if node.name in sums else math.nan,
            norm(*_own(node, slopes)) if _own(node, slopes) else math.nan,
            norm(*_own(node, model.weights)) if _own(node, model.weights) else math.nan,
        )
        for node in network.nodes
    )
    return Flow(layers, len(features), value, outputs)


def _back_to(output: Value, cotangent: Value, before: Value) -> Value:
    (found,) = vjp([output], [cotangent], [before])
    return zeros_like(before) if found is None else found


def _own(node: LayerNode, named: Mapping[str, Array]) -> list[Array]:
    return list(of_layer(named, node.name).values())


def size(*arrays: Array) -> float:
    """The root mean square of all elements."""
    with np.errstate(all="ignore"):
        squares = sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays)
        return math.sqrt(squares / max(sum(array.size for array in arrays), 1))


def norm(*arrays: Array) -> float:
    """The Euclidean norm of all elements."""
    with np.errstate(all="ignore"):
        return math.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays))


def spread(array: Array) -> float:
    """How far rows [rows, ...] differ: the root of the mean variance of an element over the rows."""
    with np.errstate(all="ignore"):
        return math.sqrt(float(np.mean(np.var(array.reshape(len(array), -1), axis=0, dtype=np.float64))))


# --- Jacobians -----------------------------------------------------------------------------------------------


def jacobian_norms(model: Model, flow: Flow) -> dict[str, float]:
    """The spectral norm of each layer's Jacobian: the median over rows of the largest factor by which it can stretch.

    By the power method on J^T J, for all rows at once, as if rows did not touch (those of a batch normalization do,
    a little). NaN where a layer cannot be differentiated both ways, or takes whole numbers.
    """
    return {node.name: _jacobian_norm(node, model, flow) for node in model.network.nodes}


def _jacobian_norm(node: LayerNode, model: Model, flow: Flow) -> float:
    given = [flow.outputs[name][:NORM_ROWS] for name in node.inputs]
    try:
        return _power_method(node, given, model)
    except GraphError:
        return math.nan


def _power_method(node: LayerNode, given: Sequence[Array], model: Model) -> float:
    dtype: DType = "float64" if given[0].dtype == np.float64 else "float32"
    weights, state = own_values(model.weights, node.name), own_values(model.statistics, node.name)
    rows = len(given[0])
    inputs = [make_input(f"x{i}", array.shape, dtype) for i, array in enumerate(given)]
    params = {k: make_input(k, a.shape, dtype) for k, a in weights.items()}
    kept = {k: make_input(k, a.shape, dtype) for k, a in state.items()}
    row_mask = constant(np.ones(rows, bool), "bool")
    context = BuildContext(node.name, 0, True, row_mask, training_randomness(rows))
    output, _ = node.layer.build(context, inputs, params, kept)
    if output in inputs:
        return 1.0
    directions = [make_input(f"u{i}", array.shape, dtype) for i, array in enumerate(given)]
    (pushed,) = jvp([output], directions, inputs)
    if pushed is None:
        return 0.0
    pulled = [
        zeros_like(v) if ct is None else ct
        for v, ct in zip(inputs, vjp([output], [pushed], inputs), strict=True)
    ]
    graph = Graph((*inputs, *params.values(), *kept.values(), *directions), (pushed, *pulled))
    fixed = [*given, *weights.values(), *state.values()]
    random = np.random.default_rng(0)
    vectors = _unit([random.standard_normal(array.shape) for array in given])
    stretch = np.zeros(rows)
    for _ in range(ITERATIONS):
        image, *back = evaluate(graph, [*fixed, *vectors])
        stretch = np.sqrt(np.sum(np.square(image.reshape(rows, -1), dtype=np.float64), axis=1))
        if not np.isfinite(stretch).all() or not stretch.any():
            break
        vectors = _unit(back)
    return float(np.median(stretch))


def _unit(vectors: Sequence[Array]) -> list[Floats]:
    """Vectors [rows, ...], of all inputs together, each row to length 1."""
    rows = len(vectors[0])
    with np.errstate(all="ignore"):
        lengths = np.sqrt(sum(np.square(v.reshape(rows, -1)).sum(axis=1) for v in vectors))
        lengths = np.where(lengths > 0, lengths, 1.0)
        return [v / lengths.reshape(-1, *[1] * (v.ndim - 1)) for v in vectors]
