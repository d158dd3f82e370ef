"""Where the weights start: drawn on the host from named streams, fitted to data, or taken from a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import InputError, unknown_name
from glassgrad.files.model_file import read_model
from glassgrad.files.run_folder import resolve_model
from glassgrad.graph.node import DType, Shape
from glassgrad.nn.initializers import LSUV, lsuv_scale, stream
from glassgrad.nn.network import Network
from glassgrad.training.programs import FEATURES, evaluation_program

LSUV_ROWS = 512


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
    wanted = network.weights(rows.shape[1:])
    for name, item in wanted.items():
        layer, weight = name.rsplit(".", 1)
        if not isinstance(item.init, LSUV) or layer in keep:
            continue
        inside = [f"{layer}.preactivation"]
        try:
            program = evaluation_program(
                network,
                rows.shape[1:],
                None,
                batch=len(rows),
                inside=inside,
                dtype=cast(DType, rows.dtype.name),
            )
        except InputError:
            raise InputError(
                f"layer {layer!r}: {weight!r} cannot start from lsuv, since the layer has no pre-activation "
                "to bring to unit variance; choose another initializer"
            ) from None
        for _ in range(item.init.iterations):
            known: dict[str, Any] = {
                FEATURES: rows,
                "valid": np.ones(len(rows), bool),
                **weights,
                **statistics,
            }
            found = evaluate(program.graph, [known[entry.name] for entry in program.inputs])[-1]
            if abs(float(np.var(found, dtype=np.float64)) - item.init.variance) <= item.init.tolerance:
                break
            try:
                scale = lsuv_scale(found, item.init.variance)
            except InputError as error:
                raise InputError(f"layer {layer!r}: {error}") from None
            weights[name] = (weights[name] * scale).astype(rows.dtype)
    return weights


def pretrained(
    path: Path, weights: Mapping[str, Array], statistics: Mapping[str, Array], layers: Collection[str] | None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """``weights`` and ``statistics`` with those of the saved model in place: of all layers, or of ``layers``.

    Raises InputError naming the layer that the model lacks, or whose shape differs.
    """
    file = resolve_model(Path(path))
    tensors, _ = read_model(file)
    names = {name.rsplit(".", 1)[0] for name in weights}
    for layer in layers or ():
        if layer not in names:
            raise unknown_name("layer", layer, names)

    def take(own: Mapping[str, Array]) -> dict[str, Array]:
        result = {}
        for name, array in own.items():
            if layers is not None and name.rsplit(".", 1)[0] not in layers:
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
