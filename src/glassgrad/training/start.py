"""Initial weights: drawn on the host from named streams, fitted to data, or loaded from a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import InputError, unknown_name
from glassgrad.common.layer_names import layer_of, of_layer, own_values, split_name
from glassgrad.files.model_file import read_model
from glassgrad.files.run_folder import resolve_model
from glassgrad.graph.node import DType, Graph, Shape, Value
from glassgrad.init.initializers import LSUV, lsuv_scale, stream
from glassgrad.nn.layer import BuildContext
from glassgrad.nn.network import INPUT, LayerNode, Network
from glassgrad.ops.op import constant, make_input
from glassgrad.training.backends import backend
from glassgrad.training.model import Model
from glassgrad.training.settings import Settings
from glassgrad.training.task import Task

LSUV_ROWS = 512
"""The number of training rows that LSUV is fitted on."""


def initial_model(task: Task, settings: Settings) -> Model:
    """The network of ``task`` with its initial weights: drawn, loaded from a model, and fitted to the data."""
    schema, network, dtype = task.parts.schema, task.resolved.network, settings.dtype
    shape = schema.feature_shape
    weights = initial_weights(network, shape, seed=settings.seed, dtype=dtype)
    statistics = initial_statistics(network, shape, dtype=dtype)
    loaded_layers: Collection[str] = ()
    if settings.init_from is not None:
        source = Path(settings.init_from)
        weights, statistics = pretrained(source, weights, statistics, settings.init_layers)
        layer_names = [node.name for node in network.nodes]
        loaded_layers = layer_names if settings.init_layers is None else settings.init_layers
    weights = fit_to_data(network, weights, statistics, task.parts.train[0], loaded_layers)
    return Model(network, schema, task.resolved.loss, weights, statistics, dtype, backend(settings.backend))


def initial_weights(network: Network, input_shape: Shape, *, seed: int, dtype: DType) -> dict[str, Array]:
    """Every weight of the network, each drawn from the stream of (seed, its name)."""
    return {
        name: np.ascontiguousarray(
            item.init(stream(seed, name), item.shape, fan_in=item.fans[0], fan_out=item.fans[1]), dtype=dtype
        )
        for name, item in network.weights(input_shape).items()
    }


def initial_statistics(network: Network, input_shape: Shape, *, dtype: DType) -> dict[str, Array]:
    """The initial value of every running statistic of the network."""
    return {
        name: np.full(item.shape, item.fill, dtype) for name, item in network.statistics(input_shape).items()
    }


def fit_to_data(
    network: Network,
    weights: Mapping[str, Array],
    statistics: Mapping[str, Array],
    features: Array,
    keep: Collection[str] = (),
) -> dict[str, Array]:
    """Layer-sequential unit variance for weights with the initializer ``LSUV`` (D. Mishkin and J. Matas, 2016).

    Layer by layer, the weights are scaled until the pre-activations on the first ``LSUV_ROWS`` rows of ``features``
    (preprocessed) have the variance of the initializer. Layers in ``keep`` do not change. Raises InputError for a
    layer without a pre-activation, and for a pre-activation that does not vary.
    """
    weights = dict(weights)
    rows = np.ascontiguousarray(features[:LSUV_ROWS])
    initializers = {name: item.init for name, item in network.weights(rows.shape[1:]).items()}
    lsuv_layers = {layer_of(name) for name, init in initializers.items() if isinstance(init, LSUV)}
    if lsuv_layers <= set(keep):
        return weights
    outputs = {INPUT: rows}
    for node in network.nodes:
        inputs = [outputs[name] for name in node.inputs]
        for name, init in of_layer(initializers, node.name).items():
            if isinstance(init, LSUV) and node.name not in keep:
                _fit(node, name, init, inputs, weights, statistics)
        outputs[node.name] = _apply(node, inputs, weights, statistics)[0]
    return weights


def _fit(
    node: LayerNode,
    name: str,
    init: LSUV,
    inputs: Sequence[Array],
    weights: dict[str, Array],
    statistics: Mapping[str, Array],
) -> None:
    """Scale ``weights[name]`` in place until the pre-activation of ``node`` has the variance of ``init``."""
    for _ in range(init.iterations):
        preactivation = _apply(node, inputs, weights, statistics)[1]
        if preactivation is None:
            raise InputError(
                f"layer {node.name!r}: {split_name(name)[1]!r} cannot use lsuv, because the layer has no "
                "pre-activation; choose another initializer"
            )
        if abs(float(np.var(preactivation, dtype=np.float64)) - init.variance) <= init.tolerance:
            return
        try:
            scale = lsuv_scale(preactivation, init.variance)
        except InputError as error:
            raise InputError(f"layer {node.name!r}: {error}") from None
        weights[name] = (weights[name] * scale).astype(preactivation.dtype)


def _apply(
    node: LayerNode, inputs: Sequence[Array], weights: Mapping[str, Array], statistics: Mapping[str, Array]
) -> tuple[Array, Array | None]:
    """One layer in evaluation mode: its output, and its pre-activation if it has one."""
    arrays: list[Array] = []

    def add_input(array: Array) -> Value:
        arrays.append(array)
        return make_input(f"x{len(arrays)}", array.shape, cast(DType, array.dtype.name))

    def add_inputs_of_layer(by_name: Mapping[str, Array]) -> dict[str, Value]:
        return {key: add_input(array) for key, array in own_values(by_name, node.name).items()}

    values = [add_input(array) for array in inputs]
    params, state = add_inputs_of_layer(weights), add_inputs_of_layer(statistics)
    row_mask = constant(np.ones(len(inputs[0]), bool), "bool")
    context = BuildContext(node.name, 0, False, row_mask)
    output, _ = node.layer.build(context, values, params, state)
    inner = context.inner.get("preactivation")
    graph = Graph((*values, *params.values(), *state.values()), (output, output if inner is None else inner))
    results = evaluate(graph, arrays)
    return results[0], None if inner is None else results[1]


def pretrained(
    path: Path, weights: Mapping[str, Array], statistics: Mapping[str, Array], layers: Collection[str] | None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """``weights`` and ``statistics`` with the values of the saved model for all layers, or for ``layers``.

    Raises InputError for an unknown layer, and for a weight that the model lacks or has with another shape.
    """
    file = resolve_model(Path(path))
    tensors, _ = read_model(file)
    names = {layer_of(name) for name in weights}
    for layer in layers or ():
        if layer not in names:
            raise unknown_name("layer", layer, names)

    def replaced(arrays: Mapping[str, Array]) -> dict[str, Array]:
        result = {}
        for name, array in arrays.items():
            if layers is not None and layer_of(name) not in layers:
                result[name] = array
                continue
            saved = tensors.get(name)
            if saved is None or saved.shape != array.shape:
                difference = "does not have it" if saved is None else f"has it with shape {list(saved.shape)}"
                raise InputError(
                    f"{file}: the network needs {name!r} with shape {list(array.shape)}, the model "
                    f"{difference}; name the layers to load (--init-layers)"
                )
            result[name] = saved.astype(array.dtype)
        return result

    return replaced(weights), replaced(statistics)
