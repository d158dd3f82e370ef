"""The defaults of all training options: the only table of them.

The module imports next to nothing, so that the command line can show defaults without loading the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "layers": (64, 32),
        "activation": "relu",
        "init": "he_normal",
        "output_activation": "auto",
        "loss": "auto",
        "optimizer": "adam",
        "learning_rate": 0.002,
        "clip_norm": None,
        "clip_value": None,
        "schedule": "cosine",
        "scaling": "standard",
        "network": None,
        "init_from": None,
        "init_layers": None,
        "freeze": (),
        "force": False,
        "watch": False,
        "batch_size": 32,
        "epochs": 30,
        "keep": "best",
        "metric": "loss",
        "metrics": (),
        "patience": None,
        "max_time": None,
        "validation": 0.1,
        "test": 0.2,
        "seed": 0,
        "backend": "native",
        "dtype": "float32",
    }
)
"""Default by option. ``learning_rate`` is that of an optimizer that is given by its bare name.

Momentum and weight decay have no entry: their defaults are those of the optimizer.
"""
