"""A path as a product of named factors: each symbol says what the number is in the layer that it comes from."""

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
"""What the local derivative of a layer is, in words or as a formula, where it has no weight of its own."""


def line_of(anatomy: Anatomy, path: Path, what: str) -> Line:
    """``path`` with its factors by name; ``what`` is the weight or input that it leads to."""
    factors: list[Factor] = []
    passed: list[Hop] = []  # the values that are handed on as they are, the one before included
    before: Hop | None = None
    for hop in path.hops:
        if hop.kind == "same" and before is not None:
            passed = passed or [before]
            passed.append(hop)
        else:
            factors += _passed(anatomy, passed)
            passed = []
            factors.append(_factor(anatomy, hop, before))
        before = hop
    factors += _passed(anatomy, passed)
    last = path.hops[-1]
    if last.place != INPUT:
        factors.append(_end(anatomy, last, what, path.end))
    return Line(tuple((hop.place, hop.unit) for hop in path.hops), tuple(factors), path.product)


def name_of(anatomy: Anatomy, hop: Hop) -> str:
    """The name of the unit of a hop."""
    return anatomy.places[hop.place].unit(hop.unit)


def _passed(anatomy: Anatomy, hops: Sequence[Hop]) -> list[Factor]:
    """One factor for a run of layers that change no value."""
    if not hops:
        return []
    layers = ", ".join(hop.place for hop in reversed(hops[:-1]))
    return [Factor("same", layers, 1.0, name_of(anatomy, hops[0]), name_of(anatomy, hops[-1]))]


def _factor(anatomy: Anatomy, hop: Hop, before: Hop | None) -> Factor:
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
        at = anatomy.places[hop.place].index(hop.unit), anatomy.places[before.place].index(before.unit)
        index = (at[0][-1], at[1][-1]) if hop.kind == "weights" else _kernel(piece, *at)
        # A window may see one value with one weight only; what else comes out is named as what it is.
        if index is not None and piece.weights["weights"][index] == hop.derivative:
            kind, symbol = "weight", f"{piece.node.name}.weights[{','.join(map(str, index))}]"
    elif piece.activation is not None and before.place == piece.node.name:
        symbol = type(piece.activation).name
    return Factor(kind, symbol or f"d {target} / d {source}", hop.derivative, target, source)


def _kernel(piece: Piece, source: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...] | None:
    """The element of a convolution's weights between two units."""
    pads, stride, size = _window(piece)
    spot = tuple(i + p - o * d for i, p, o, d in zip(source, pads, target, stride, strict=False))
    if not all(0 <= i < n for i, n in zip(spot, size, strict=True)):
        return None
    return (*spot, source[2], target[2])


def _window(piece: Piece) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Padding before, stride and size of a convolution."""
    layer = piece.node.layer
    assert isinstance(layer, Conv2D)
    size, stride = (
        (item, item) if isinstance(item, int) else (int(item[0]), int(item[1]))
        for item in (layer.kernel_size, layer.stride)
    )
    if layer.padding == "valid":
        return (0, 0), stride, size
    need = [
        max((-(-n // d) - 1) * d + k - n, 0)
        for n, d, k in zip(piece.shapes[0][:2], stride, size, strict=True)
    ]
    return (need[0] // 2, need[1] // 2), stride, size


def _end(anatomy: Anatomy, hop: Hop, what: str, value: float) -> Factor:
    """The derivative of the last unit by the weight itself: mostly the value that the weight is multiplied by."""
    unit = name_of(anatomy, hop)
    piece = anatomy.piece(hop.place)
    assert piece is not None
    weight = re.fullmatch(r".*\.(\w+)\[([\d,]+)\]", what)
    assert weight is not None
    name, index = weight[1], tuple(map(int, weight[2].split(",")))
    source = anatomy.places[piece.inputs[0]]
    if isinstance(piece.node.layer, Dense | Conv2D):
        if name == "bias":
            return Factor("end", "1", value, unit, what)
        at = anatomy.places[hop.place].index(hop.unit)
        if isinstance(piece.node.layer, Dense):
            seen: tuple[int, ...] = (*at[:-1], index[0])
        else:
            pads, stride, _ = _window(piece)
            seen = (*(o * d + i - p for o, d, i, p in zip(at, stride, index, pads, strict=False)), index[2])
        number = int(np.ravel_multi_index(seen, source.shape)) if _inside(seen, source.shape) else None
        if number is not None and math.isclose(source.values.reshape(-1)[number], value, rel_tol=1e-12):
            return Factor("value", source.unit(number), value, unit, what)
    return Factor("end", f"d {unit} / d {what}", value, unit, what)


def _inside(index: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(index) == len(shape) and all(0 <= i < n for i, n in zip(index, shape, strict=True))
