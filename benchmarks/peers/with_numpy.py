"""NumPy by hand: arrays are allocated once and updated in place; all parameters share one flat vector."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from peers.task import BETA1, BETA2, EPSILON, MOMENTUM, Task

CHUNK = 1 << 15  # the update processes the parameters in chunks that fit in the cache


class Numpy:
    """Forward pass, backward pass and update with as few NumPy calls as possible."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def versions(self) -> dict[str, str]:
        """The versions of NumPy and its BLAS."""
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"NumPy": np.__version__, "BLAS of NumPy": f"{blas['name']} {blas['version']}"}

    def variants(self, task: Task) -> list[str]:
        """BLAS on all threads or on one; small products are slower on several."""
        return thread_variants(self.threads)

    def use(self, task: Task, variant: str) -> None:
        """Allocate all arrays."""
        limit_threads(variant, self.threads)
        self.task = task
        self.X, self.Y, _ = task.data()
        b, widths = task.batch, task.widths
        shapes = [shape for a, c in pairwise(widths) for shape in ((a, c), (c,))]
        total = sum(math.prod(shape) for shape in shapes)
        self.flat, self.gradient = np.zeros((2, total), np.float32)
        self.params, self.gradients = views(self.flat, shapes), views(self.gradient, shapes)
        self.slots = np.zeros((2, total), np.float32)
        self.scratch = np.empty(min(CHUNK, total), np.float32)
        # The inputs of each layer, and the logits at the end.
        self.inputs = [np.empty((b, width), np.float32) for width in widths]
        self.deltas = [np.empty((b, width), np.float32) for width in widths[1:-1]]
        self.masks = [np.empty((b, width), bool) for width in widths[1:-1]]
        self.targets, self.column, self.row_indices = (
            np.empty(b, np.int32),
            np.empty((b, 1), np.float32),
            np.arange(b),
        )
        self.random = np.random.default_rng(0)

    def reset(self) -> None:
        """Restore the initial weights and zero the optimizer slots."""
        initial = (array for layer in self.task.weights() for array in layer)
        for view, array in zip(self.params, initial, strict=True):
            view[...] = array
        self.slots[...] = 0
        self.t = 0

    def epochs(self, count: int) -> None:
        """Train, gathering the rows batch by batch, so that they are in the cache for the first product."""
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
        """The losses of the first steps, with the rows in their original order."""
        self.reset()
        b, rows = self.task.batch, self.task.rows
        starts = [i * b % rows for i in range(steps)]
        return [self.step(self.X[i : i + b], self.Y[i : i + b]) for i in starts]

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """Train one step. Returns its loss."""
        inputs, params, gradients = [x, *self.inputs[1:]], self.params, self.gradients
        layers, b = len(inputs) - 1, len(x)
        for i in range(layers):
            z = np.matmul(inputs[i], params[2 * i], out=inputs[i + 1])
            z += params[2 * i + 1]
            if i < layers - 1:
                np.maximum(z, 0, out=z)
        delta, column = inputs[-1], self.column
        delta -= np.max(delta, 1, column, True)
        chosen = delta[self.row_indices, y].sum()
        np.exp(delta, out=delta)
        np.sum(delta, 1, None, column, True)
        delta /= column
        loss = (np.log(column, out=column).sum() - chosen) / b
        delta[self.row_indices, y] -= 1
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
        """Update all parameters, one chunk at a time."""
        self.t += 1
        rate, optimizer = self.task.rate, self.task.optimizer
        for start in range(0, self.flat.size, CHUNK):
            chunk = slice(start, start + CHUNK)
            w, g = self.flat[chunk], self.gradient[chunk]
            if optimizer == "sgd":
                g *= rate
                w -= g
                continue
            m, v, scratch = self.slots[0, chunk], self.slots[1, chunk], self.scratch[: len(w)]
            if optimizer == "momentum":
                m *= MOMENTUM
                m += g
                w -= np.multiply(m, rate, out=scratch)
                continue
            m *= BETA1
            m += np.multiply(g, 1 - BETA1, out=scratch)
            v *= BETA2
            g *= g
            v += np.multiply(g, 1 - BETA2, out=g)
            np.multiply(v, 1 / (1 - BETA2**self.t), out=scratch)
            np.sqrt(scratch, out=scratch)
            scratch += EPSILON
            np.divide(m, scratch, out=scratch)
            scratch *= rate / (1 - BETA1**self.t)
            w -= scratch

    def product(self, size: int) -> float:
        """GFLOP/s of one square float32 matrix product on all threads."""
        import time

        limit_threads("all threads", self.threads)
        a, b, out = np.ones((3, size, size), np.float32)
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        return 2 * size**3 / (time.perf_counter() - start) / 1e9


def views(flat: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Consecutive slices of ``flat`` as arrays of these shapes."""
    arrays, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        arrays.append(flat[start : start + size].reshape(shape))
        start += size
    return arrays


def thread_variants(threads: int) -> list[str]:
    """The variants with all threads and with one thread. Only threadpoolctl can limit the threads of BLAS."""
    try:
        import threadpoolctl  # noqa: F401
    except ImportError:
        return ["all threads"]
    return ["all threads", "one thread"] if threads > 1 else ["one thread"]


def limit_threads(variant: str, threads: int) -> None:
    """Set the number of BLAS threads for ``variant``."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(1 if variant == "one thread" else threads)
