"""Where the weights start: drawn on the host from named streams, fitted to data, or taken from a model."""

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


def initial_model(task: Task, settings: Settings) -> Model:
    """The network of ``task`` with its initial weights: drawn, taken from a model, fitted to the data."""
    schema, network, dtype = task.parts.schema, task.resolved.network, settings.dtype
    shape = schema.feature_shape
    weights = initial_weights(network, shape, seed=settings.seed, dtype=dtype)
    statistics = initial_statistics(network, shape, dtype=dtype)
    taken: Collection[str] = ()
    if settings.init_from is not None:
        source = Path(settings.init_from)
        weights, statistics = pretrained(source, weights, statistics, settings.init_layers)
        every = [node.name for node in network.nodes]
        taken = every if settings.init_layers is None else settings.init_layers
    weights = fit_to_data(network, weights, statistics, task.parts.train[0], taken)
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
    """Every statistic of the network at its start."""
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
    """Layer-sequential unit variance for the weights that ask for it (D. Mishkin and J. Matas, 2016).

    Layer by layer, in order, the weights are scaled until the pre-activations on ``features`` (the first 512
    rows, already prepared) have the variance asked for. Layers in ``keep`` stay as they are. Raises
    InputError where a layer has no pre-activation, or one that does not vary.
    """
    weights = dict(weights)
    rows = np.ascontiguousarray(features[:LSUV_ROWS])
    wanted = {name: item.init for name, item in network.weights(rows.shape[1:]).items()}
    asked = {layer_of(name) for name, init in wanted.items() if isinstance(init, LSUV)}
    if asked <= set(keep):
        return weights
    known = {INPUT: rows}
    for node in network.nodes:
        given = [known[name] for name in node.inputs]
        for name, init in of_layer(wanted, node.name).items():
            if isinstance(init, LSUV) and node.name not in keep:
                _fit(node, name, init, given, weights, statistics)
        known[node.name] = _apply(node, given, weights, statistics)[0]
    return weights


def _fit(
    node: LayerNode,
    name: str,
    init: LSUV,
    given: Sequence[Array],
    weights: dict[str, Array],
    statistics: Mapping[str, Array],
) -> None:
    """Scale ``weights[name]`` until the pre-activation of ``step`` has the variance asked for."""
    for _ in range(init.iterations):
        found = _apply(node, given, weights, statistics)[1]
        if found is None:
            raise InputError(
                f"layer {node.name!r}: {split_name(name)[1]!r} cannot start from lsuv, since the layer has no "
                "pre-activation to bring to unit variance; choose another initializer"
            )
        if abs(float(np.var(found, dtype=np.float64)) - init.variance) <= init.tolerance:
            return
        try:
            scale = lsuv_scale(found, init.variance)
        except InputError as error:
            raise InputError(f"layer {node.name!r}: {error}") from None
        weights[name] = (weights[name] * scale).astype(found.dtype)


def _apply(
    node: LayerNode, given: Sequence[Array], weights: Mapping[str, Array], statistics: Mapping[str, Array]
) -> tuple[Array, Array | None]:
    """One layer in use: its output and its pre-activation, if it has one."""
    arrays: list[Array] = []

    def take(array: Array) -> Value:
        arrays.append(array)
        return make_input(f"x{len(arrays)}", array.shape, cast(DType, array.dtype.name))

    def own(named: Mapping[str, Array]) -> dict[str, Value]:
        return {key: take(array) for key, array in own_values(named, node.name).items()}

    inputs = [take(array) for array in given]
    params, state = own(weights), own(statistics)
    row_mask = constant(np.ones(len(given[0]), bool), "bool")
    context = BuildContext(node.name, 0, False, row_mask)
    output, _ = node.layer.build(context, inputs, params, state)
    inner = context.inner.get("preactivation")
    graph = Graph((*inputs, *params.values(), *state.values()), (output, output if inner is None else inner))
    found = evaluate(graph, arrays)
    return found[0], None if inner is None else found[1]


def pretrained(
    path: Path, weights: Mapping[str, Array], statistics: Mapping[str, Array], layers: Collection[str] | None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """``weights`` and ``statistics`` with those of the saved model in place: of all layers, or of ``layers``.

    Raises InputError naming the layer that the model lacks, or whose shape differs.
    """
    file = resolve_model(Path(path))
    tensors, _ = read_model(file)
    names = {layer_of(name) for name in weights}
    for layer in layers or ():
        if layer not in names:
            raise unknown_name("layer", layer, names)

    def take(own: Mapping[str, Array]) -> dict[str, Array]:
        result = {}
        for name, array in own.items():
            if layers is not None and layer_of(name) not in layers:
                result[name] = array
                continue
            saved = tensors.get(name)
            if saved is None or saved.shape != array.shape:
                has = "no such weight" if saved is None else f"it with shape {list(saved.shape)}"
                raise InputError(
                    f"{file}: the network needs {name!r} with shape {list(array.shape)}, the model has "
                    f"{has}; name the layers to take (--init-layers)"
                )
            result[name] = saved.astype(array.dtype)
        return result

    return take(weights), take(statistics)
