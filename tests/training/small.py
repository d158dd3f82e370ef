"""Small problems that a network learns in a few epochs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

import glassgrad as gg
from glassgrad.training.settings import OF_LAYERS

# Training means the same on every backend, and these networks are so small that compiling them takes longer than
# interpreting them. Tests of what a backend could spoil (bits, files, replays) use ``gg.train`` and the default.
train = partial(gg.train, backend="reference", schedule="constant", learning_rate=0.001)

CENTERS = np.array([[2.0, 0.0], [-1.0, 1.8], [-1.0, -1.8]])


def blobs(rows: int = 90, classes: int = 3, seed: int = 0) -> gg.Dataset:
    """Points around as many centers as there are classes."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    points = CENTERS[labels] + generator.normal(scale=0.6, size=(rows, 2))
    return gg.from_arrays(points, labels, name="blobs")


def surface(rows: int = 80, seed: int = 0) -> gg.Dataset:
    """A smooth function of two numbers, in units far from 1."""
    x = np.random.default_rng(seed).uniform(-1, 1, size=(rows, 2))
    return gg.from_arrays(x, 300 + 40 * x[:, 0] - 25 * x[:, 1] ** 2, name="surface")


def counts(rows: int = 200, seed: int = 0) -> gg.Dataset:
    """Counts, whose rate is the exponential of a line."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, size=(rows, 1))
    return gg.from_arrays(x, generator.poisson(np.exp(1 + x[:, 0])).astype(float), name="counts")


def distributions(rows: int = 60, seed: int = 0) -> gg.Dataset:
    """Probabilities of three classes, which depend on two numbers."""
    x = np.random.default_rng(seed).normal(size=(rows, 2))
    e = np.exp(x @ np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]]))
    return gg.from_arrays(x, e / e.sum(axis=1, keepdims=True), name="distributions")


def same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    """Whether two sets of arrays are equal to the bit."""
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def merged(defaults: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` in place of ``defaults``, which give no layers where ``options`` give a network."""
    described = OF_LAYERS if options.get("network") is not None else ()
    return {name: value for name, value in defaults.items() if name not in described} | dict(options)
