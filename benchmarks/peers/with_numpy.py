"""NumPy by hand: every array allocated once, everything in place, parameters in one flat vector."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from peers.task import BETA1, BETA2, EPSILON, MOMENTUM, Task

CHUNK = 1 << 15  # the update goes through the parameters in pieces that stay in the cache


class Numpy:
    """Forward, backward and update in about as few NumPy calls as they take."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def versions(self) -> dict[str, str]:
        """NumPy, and its BLAS."""
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"NumPy": np.__version__, "BLAS of NumPy": f"{blas['name']} {blas['version']}"}

    def variants(self, task: Task) -> list[str]:
        """BLAS on all threads or on one (small products lose time by sharing)."""
        return thread_variants(self.threads)

    def use(self, task: Task, variant: str) -> None:
        """Allocate."""
        limit_threads(variant, self.threads)
        self.task = task
        self.X, self.Y, _ = task.data()
        b, widths = task.batch, task.widths
        shapes = [shape for a, c in pairwise(widths) for shape in ((a, c), (c,))]
        total = sum(math.prod(shape) for shape in shapes)
        self.flat, self.gradient = np.zeros((2, total), np.float32)
        self.params, self.gradients = views(self.flat, shapes), views(self.gradient, shapes)
        self.slots = np.zeros((2, total), np.float32)
        self.room = np.empty(min(CHUNK, total), np.float32)
        self.inputs = [
            np.empty((b, width), np.float32) for width in widths
        ]  # of each layer; logits at the end
        self.deltas = [np.empty((b, width), np.float32) for width in widths[1:-1]]
        self.masks = [np.empty((b, width), bool) for width in widths[1:-1]]
        self.targets, self.column, self.each = (
            np.empty(b, np.int32),
            np.empty((b, 1), np.float32),
            np.arange(b),
        )
        self.random = np.random.default_rng(0)

    def reset(self) -> None:
        """The first weights, empty slots."""
        for view, first in zip(self.params, (a for layer in self.task.weights() for a in layer), strict=True):
            view[...] = first
        self.slots[...] = 0
        self.t = 0

    def epochs(self, count: int) -> None:
        """Rows are gathered batch by batch: they are in the cache when the first product reads them."""
        b, rows = self.task.batch, self.task.rows
        for _ in range(count):
            if b == rows:
                self.loss = self.step(self.X, self.Y)
                continue
            order = self.random.permutation(rows)
            total = 0.0
            for start in range(0, rows, b):
                batch = order[start : start + b]
                np.take(self.X, batch, 0, self.inputs[0], "clip")
                np.take(self.Y, batch, 0, self.targets, "clip")
                total += self.step(self.inputs[0], self.targets)
            self.loss = total / self.task.steps

    def losses(self, steps: int) -> list[float]:
        """The first steps, in order."""
        self.reset()
        b, rows = self.task.batch, self.task.rows
        starts = [i * b % rows for i in range(steps)]
        return [self.step(self.X[i : i + b], self.Y[i : i + b]) for i in starts]

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """One step; its loss."""
        inputs, params, gradients = [x, *self.inputs[1:]], self.params, self.gradients
        layers, b = len(inputs) - 1, len(x)
        for i in range(layers):
            z = np.matmul(inputs[i], params[2 * i], out=inputs[i + 1])
            z += params[2 * i + 1]
            if i < layers - 1:
                np.maximum(z, 0, out=z)
        delta, column = inputs[-1], self.column
        delta -= np.max(delta, 1, column, True)
        chosen = delta[self.each, y].sum()
        np.exp(delta, out=delta)
        np.sum(delta, 1, None, column, True)
        delta /= column
        loss = (np.log(column, out=column).sum() - chosen) / b
        delta[self.each, y] -= 1
        delta *= 1 / b
        for i in reversed(range(layers)):
            np.matmul(inputs[i].T, delta, out=gradients[2 * i])
            np.sum(delta, 0, None, gradients[2 * i + 1])
            if i:
                mask = np.greater(inputs[i], 0, out=self.masks[i - 1])
                delta = np.matmul(delta, params[2 * i].T, out=self.deltas[i - 1])
                delta *= mask
        self.update()
        return float(loss)

    def update(self) -> None:
        """All parameters at once."""
        self.t += 1
        rate, optimizer = self.task.rate, self.task.optimizer
        for start in range(0, self.flat.size, CHUNK):
            piece = slice(start, start + CHUNK)
            w, g = self.flat[piece], self.gradient[piece]
            if optimizer == "sgd":
                g *= rate
                w -= g
                continue
            m, v, room = self.slots[0, piece], self.slots[1, piece], self.room[: len(w)]
            if optimizer == "momentum":
                m *= MOMENTUM
                m += g
                w -= np.multiply(m, rate, out=room)
                continue
            m *= BETA1
            m += np.multiply(g, 1 - BETA1, out=room)
            v *= BETA2
            g *= g
            v += np.multiply(g, 1 - BETA2, out=g)
            np.multiply(v, 1 / (1 - BETA2**self.t), out=room)
            np.sqrt(room, out=room)
            room += EPSILON
            np.divide(m, room, out=room)
            room *= rate / (1 - BETA1**self.t)
            w -= room

    def product(self, size: int) -> float:
        """GFLOP/s of one square float32 product, all threads."""
        import time

        limit_threads("all threads", self.threads)
        a, b, out = np.ones((3, size, size), np.float32)
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        return 2 * size**3 / (time.perf_counter() - start) / 1e9


def views(flat: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Stretches of ``flat``, one after another, as arrays of these shapes."""
    found, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        found.append(flat[start : start + size].reshape(shape))
        start += size
    return found


def thread_variants(threads: int) -> list[str]:
    """All threads, and one, where threadpoolctl can choose."""
    try:
        import threadpoolctl  # noqa: F401
    except ImportError:
        return ["all threads"]
    return ["all threads", "one thread"] if threads > 1 else ["one thread"]


def limit_threads(variant: str, threads: int) -> None:
    """Make BLAS follow the variant."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(1 if variant == "one thread" else threads)
