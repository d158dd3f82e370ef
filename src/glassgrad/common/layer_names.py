"""Names of what belongs to a layer: ``dense_1.weights``, ``dense_1.preactivation``.

Weights, statistics, gradients and inner values of a network lie in one dictionary, by such names. The name of a layer
has no dot in it; what comes after the first dot is the layer's own name for the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def full_name(layer: str, own_name: str) -> str:
    """``"dense_1.weights"`` of ``"dense_1"`` and ``"weights"``."""
    return f"{layer}.{own_name}"


def split_name(name: str) -> tuple[str, str]:
    """The layer and its own name: ``("dense_1", "weights")``; the second is empty where there is no dot."""
    layer, _, own_name = name.partition(".")
    return layer, own_name


def layer_of(name: str) -> str:
    """The layer of a value: ``"dense_1"`` of ``"dense_1.weights"``; the name itself where it has no layer."""
    return split_name(name)[0]


def of_layer(values: Mapping[str, T], layer: str) -> dict[str, T]:
    """The values of one layer by their full names, in the order of ``values``."""
    prefix = full_name(layer, "")
    return {name: value for name, value in values.items() if name.startswith(prefix)}


def own_values(values: Mapping[str, T], layer: str) -> dict[str, T]:
    """The values of one layer by the layer's own names: ``"weights"`` for ``"dense_1.weights"``."""
    return {split_name(name)[1]: value for name, value in of_layer(values, layer).items()}
