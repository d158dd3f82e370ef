"""The tasks of the comparison: networks, data, optimizers and initial weights, the same for every peer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"

# Learning rates at which every network here trains stably: no peer is timed on NaN.
RATES = {"sgd": 0.01, "momentum": 0.01, "adam": 0.001}
MOMENTUM = 0.9
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
STEPS_PER_CALL = 8192  # the most steps in one call that trains several epochs
CALL_FLOPS = 1.5e10  # the most floating-point operations in such a call: tens of milliseconds


@dataclass(frozen=True)
class Task:
    """One network, trained with minibatches on ``rows`` rows (a multiple of the batch) and one optimizer.

    The hidden layers are dense with relu, the last layer is dense. The loss is softmax cross-entropy.
    """

    widths: tuple[int, ...]
    batch: int
    rows: int
    optimizer: str
    source: str = "random"

    @property
    def network(self) -> str:
        """The widths as text, such as ``64-32-10``."""
        return "-".join(map(str, self.widths))

    @property
    def steps(self) -> int:
        """The number of steps in an epoch."""
        return self.rows // self.batch

    @property
    def epochs_per_call(self) -> int:
        """The number of epochs in one call, for peers that can train several."""
        return max(1, min(STEPS_PER_CALL, int(CALL_FLOPS / self.flops)) // self.steps)

    @property
    def rate(self) -> float:
        """The learning rate."""
        return RATES[self.optimizer]

    @property
    def flops(self) -> int:
        """The floating-point operations of all matrix products of one step.

        Each layer has one forward and two backward products; the first layer needs no gradient of its input.
        """
        sizes = [a * b for a, b in pairwise(self.widths)]
        return 2 * self.batch * (3 * sum(sizes) - sizes[0])

    def data(self) -> tuple[np.ndarray, np.ndarray, str]:
        """Features float32 [rows, widths[0]], classes int32 [rows], and the name of their source."""
        return load(self.source, self.rows, self.widths[0], self.widths[-1])

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The initial weights float32 [inputs, units] (K. He et al., 2015) and biases [units] of each layer."""
        random = np.random.default_rng(1)
        return [
            ((random.standard_normal((a, b)) * math.sqrt(2 / a)).astype(np.float32), np.zeros(b, np.float32))
            for a, b in pairwise(self.widths)
        ]


NETWORKS = {  # widths, batch, rows, source
    "64-32-10": ((64, 32, 10), 32, 41 * 32, "digits"),
    "8-64-64-10": ((8, 64, 64, 10), 32, 125 * 32, "random"),
    "784-128-10": ((784, 128, 10), 64, 200 * 64, "mnist"),
    "784-512-512-10": ((784, 512, 512, 10), 128, 50 * 128, "mnist"),
    "1024-1024-1024-1024-10": ((1024, 1024, 1024, 1024, 10), 512, 10 * 512, "random"),
    "4-32-16-4": ((4, 32, 16, 4), 10_000, 10_000, "random"),
}
ONLY_ADAM = ("4-32-16-4",)


def tasks(networks: Sequence[str], optimizers: Sequence[str]) -> list[Task]:
    """Every network with each of its optimizers."""
    return [
        Task(*NETWORKS[name][:3], optimizer, NETWORKS[name][3])
        for name in networks
        for optimizer in (("adam",) if name in ONLY_ADAM else optimizers)
    ]


@cache
def load(source: str, rows: int, inputs: int, classes: int) -> tuple[np.ndarray, np.ndarray, str]:
    """``rows`` rows of a data set, or random rows labelled by a random linear map if it is not available."""
    if source == "digits":
        from glassgrad.data.digits import load_digits

        digits = load_digits()
        features = digits.features.reshape(len(digits.features), -1)[:rows] / np.float32(16)
        return np.ascontiguousarray(features, np.float32), digits.targets[:rows].astype(np.int32), "digits"
    if source == "mnist" and MNIST.is_dir():
        from glassgrad.data.idx import read_idx

        images, labels = (next(MNIST.glob(f"train-{part}*")) for part in ("images", "labels"))
        pixels = read_idx(images)[:rows].reshape(rows, -1) / np.float32(255)
        return pixels, read_idx(labels)[:rows].astype(np.int32), "MNIST"
    random = np.random.default_rng(0)
    features = random.standard_normal((rows, inputs)).astype(np.float32)
    directions = random.standard_normal((inputs, classes)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)  # otherwise a class might have no row
    labels = (features @ directions).argmax(1)
    return features, labels.astype(np.int32), "random"


class Peer(Protocol):
    """One library that trains the tasks. It may have several variants; the fastest on this machine is timed."""

    def __init__(self, threads: int) -> None: ...

    def versions(self) -> dict[str, str]:
        """The versions of its libraries, by name."""

    def variants(self, task: Task) -> list[str]:
        """The names of the variants to try on this task."""

    def use(self, task: Task, variant: str) -> None:
        """Prepare ``task``. Compiling may wait until the first call."""

    def reset(self) -> None:
        """Restore the initial weights and reset the optimizer."""

    def epochs(self, count: int) -> None:
        """Train ``count`` epochs and wait for the end. Each has a new random order, except for full batches."""

    def losses(self, steps: int) -> list[float]:
        """The losses of the first steps from the initial weights, with the rows in their original order."""
