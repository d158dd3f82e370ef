"""Former names of layer types and options, so that documents with these names can still be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPES = {"recurrent": "simple_rnn"}
"""Former name of a layer type -> current name."""

OPTIONS = {
    "conv2d": {"size": "kernel_size"},
    "max_pool2d": {"size": "pool_size"},
    "average_pool2d": {"size": "pool_size"},
}
"""Current name of a layer type -> former name of an option -> current name of the option."""


def current_names(kind: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The type and the options of a layer under their current names.

    An option that appears under both names is not renamed, so that the former name is refused as unknown.
    """
    kind = TYPES.get(kind, kind)
    renamed = OPTIONS.get(kind, {})
    return kind, {
        key if renamed.get(key, key) in options else renamed.get(key, key): value
        for key, value in options.items()
    }
