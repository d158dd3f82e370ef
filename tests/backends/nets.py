"""Networks of medium size as training programs, and feeds for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from glassgrad.backends.base import Feed
from glassgrad.graph.node import DType, Shape
from glassgrad.losses.table import loss
from glassgrad.nn.layers.activation import ActivationLayer
from glassgrad.nn.layers.convolution import Conv2D
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.dropout import Dropout
from glassgrad.nn.layers.embedding import Embedding
from glassgrad.nn.layers.normalization import BatchNorm
from glassgrad.nn.layers.pooling import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from glassgrad.nn.layers.recurrent import SimpleRNN
from glassgrad.nn.layers.reshaping import Flatten
from glassgrad.nn.network import Network, Sequential
from glassgrad.optim.optimizers import optimizer
from glassgrad.program import Program
from glassgrad.training.programs import training_program
from glassgrad.training.start import initial_statistics, initial_weights

CLASSES = 10

NETS: dict[str, tuple[Network, Shape, str, int]] = {
    "dense": (Sequential(Dense(256, "relu"), Dense(256, "tanh"), Dense(CLASSES)), (200,), "adam", 128),
    "conv": (
        Sequential(
            Conv2D(8, 3, activation="relu"),
            BatchNorm(),
            MaxPool2D(2),
            Conv2D(16, 3, activation="relu"),
            Flatten(),
            Dropout(0.3),
            Dense(CLASSES),
        ),
        (14, 14, 3),
        "sgd(0.05, momentum=0.9)",
        64,
    ),
    "deep": (
        Sequential(*[Dense(64, "tanh") for _ in range(12)], Dense(CLASSES)),
        (64,),
        "adamw",
        64,
    ),
    "pools": (
        Sequential(
            Conv2D(8, 3),
            ActivationLayer("gelu"),
            AveragePool2D(2),
            Conv2D(16, 3, padding="same", activation="relu"),
            GlobalAveragePool2D(),
            Dense(CLASSES),
        ),
        (16, 16, 3),
        "rmsprop",
        32,
    ),
    "recurrent": (Sequential(SimpleRNN(48), SimpleRNN(32, last=True), Dense(CLASSES)), (12, 16), "adam", 32),
    "tokens": (Sequential(Embedding(50, 24), SimpleRNN(40, last=True), Dense(CLASSES)), (16,), "adagrad", 32),
    "wide": (Sequential(Dense(1024, "relu"), Dense(512, "relu"), Dense(CLASSES)), (512,), "sgd", 128),
}


def program(name: str, dtype: DType = "float32", **changes: Any) -> Program:
    """The training program of the net called ``name``."""
    network, shape, spec, batch = NETS[name]
    options: dict[str, Any] = {"batch": batch, "targets": None, "dtype": dtype} | changes
    return training_program(network, shape, loss("cross_entropy"), optimizer(spec), **options)


def feed(name: str, given: Program, steps: int = 3, *, seed: int = 0) -> Feed:
    """Random rows for ``steps`` steps, the last one of them partial."""
    network, shape, spec, _ = NETS[name]
    dtype: DType = next(item.type.dtype for item in given.params)
    rng = np.random.default_rng(seed)
    rows = steps * given.batch - given.batch // 3
    if name == "tokens":
        features = rng.integers(0, 50, (rows, *shape)).astype(dtype)
    else:
        features = rng.normal(size=(rows, *shape)).astype(dtype)
    state = initial_statistics(network, shape, dtype=dtype)
    made = optimizer(spec)
    for item in given.state:
        if item.name not in state:
            state[item.name] = np.full(item.type.shape, made.slots()[item.name.split("/")[0]], dtype)
    return Feed(
        {"features": features, "targets": rng.integers(0, CLASSES, rows).astype(np.int32)},
        rng.permutation(rows).astype(np.int32),
        initial_weights(network, shape, seed=seed, dtype=dtype),
        state,
        dict(made.hyperparameters()),
        seed=seed,
    )
