"""Small trainings whose weights are recorded, to the bit.

    python tests/training/recipes_of_bits.py --write      # record anew, after a change that is meant to move bits

Nothing here depends on the processor: the code is made for AVX2, features and initial weights are exact in any order
of sums, and the schedule is constant.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import glassgrad as gg
from glassgrad.backends.native.backend import NativeBackend
from glassgrad.backends.native.runtime.machine import machine

RECORD = Path(__file__).parent / "recorded" / "bits.json"
OPTIMIZERS = (
    "sgd(0.1)",
    "sgd(0.05, momentum=0.9)",
    "sgd(0.05, momentum=0.9, nesterov=True)",
    "adam(0.01)",
    "adamw(0.01, weight_decay=0.1)",
    "rmsprop(0.01)",
    "adagrad(0.05)",
)
COMMON = {
    "init": "xavier_uniform",
    "scaling": "none",
    "schedule": "constant",
    "keep": "last",
    "epochs": 2,
    "batch_size": 32,
    "seed": 5,
}


def digits() -> gg.Dataset:
    data = gg.load_source("digits")
    return gg.from_arrays(data.features[:300] / 16.0, data.targets[:300], name="digits")


def train(**options: object) -> gg.Run:
    common = {name: value for name, value in COMMON.items() if name != "init" or "network" not in options}
    return gg.train(digits(), **(common | {"backend": NativeBackend(machine("avx2"))} | options))


def convolution() -> gg.Run:
    network = {
        "layers": [
            {"type": "reshape", "shape": [8, 8, 1]},
            {"type": "conv2d", "filters": 4, "kernel_size": 3, "padding": "same"},
            {"type": "batch_norm"},
            {"type": "activation", "activation": "relu"},
            {"type": "max_pool2d", "pool_size": 2},
            {"type": "flatten"},
            {"type": "dropout", "rate": 0.25},
            {"type": "dense", "units": 10},
        ]
    }
    return train(network=network, optimizer="adam(0.01)")


def recurrent() -> gg.Run:
    network = {
        "layers": [
            {"type": "reshape", "shape": [8, 8]},
            {"type": "simple_rnn", "name": "recurrent_1", "units": 12},
            {"type": "layer_norm"},
            {"type": "flatten"},
            {"type": "dense", "units": 10},
        ]
    }
    return train(network=network, optimizer="sgd(0.05, momentum=0.9)", clip_norm=1.0)


RECIPES: dict[str, Callable[[], gg.Run]] = {
    **{
        spec: (lambda spec=spec: train(layers=[24], activation="tanh", optimizer=spec)) for spec in OPTIMIZERS
    },
    "convolution": convolution,
    "recurrent": recurrent,
}


def digest(run: gg.Run) -> str:
    """Of all weights and statistics, in the order of their names."""
    arrays = run.model.weights | run.model.statistics
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        total.update(arrays[name].tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    found = {name: digest(make()) for name, make in RECIPES.items()}
    text = json.dumps(found, indent=1) + "\n"
    if "--write" in sys.argv[1:]:
        RECORD.write_text(text, encoding="utf-8")
    print(text, end="")
