"""JAX: a jitted step called from Python, and a jitted epoch with ``lax.scan``. Old buffers are donated."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from peers.task import BETA1, BETA2, EPSILON, MOMENTUM, Task

ONE_THREAD = {"xla_cpu_multi_thread_eigen": False}


class _Jax:
    """What both classes share: data, thread variants, and the carry (params, slots, step number)."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.functions: dict[str, Any] = {}  # by variant

    def versions(self) -> dict[str, str]:
        """The version of JAX."""
        return {"JAX": jax.__version__}

    def _threads(self) -> list[str]:
        return ["all threads", "one thread"] if self.threads > 1 else ["one thread"]

    def use(self, task: Task, variant: str) -> None:
        """Build the jitted function. JAX compiles it on the first call."""
        if not hasattr(self, "task") or task != self.task:
            self.functions = {}
        self.task, self.variant = task, variant
        features, classes, _ = task.data()
        self.X, self.Y = jnp.asarray(features), jnp.asarray(classes)
        self.random = np.random.default_rng(0)
        if variant not in self.functions:
            self.functions[variant] = self._make(variant)
        self.function = self.functions[variant]

    def reset(self) -> None:
        """Restore the initial weights and zero the optimizer slots."""
        params = [(jnp.array(w), jnp.array(b)) for w, b in self.task.weights()]
        count = {"sgd": 0, "momentum": 1, "adam": 2}[self.task.optimizer]
        slots = [jax.tree.map(jnp.zeros_like, params) for _ in range(count)]
        self.carry = (params, slots, jnp.zeros((), jnp.int32))

    def _order(self) -> np.ndarray:
        # XLA's permutation sorts random keys, which on a CPU takes longer than some epochs here. NumPy's is faster.
        rows = self.task.rows
        is_full_batch = self.task.batch == rows
        return (np.arange(rows) if is_full_batch else self.random.permutation(rows)).astype(np.int32)

    def _batch(self, X: jax.Array, Y: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        return (X, Y) if self.task.batch == self.task.rows else (X[rows], Y[rows])

    def _jit(self, function: Any, variant: str) -> Any:
        options = ONE_THREAD if "one thread" in variant and self.threads > 1 else None
        return jax.jit(function, donate_argnums=0, compiler_options=options)

    def _make(self, variant: str) -> Any:
        raise NotImplementedError

    def product(self, size: int) -> float:
        """GFLOP/s of one square float32 matrix product on all threads."""
        a = jnp.ones((size, size))
        multiply = jax.jit(jnp.matmul)
        multiply(a, a).block_until_ready()
        start = time.perf_counter()
        multiply(a, a).block_until_ready()
        return 2 * size**3 / (time.perf_counter() - start) / 1e9


def loss_of(params: list[tuple[jax.Array, jax.Array]], x: jax.Array, y: jax.Array) -> jax.Array:
    """Softmax cross-entropy of the network's outputs."""
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return -jnp.take_along_axis(jax.nn.log_softmax(x @ w + b), y[:, None], 1).mean()


def one_step(optimizer: str, rate: Any, carry: Any, x: jax.Array, y: jax.Array) -> tuple[Any, jax.Array]:
    """One training step: the new carry, and the loss."""
    params, slots, t = carry
    t = t + 1
    loss, g = jax.value_and_grad(loss_of)(params, x, y)
    if optimizer == "sgd":
        return (jax.tree.map(lambda w, g: w - rate * g, params, g), slots, t), loss
    if optimizer == "momentum":
        m = jax.tree.map(lambda m, g: MOMENTUM * m + g, slots[0], g)
        return (jax.tree.map(lambda w, m: w - rate * m, params, m), [m], t), loss
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, slots[0], g)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, slots[1], g)
    first, second = rate / (1 - BETA1**t), 1 / (1 - BETA2**t)
    params = jax.tree.map(lambda w, m, v: w - first * m / (jnp.sqrt(v * second) + EPSILON), params, m, v)
    return (params, [m, v], t), loss


class Step(_Jax):
    """One call per step. Everything stays on the device: the function slices its rows from the order."""

    def variants(self, task: Task) -> list[str]:
        """All threads, or one."""
        return self._threads()

    def _make(self, variant: str) -> Any:
        task = self.task

        def step(state: Any, X: jax.Array, Y: jax.Array, order: jax.Array) -> Any:
            carry, total = state
            start = carry[2] % task.steps * task.batch
            rows = jax.lax.dynamic_slice(order, (start,), (task.batch,))
            carry, loss = one_step(task.optimizer, task.rate, carry, *self._batch(X, Y, rows))
            return carry, total + loss

        return self._jit(step, variant)

    def epochs(self, count: int) -> None:
        """Queue all steps, then wait for the last one."""
        state = (self.carry, jnp.zeros(()))
        for _ in range(count):
            order = jnp.asarray(self._order())
            state = (state[0], jnp.zeros(()))
            for _ in range(self.task.steps):
                state = self.function(state, self.X, self.Y, order)
        self.carry, self.loss = jax.block_until_ready(state)

    def losses(self, steps: int) -> list[float]:
        """The losses of the first steps, with the rows in their original order."""
        self.reset()
        order, losses, state = jnp.arange(self.task.rows, dtype=jnp.int32), [], (self.carry, jnp.zeros(()))
        for _ in range(steps):
            state = self.function((state[0], jnp.zeros(())), self.X, self.Y, order)
            losses.append(float(state[1]))
        return losses


class Scan(_Jax):
    """One call per epoch, or per several epochs. Unrolling the scan was never faster."""

    def variants(self, task: Task) -> list[str]:
        """Combinations of how rows are gathered, epochs per call, and threads."""
        gathers = ["rows per epoch", "rows per step"] if task.batch < task.rows else ["all rows"]
        calls = ["one epoch", "several epochs"] if task.epochs_per_call > 1 else ["one epoch"]
        return [f"{g}, {c}, {t}" for g in gathers for c in calls for t in self._threads()]

    def _make(self, variant: str) -> Any:
        task = self.task

        def epoch(carry: Any, X: jax.Array, Y: jax.Array, order: jax.Array) -> tuple[Any, jax.Array]:
            rows = order.reshape(-1, task.batch)
            if "per epoch" in variant:
                shuffled = X[order].reshape(-1, task.batch, X.shape[1]), Y[rows]
                return jax.lax.scan(
                    lambda c, xy: one_step(task.optimizer, task.rate, c, *xy), carry, shuffled
                )

            def body(carry: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
                return one_step(task.optimizer, task.rate, carry, *self._batch(X, Y, rows))

            return jax.lax.scan(body, carry, rows)

        return self._jit(epoch, variant)

    def epochs(self, count: int) -> None:
        """Queue all calls, then wait for the last one."""
        carry, losses = self.carry, None
        epochs_per_call = min(count, self.task.epochs_per_call) if "several" in self.variant else 1
        for first in range(0, count, epochs_per_call):
            orders = [self._order() for _ in range(min(epochs_per_call, count - first))]
            order = orders[0] if len(orders) == 1 else np.concatenate(orders)
            carry, losses = self.function(carry, self.X, self.Y, jnp.asarray(order))
        self.carry, self.loss = jax.block_until_ready((carry, losses))

    def losses(self, steps: int) -> list[float]:
        """The losses of the first steps, with the rows in their original order; an epoch may have a single step."""
        self.reset()
        order, carry, losses = jnp.arange(self.task.rows, dtype=jnp.int32), self.carry, []
        while len(losses) < steps:
            carry, epoch_losses = self.function(carry, self.X, self.Y, order)
            losses += [float(loss) for loss in epoch_losses]
        return losses[:steps]
