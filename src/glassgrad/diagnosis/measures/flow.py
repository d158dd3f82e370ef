"""Forward values and backward gradients of a network at given weights, layer by layer.

The interpreter computes them in float64 on some of the training rows, so that small gradients do not underflow and
nothing is compiled.
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
"""Upper limit of multiplications in one forward pass; larger networks are examined on fewer rows."""

NORM_ROWS = 24
ITERATIONS = 12
"""Iterations of the power method: a lower bound of the singular value, within a few percent (N. Higham, Matrix norms,
1992)."""


@dataclass(frozen=True)
class LayerFlow:
    """One layer. Sizes are root mean squares over rows and units; NaN for what the layer does not have.

    ``given``, ``preactivation`` and ``output`` are the sizes of its inputs, preactivations and outputs. ``spread`` is
    the standard deviation of its outputs over the rows. ``gradient``, ``sum_gradient`` and ``weight_gradient`` are
    the norms of the gradient of the loss with respect to its outputs, preactivations and weights.
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
    """All layers, in order, on ``rows`` rows. ``outputs`` holds the layers' outputs, and ``input``."""

    layers: tuple[LayerFlow, ...]
    rows: int
    loss: float
    outputs: Mapping[str, Array]

    def __getitem__(self, name: str) -> LayerFlow:
        return next(layer for layer in self.layers if layer.name == name)


def flow_of(subject: Subject, model: Model) -> Flow:
    """The flow through ``model`` in training mode, on some of the probe rows of ``subject``.

    It is computed in float64, or in the dtype of the run if a layer cannot be built in float64.
    """
    features, targets = subject.probe
    rows = _affordable_rows(model)
    features, targets = features[:rows], targets[:rows]
    try:
        return _flow(model, subject.run.model.loss, features, targets, "float64")
    except GraphError:
        return _flow(model, subject.run.model.loss, features, targets, subject.settings.dtype)


def _affordable_rows(model: Model) -> int:
    shapes = model.network.shapes(model.schema.feature_shape)
    work = 1.0
    for name, array in model.weights.items():
        shape = shapes[layer_of(name)]
        work += array.size * max(math.prod(shape) / max(shape[-1] if shape else 1, 1), 1)
    return int(np.clip(WORK / work, FEWEST_ROWS, ROWS))


def training_randomness(rows: int) -> Randomness:
    """Fixed random inputs of one training step."""
    seed, step = constant(np.array([1, 2]), "uint32"), constant(0, "uint32")
    return Randomness(seed, step, constant(np.arange(rows), "uint32"))


def _flow(model: Model, loss: Loss, features: Array, targets: Array, dtype: DType) -> Flow:
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
    output_cotangents = {
        name: by_output[built.outputs[name]] for name in names if built.outputs[name] in by_output
    }
    preactivation_cotangents = {
        name: _cotangent_before(built.outputs[name], output_cotangents[name], inner[name])
        for name in inner
        if name in output_cotangents
    }
    values: list[Value] = [total]
    for group in (built.outputs, inner, output_cotangents, preactivation_cotangents, by_weight):
        values += group.values()
    arrays = [features, targets, *model.weights.values(), *model.statistics.values()]
    results = iter(evaluate(Graph((x, t, *weights.values(), *state.values()), tuple(values)), arrays))
    loss_value = float(next(results))
    outputs = {name: next(results) for name in built.outputs}
    before = {name: next(results) for name in inner}
    gradients = {name: next(results) for name in output_cotangents}
    sums = {name: next(results) for name in preactivation_cotangents}
    slopes = {name: next(results) for name in by_weight}
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
            norm(*_of_node(node, slopes)) if _of_node(node, slopes) else math.nan,
            norm(*_of_node(node, model.weights)) if _of_node(node, model.weights) else math.nan,
        )
        for node in network.nodes
    )
    return Flow(layers, len(features), loss_value, outputs)


def _cotangent_before(output: Value, cotangent: Value, before: Value) -> Value:
    (cotangent_before,) = vjp([output], [cotangent], [before])
    return zeros_like(before) if cotangent_before is None else cotangent_before


def _of_node(node: LayerNode, named: Mapping[str, Array]) -> list[Array]:
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
    """The root of the mean variance over the rows of each element of ``array`` [rows, ...]."""
    with np.errstate(all="ignore"):
        return math.sqrt(float(np.mean(np.var(array.reshape(len(array), -1), axis=0, dtype=np.float64))))


# --- Jacobians -----------------------------------------------------------------------------------------------


def jacobian_norms(model: Model, flow: Flow) -> dict[str, float]:
    """The spectral norm of each layer's Jacobian: the median over rows of its largest singular value.

    The power method runs on J^T J for all rows at once and treats rows as independent, which is approximate for batch
    normalization. NaN if a layer cannot be differentiated in both modes, or takes integers.
    """
    return {node.name: _jacobian_norm(node, model, flow) for node in model.network.nodes}


def _jacobian_norm(node: LayerNode, model: Model, flow: Flow) -> float:
    arrays = [flow.outputs[name][:NORM_ROWS] for name in node.inputs]
    try:
        return _power_method(node, arrays, model)
    except GraphError:
        return math.nan


def _power_method(node: LayerNode, arrays: Sequence[Array], model: Model) -> float:
    dtype: DType = "float64" if arrays[0].dtype == np.float64 else "float32"
    weights, state = own_values(model.weights, node.name), own_values(model.statistics, node.name)
    rows = len(arrays[0])
    inputs = [make_input(f"x{i}", array.shape, dtype) for i, array in enumerate(arrays)]
    params = {k: make_input(k, a.shape, dtype) for k, a in weights.items()}
    statistics = {k: make_input(k, a.shape, dtype) for k, a in state.items()}
    row_mask = constant(np.ones(rows, bool), "bool")
    context = BuildContext(node.name, 0, True, row_mask, training_randomness(rows))
    output, _ = node.layer.build(context, inputs, params, statistics)
    if output in inputs:
        return 1.0
    directions = [make_input(f"u{i}", array.shape, dtype) for i, array in enumerate(arrays)]
    (pushed,) = jvp([output], directions, inputs)
    if pushed is None:
        return 0.0
    pulled = [
        zeros_like(v) if ct is None else ct
        for v, ct in zip(inputs, vjp([output], [pushed], inputs), strict=True)
    ]
    graph = Graph((*inputs, *params.values(), *statistics.values(), *directions), (pushed, *pulled))
    fixed = [*arrays, *weights.values(), *state.values()]
    random = np.random.default_rng(0)
    vectors = _unit([random.standard_normal(array.shape) for array in arrays])
    stretch = np.zeros(rows)
    for _ in range(ITERATIONS):
        image, *back = evaluate(graph, [*fixed, *vectors])
        stretch = np.sqrt(np.sum(np.square(image.reshape(rows, -1), dtype=np.float64), axis=1))
        if not np.isfinite(stretch).all() or not stretch.any():
            break
        vectors = _unit(back)
    return float(np.median(stretch))


def _unit(vectors: Sequence[Array]) -> list[Floats]:
    """``vectors`` [rows, ...], one per input, scaled so that each row has length 1 over all inputs."""
    rows = len(vectors[0])
    with np.errstate(all="ignore"):
        lengths = np.sqrt(sum(np.square(v.reshape(rows, -1)).sum(axis=1) for v in vectors))
        lengths = np.where(lengths > 0, lengths, 1.0)
        return [v / lengths.reshape(-1, *[1] * (v.ndim - 1)) for v in vectors]
