"""How much slower a training step gets on a machine that is busy with other things.

    python benchmarks/busy.py [--rounds 15] [--processes N]

Twice as many processes as there are cores do nothing but count, while a network of middle size (784-512-512-10, batch
128, Adam) trains on one thread, and on as many as there are cores. The control are as many trainings on one thread
each, side by side, that share nothing: what the scheduler does to these, it does to any program (two busy processes
beside a thread on every core leave it a third). What a step on all cores loses beyond the control is the price of
waiting for one another. Alone and busy rounds alternate, and medians are compared.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from glassgrad.backends.base import Feed
from glassgrad.backends.native.backend import NativeBackend, NativeExecutable, default_threads
from glassgrad.losses.table import loss
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.network import Sequential
from glassgrad.optim.optimizers import optimizer
from glassgrad.training.programs import training_program
from glassgrad.training.start import initial_weights

ALLOWED = 3.0
BATCH, STEPS, ROWS = 128, 20, 2560


def count() -> None:
    while True:
        pass


def training(threads: int) -> tuple[NativeExecutable, Feed]:
    network, made = Sequential(Dense(512, "relu"), Dense(512, "relu"), Dense(10)), optimizer("adam")
    program = training_program(network, (784,), loss("cross_entropy"), made, batch=BATCH, targets=None)
    executable = NativeBackend(threads=threads).compile(program)
    assert isinstance(executable, NativeExecutable)
    rng = np.random.default_rng(0)
    feed = Feed(
        {
            "features": rng.normal(size=(ROWS, 784)).astype(np.float32),
            "targets": rng.integers(0, 10, ROWS).astype(np.int32),
        },
        np.arange(STEPS * BATCH, dtype=np.int32) % ROWS,
        initial_weights(network, (784,), seed=0, dtype="float32"),
        {item.name: np.zeros(item.type.shape, np.float32) for item in program.state},
        dict(made.hyperparameters()),
    )
    return executable, feed


def seconds(executable: NativeExecutable, feed: Feed) -> float:
    """One step, from a run of a few."""
    start = time.perf_counter()
    executable.run(feed)
    return (time.perf_counter() - start) / STEPS


def side_by_side(executable: NativeExecutable, feed: Feed, count: int) -> float:
    """One step of ``count`` independent trainings at once, until the last one is done."""
    start = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(executable.run, [feed] * count))
    return (time.perf_counter() - start) / STEPS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    cores = default_threads()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--processes", type=int, default=2 * cores)
    options = parser.parse_args()
    one, all_cores = training(1), training(cores)
    measures: dict[str, Callable[[], float]] = {
        "one thread": lambda: seconds(*one),
        f"{cores} threads": lambda: seconds(*all_cores),
        f"{cores} alone, side by side": lambda: side_by_side(*one, cores),
    }
    times: dict[tuple[str, bool], list[float]] = {(n, busy): [] for n in measures for busy in (False, True)}
    for measure in measures.values():
        measure()
    context: Any = multiprocessing.get_context("spawn")
    for _ in range(options.rounds):
        for name, measure in measures.items():
            times[name, False].append(measure())
        others = [context.Process(target=count, daemon=True) for _ in range(options.processes)]
        for process in others:
            process.start()
        time.sleep(0.5)  # until they really run
        for name, measure in measures.items():
            times[name, True].append(measure())
        for process in others:
            process.terminate()
            process.join()

    print(f"784-512-512-10, batch {BATCH}, Adam; {cores} cores, {options.processes} busy processes")
    print(f"{'':<24} {'alone':>10} {'busy':>13} {'slower':>10}")
    slower = {}
    for name in measures:
        alone, busy = (statistics.median(times[name, state]) for state in (False, True))
        slower[name] = busy / alone
        print(f"{name:<24} {alone * 1e6:>7.0f} us {busy * 1e6:>10.0f} us {slower[name]:>9.2f}x")
    _, shared, control = slower.values()
    print(
        f"on all cores {shared:.2f} times slower (wanted: below {ALLOWED:g}); {shared / control:.2f} of the control"
    )
    return 0 if shared < max(ALLOWED, control) else 1


if __name__ == "__main__":
    sys.exit(main())
