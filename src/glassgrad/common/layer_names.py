"""Names of values that belong to a layer: ``dense_1.weights``, ``dense_1.preactivation``.

The weights, statistics, gradients and inner values of a network are kept in dictionaries by such names. The name of a
layer contains no dot. The text after the first dot is the layer's own name for the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def full_name(layer: str, own_name: str) -> str:
    """``"dense_1.weights"`` for ``"dense_1"`` and ``"weights"``."""
    return f"{layer}.{own_name}"


def split_name(name: str) -> tuple[str, str]:
    """The name of the layer and its own name for the value: ``("dense_1", "weights")``.

    The second is empty if ``name`` has no dot.
    """
    layer, _, own_name = name.partition(".")
    return layer, own_name


def layer_of(name: str) -> str:
    """The layer of a value: ``"dense_1"`` for ``"dense_1.weights"``; ``name`` itself if it has no dot."""
    return split_name(name)[0]


def of_layer(values: Mapping[str, T], layer: str) -> dict[str, T]:
    """The entries of ``values`` that belong to ``layer``, by full name, in the same order."""
    prefix = full_name(layer, "")
    return {name: value for name, value in values.items() if name.startswith(prefix)}


def own_values(values: Mapping[str, T], layer: str) -> dict[str, T]:
    """The entries of ``values`` that belong to ``layer``, by the layer's own names, such as ``"weights"``."""
    return {split_name(name)[1]: value for name, value in of_layer(values, layer).items()}
