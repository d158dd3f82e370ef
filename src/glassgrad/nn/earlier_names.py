"""Names of layer types and options that have changed: documents with the earlier ones can still be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPES = {"recurrent": "simple_rnn"}
"""The earlier name of a layer type -> the current one."""

OPTIONS = {
    "conv2d": {"size": "kernel_size"},
    "max_pool2d": {"size": "pool_size"},
    "average_pool2d": {"size": "pool_size"},
}
"""By the current name of a layer type: the earlier name of an option -> the current one."""


def current_names(kind: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The type and the options of a layer under their current names.

    An option that is given under both names is left as it is, so that the unknown one is refused.
    """
    kind = TYPES.get(kind, kind)
    current = OPTIONS.get(kind, {})
    return kind, {
        key if current.get(key, key) in options else current.get(key, key): value
        for key, value in options.items()
    }
