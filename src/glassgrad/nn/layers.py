"""Every layer by name, but for those for images, which are loaded when one is asked for."""

from __future__ import annotations

from glassgrad.nn.layer import LAYERS, Layer
from glassgrad.nn.neurons import Activate, Dense, Dropout, Embedding, Recurrent
from glassgrad.nn.normalization import BatchNorm, LayerNorm
from glassgrad.nn.wiring import Add, Concatenate, Flatten, Multiply, Reshape

__all__ = [
    "Activate",
    "Add",
    "BatchNorm",
    "Concatenate",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "LayerNorm",
    "Multiply",
    "Recurrent",
    "Reshape",
]

_LAYERS: dict[str, type[Layer]] = {
    "dense": Dense,
    "activation": Activate,
    "dropout": Dropout,
    "batch_norm": BatchNorm,
    "layer_norm": LayerNorm,
    "flatten": Flatten,
    "reshape": Reshape,
    "add": Add,
    "multiply": Multiply,
    "concatenate": Concatenate,
    "embedding": Embedding,
    "recurrent": Recurrent,
}
for _name, _class in _LAYERS.items():
    LAYERS.add(_name, _class)
LAYERS.add_later("glassgrad.nn.images", "conv2d", "max_pool2d", "average_pool2d", "global_average_pool2d")
