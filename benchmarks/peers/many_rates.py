"""Many small networks that differ only in their learning rate, trained on the same digits."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from peers.task import Task

OURS = "Glassgrad"
NETWORKS, EPOCHS = 64, 20
TASK = Task((64, 32, 10), 32, 41 * 32, "sgd", "digits")
RATE_VALUES = np.logspace(-3, 0, NETWORKS).astype(np.float32)


def rates(folder: Path, threads: int) -> dict[str, Callable[[], float]]:
    """The timed jobs by name. All start from the same weights; Glassgrad and JAX also use the same order of rows.

    Raises RuntimeError if the final losses of Glassgrad and JAX differ.
    """
    random = np.random.default_rng(0)
    order = np.concatenate([random.permutation(TASK.rows) for _ in range(EPOCHS)]).astype(np.int32)
    makers = {OURS: glassgrad_rates, "JAX vmap of scan": jax_rates, "scikit-learn, joblib": sklearn_rates}
    runs: dict[str, Callable[[], float]] = {}
    losses: dict[str, np.ndarray] = {}
    for name, maker in makers.items():
        start = time.perf_counter()
        try:
            call = maker(order, threads)
        except ImportError as error:
            print(f"skipped: {name} ({error})")
            continue
        losses[name] = np.asarray(call())
        print(f"{name + ', first call (compiling, starting a pool)':<72}{time.perf_counter() - start:9.2f} s")
        runs[name] = partial(seconds_of, call)
    if OURS in losses and "JAX vmap of scan" in losses:
        # At the higher half of the rates training is chaotic, and rounding errors grow.
        glassgrad_losses, jax_losses = (losses[name][: NETWORKS // 2] for name in (OURS, "JAX vmap of scan"))
        difference = float(np.abs(glassgrad_losses / jax_losses - 1).max())
        print(f"largest relative difference of the final losses, Glassgrad and JAX: {difference:.1e}")
        if not difference < 1e-2:
            raise RuntimeError("Glassgrad and JAX trained different networks")
    return runs


def seconds_of(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def glassgrad_rates(order: np.ndarray, threads: int) -> Callable[[], Any]:
    """One program, compiled once. The 64 calls differ in a run-time input and run on ``threads`` threads."""
    from glassgrad.backends.base import Feed
    from glassgrad.backends.native.backend import NativeBackend
    from peers.with_glassgrad import FEATURES, TARGETS, empty_slots, first_weights, optimizer_of, program_of

    optimizer = optimizer_of(TASK)
    program = program_of(TASK, optimizer)
    executable = NativeBackend(threads=1, cached=False).compile(program)
    features, classes, _ = TASK.data()
    data, weights, slots = (
        {FEATURES: features, TARGETS: classes},
        first_weights(TASK, program),
        empty_slots(program),
    )

    def train(rate: float) -> float:
        hyper = optimizer.hyperparameters() | {"learning_rate": rate}
        result = executable.run(Feed(data, order, weights, slots, hyper))
        return float(result.outputs["loss"][-TASK.steps :].mean())

    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(train, map(float, RATE_VALUES)))


def jax_rates(order: np.ndarray, threads: int) -> Callable[[], Any]:
    """All epochs in one scan, mapped over the learning rates, compiled once."""
    import jax
    import jax.numpy as jnp

    from peers.with_jax import one_step

    features, classes, _ = TASK.data()
    X, Y, batches = jnp.asarray(features), jnp.asarray(classes), jnp.asarray(order.reshape(-1, TASK.batch))
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in TASK.weights()]

    def train(rate: jax.Array, X: jax.Array, Y: jax.Array, batches: jax.Array) -> jax.Array:
        def body(carry: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
            return one_step(TASK.optimizer, rate, carry, X[rows], Y[rows])

        losses = jax.lax.scan(body, (params, [], jnp.zeros((), jnp.int32)), batches)[1]
        return losses[-TASK.steps :].mean()

    function = jax.jit(jax.vmap(train, in_axes=(0, None, None, None)))
    values = jnp.asarray(RATE_VALUES)
    return lambda: function(values, X, Y, batches).block_until_ready()


def sklearn_rates(order: np.ndarray, threads: int) -> Callable[[], Any]:
    """One fit per learning rate, in ``threads`` processes that joblib keeps running."""
    from joblib import Parallel, delayed

    features, classes, _ = TASK.data()
    jobs = [delayed(sklearn_fit)(float(rate), features, classes) for rate in RATE_VALUES]
    warnings.filterwarnings("ignore", message="os.fork", category=RuntimeWarning)
    return lambda: Parallel(n_jobs=threads)(jobs)


def sklearn_fit(rate: float, features: np.ndarray, classes: np.ndarray) -> float:
    """The mean loss of the last epoch."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    model = MLPClassifier(
        TASK.widths[1:-1], solver="sgd", momentum=0.0, nesterovs_momentum=False, alpha=0.0, batch_size=TASK.batch,
        learning_rate_init=rate, max_iter=EPOCHS, tol=0.0, n_iter_no_change=EPOCHS + 1, random_state=0,
    )  # fmt: skip
    return float(model.fit(features, classes).loss_)
