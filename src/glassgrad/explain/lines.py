"""A path as a product of named factors, with a symbol for each factor."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from glassgrad.explain.explanation import Factor, Line
from glassgrad.explain.links import EvaluatedLayer, EvaluatedNetwork
from glassgrad.explain.paths import Hop, Path
from glassgrad.nn.layers.convolution import Conv2D
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.merging import Add, Concatenate, Multiply
from glassgrad.nn.layers.normalization import BatchNorm, LayerNorm
from glassgrad.nn.layers.pooling import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from glassgrad.nn.network import INPUT

SYMBOLS = {
    Add: "sum",
    AveragePool2D: "mean of a window",
    BatchNorm: "scale / √(variance + ε)",
    Concatenate: "concatenation",
    GlobalAveragePool2D: "mean of a channel",
    LayerNorm: "normalization",
    MaxPool2D: "maximum of a window",
    Multiply: "product of the other inputs",
}
"""The symbol of the local derivative of a layer without weights, in words or as a formula."""


def line_of(evaluated: EvaluatedNetwork, path: Path, target_name: str) -> Line:
    """``path`` as a product of named factors; ``target_name`` is the weight or input where it ends."""
    factors: list[Factor] = []
    unchanged: list[Hop] = []  # a run of layers that do not change the value, with the hop before the run
    previous: Hop | None = None
    for hop in path.hops:
        if hop.kind == "same" and previous is not None:
            unchanged = unchanged or [previous]
            unchanged.append(hop)
        else:
            factors += _unchanged_factor(evaluated, unchanged)
            unchanged = []
            factors.append(_factor(evaluated, hop, previous))
        previous = hop
    factors += _unchanged_factor(evaluated, unchanged)
    last = path.hops[-1]
    if last.tensor_name != INPUT:
        factors.append(_end(evaluated, last, target_name, path.end))
    return Line(tuple((hop.tensor_name, hop.unit) for hop in path.hops), tuple(factors), path.product)


def name_of(evaluated: EvaluatedNetwork, hop: Hop) -> str:
    """The name of the unit of a hop."""
    return evaluated.tensors[hop.tensor_name].unit(hop.unit)


def _unchanged_factor(evaluated: EvaluatedNetwork, hops: Sequence[Hop]) -> list[Factor]:
    """One factor of 1 for a run of layers that do not change the value."""
    if not hops:
        return []
    layers = ", ".join(hop.tensor_name for hop in reversed(hops[:-1]))
    return [Factor("same", layers, 1.0, name_of(evaluated, hops[0]), name_of(evaluated, hops[-1]))]


def _factor(evaluated: EvaluatedNetwork, hop: Hop, previous: Hop | None) -> Factor:
    source = name_of(evaluated, hop)
    if previous is None:
        return Factor("loss", f"dL/d {source}", hop.derivative, "loss", source)
    target = name_of(evaluated, previous)
    layer = evaluated.layer_of_tensor(previous.tensor_name)
    assert layer is not None
    kind, symbol = "layer", SYMBOLS.get(type(layer.node.layer), "")
    if hop.kind == "activation":
        assert layer.activation is not None
        z = float(evaluated.tensors[hop.tensor_name].values.reshape(-1)[hop.unit])
        kind, symbol = "activation", f"{type(layer.activation).name}'({z:.4g})"
    elif hop.kind in ("weights", "kernel"):
        source_index = evaluated.tensors[hop.tensor_name].index(hop.unit)
        target_index = evaluated.tensors[previous.tensor_name].index(previous.unit)
        if hop.kind == "weights":
            index: tuple[int, ...] | None = (source_index[-1], target_index[-1])
        else:
            index = _kernel_index(layer, source_index, target_index)
        # Name the weight only if it equals the derivative.
        if index is not None and layer.weights["weights"][index] == hop.derivative:
            kind, symbol = "weight", f"{layer.node.name}.weights[{','.join(map(str, index))}]"
    elif layer.activation is not None and previous.tensor_name == layer.node.name:
        symbol = type(layer.activation).name
    return Factor(kind, symbol or f"d {target} / d {source}", hop.derivative, target, source)


def _kernel_index(
    layer: EvaluatedLayer, source: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The index of the convolution weight between two units; None if the window does not contain the source."""
    pads, stride, size = _window(layer)
    position = tuple(i + p - o * d for i, p, o, d in zip(source, pads, target, stride, strict=False))
    if not all(0 <= i < n for i, n in zip(position, size, strict=True)):
        return None
    return (*position, source[2], target[2])


def _window(layer: EvaluatedLayer) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The padding before the first row and column, the stride and the kernel size of a convolution."""
    convolution = layer.node.layer
    assert isinstance(convolution, Conv2D)
    size, stride = (
        (item, item) if isinstance(item, int) else (int(item[0]), int(item[1]))
        for item in (convolution.kernel_size, convolution.stride)
    )
    if convolution.padding == "valid":
        return (0, 0), stride, size
    padding = [
        max((-(-n // d) - 1) * d + k - n, 0)
        for n, d, k in zip(layer.shapes[0][:2], stride, size, strict=True)
    ]
    return (padding[0] // 2, padding[1] // 2), stride, size


def _end(evaluated: EvaluatedNetwork, hop: Hop, weight_name: str, value: float) -> Factor:
    """The derivative of the last unit by the weight: usually the value that the weight is multiplied by."""
    unit = name_of(evaluated, hop)
    layer = evaluated.layer_of_tensor(hop.tensor_name)
    assert layer is not None
    match = re.fullmatch(r".*\.(\w+)\[([\d,]+)\]", weight_name)
    assert match is not None
    name, index = match[1], tuple(map(int, match[2].split(",")))
    source = evaluated.tensors[layer.inputs[0]]
    if isinstance(layer.node.layer, Dense | Conv2D):
        if name == "bias":
            return Factor("end", "1", value, unit, weight_name)
        target_index = evaluated.tensors[hop.tensor_name].index(hop.unit)
        if isinstance(layer.node.layer, Dense):
            source_index: tuple[int, ...] = (*target_index[:-1], index[0])
        else:
            pads, stride, _ = _window(layer)
            window = zip(target_index, stride, index, pads, strict=False)
            source_index = (*(o * d + i - p for o, d, i, p in window), index[2])
        inside = _inside(source_index, source.shape)
        number = int(np.ravel_multi_index(source_index, source.shape)) if inside else None
        if number is not None and math.isclose(source.values.reshape(-1)[number], value, rel_tol=1e-12):
            return Factor("value", source.unit(number), value, unit, weight_name)
    return Factor("end", f"d {unit} / d {weight_name}", value, unit, weight_name)


def _inside(index: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(index) == len(shape) and all(0 <= i < n for i, n in zip(index, shape, strict=True))
