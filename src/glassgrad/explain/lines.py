"""Paths as products of named factors. The symbol of a factor says which quantity of its layer it is."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from glassgrad.explain.explanation import Factor, Line
from glassgrad.explain.links import Anatomy, Piece
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
    Concatenate: "side by side",
    GlobalAveragePool2D: "mean of a channel",
    LayerNorm: "normalization",
    MaxPool2D: "largest of a window",
    Multiply: "product with the other",
}
"""The local derivative of layers without a weight of their own, in words or as a formula."""


def line_of(anatomy: Anatomy, path: Path, label: str) -> Line:
    """``path`` with named factors; ``label`` is the weight or input at its end."""
    factors: list[Factor] = []
    unchanged: list[Hop] = []  # hops through layers that change no value, and the hop before them
    before: Hop | None = None
    for hop in path.hops:
        if hop.kind == "same" and before is not None:
            unchanged = unchanged or [before]
            unchanged.append(hop)
        else:
            factors += _unchanged(anatomy, unchanged)
            unchanged = []
            factors.append(_factor(anatomy, hop, before))
        before = hop
    factors += _unchanged(anatomy, unchanged)
    last = path.hops[-1]
    if last.place != INPUT:
        factors.append(_end(anatomy, last, label, path.end))
    return Line(tuple((hop.place, hop.unit) for hop in path.hops), tuple(factors), path.product)


def name_of(anatomy: Anatomy, hop: Hop) -> str:
    """The name of the unit of a hop."""
    return anatomy.places[hop.place].unit(hop.unit)


def _unchanged(anatomy: Anatomy, hops: Sequence[Hop]) -> list[Factor]:
    """One factor for a sequence of layers that change no value; none for an empty sequence."""
    if not hops:
        return []
    layers = ", ".join(hop.place for hop in reversed(hops[:-1]))
    return [Factor("same", layers, 1.0, name_of(anatomy, hops[0]), name_of(anatomy, hops[-1]))]


def _factor(anatomy: Anatomy, hop: Hop, before: Hop | None) -> Factor:
    """The factor of a hop; ``before`` is the hop before it, nearer to the loss."""
    source = name_of(anatomy, hop)
    if before is None:
        return Factor("loss", f"dL/d {source}", hop.derivative, "loss", source)
    target = name_of(anatomy, before)
    piece = anatomy.piece(before.place)
    assert piece is not None
    kind, symbol = "layer", SYMBOLS.get(type(piece.node.layer), "")
    if hop.kind == "activation":
        assert piece.activation is not None
        z = float(anatomy.places[hop.place].values.reshape(-1)[hop.unit])
        kind, symbol = "activation", f"{type(piece.activation).name}'({z:.4g})"
    elif hop.kind in ("weights", "kernel"):
        source_index = anatomy.places[hop.place].index(hop.unit)
        target_index = anatomy.places[before.place].index(before.unit)
        if hop.kind == "weights":
            index: tuple[int, ...] | None = (source_index[-1], target_index[-1])
        else:
            index = _kernel(piece, source_index, target_index)
        # Name the weight only if the derivative equals it; other derivatives get a generic symbol.
        if index is not None and piece.weights["weights"][index] == hop.derivative:
            kind, symbol = "weight", f"{piece.node.name}.weights[{','.join(map(str, index))}]"
    elif piece.activation is not None and before.place == piece.node.name:
        symbol = type(piece.activation).name
    return Factor(kind, symbol or f"d {target} / d {source}", hop.derivative, target, source)


def _kernel(piece: Piece, source: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...] | None:
    """The index of the weight of a convolution between two units; None if the window does not cover the source."""
    pads, stride, size = _window(piece)
    offset = tuple(i + p - o * d for i, p, o, d in zip(source, pads, target, stride, strict=False))
    if not all(0 <= i < n for i, n in zip(offset, size, strict=True)):
        return None
    return (*offset, source[2], target[2])


def _window(piece: Piece) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Leading padding, stride and kernel size of a convolution, each (height, width)."""
    layer = piece.node.layer
    assert isinstance(layer, Conv2D)
    size, stride = (
        (item, item) if isinstance(item, int) else (int(item[0]), int(item[1]))
        for item in (layer.kernel_size, layer.stride)
    )
    if layer.padding == "valid":
        return (0, 0), stride, size
    padding = [
        max((-(-n // d) - 1) * d + k - n, 0)
        for n, d, k in zip(piece.shapes[0][:2], stride, size, strict=True)
    ]
    return (padding[0] // 2, padding[1] // 2), stride, size


def _end(anatomy: Anatomy, hop: Hop, label: str, value: float) -> Factor:
    """The derivative of the last unit by the weight ``label``: usually the value that the weight is multiplied by."""
    unit = name_of(anatomy, hop)
    piece = anatomy.piece(hop.place)
    assert piece is not None
    match = re.fullmatch(r".*\.(\w+)\[([\d,]+)\]", label)
    assert match is not None
    name, index = match[1], tuple(map(int, match[2].split(",")))
    source = anatomy.places[piece.inputs[0]]
    if isinstance(piece.node.layer, Dense | Conv2D):
        if name == "bias":
            return Factor("end", "1", value, unit, label)
        target_index = anatomy.places[hop.place].index(hop.unit)
        if isinstance(piece.node.layer, Dense):
            source_index: tuple[int, ...] = (*target_index[:-1], index[0])
        else:
            pads, stride, _ = _window(piece)
            offsets = zip(target_index, stride, index, pads, strict=False)
            source_index = (*(o * d + i - p for o, d, i, p in offsets), index[2])
        number = None
        if _inside(source_index, source.shape):
            number = int(np.ravel_multi_index(source_index, source.shape))
        if number is not None and math.isclose(source.values.reshape(-1)[number], value, rel_tol=1e-12):
            return Factor("value", source.unit(number), value, unit, label)
    return Factor("end", f"d {unit} / d {label}", value, unit, label)


def _inside(index: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether ``index`` is within an array of ``shape``."""
    return len(index) == len(shape) and all(0 <= i < n for i, n in zip(index, shape, strict=True))
