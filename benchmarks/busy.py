"""Slowdown of a training step on a busy machine.

    python benchmarks/busy.py [--rounds 15] [--processes N]

A network of medium size (784-512-512-10, batch 128, Adam) trains on one thread and on all cores, while twice as many
processes as cores run busy loops. The control is one independent training per core, each on one thread: the scheduler
slows these down like any program (with two busy processes per core, a thread gets a third of it). The slowdown on all
cores beyond the control is the cost of threads waiting for each other. Idle and busy rounds alternate, and medians
are compared.
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

ALLOWED = 3.0  # the largest slowdown on all cores that passes, or that of the control if it is larger
BATCH, STEPS, ROWS = 128, 20, 2560


def busy_loop() -> None:
    """Keep one core busy until the process is terminated."""
    while True:
        pass


def training(threads: int) -> tuple[NativeExecutable, Feed]:
    """The compiled training program and its inputs for ``STEPS`` steps."""
    network, adam = Sequential(Dense(512, "relu"), Dense(512, "relu"), Dense(10)), optimizer("adam")
    program = training_program(network, (784,), loss("cross_entropy"), adam, batch=BATCH, targets=None)
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
        dict(adam.hyperparameters()),
    )
    return executable, feed


def seconds(executable: NativeExecutable, feed: Feed) -> float:
    """Seconds per step, over a call of ``STEPS`` steps."""
    start = time.perf_counter()
    executable.run(feed)
    return (time.perf_counter() - start) / STEPS


def side_by_side(executable: NativeExecutable, feed: Feed, count: int) -> float:
    """Seconds per step of ``count`` independent trainings that run at once, until the last one is done."""
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
    one_thread, all_cores = training(1), training(cores)
    measures: dict[str, Callable[[], float]] = {
        "one thread": lambda: seconds(*one_thread),
        f"{cores} threads": lambda: seconds(*all_cores),
        f"{cores} independent trainings": lambda: side_by_side(*one_thread, cores),
    }
    times: dict[tuple[str, bool], list[float]] = {
        (name, busy): [] for name in measures for busy in (False, True)
    }
    for measure in measures.values():
        measure()
    context: Any = multiprocessing.get_context("spawn")
    for _ in range(options.rounds):
        for name, measure in measures.items():
            times[name, False].append(measure())
        processes = [context.Process(target=busy_loop, daemon=True) for _ in range(options.processes)]
        for process in processes:
            process.start()
        time.sleep(0.5)  # until all of them run
        for name, measure in measures.items():
            times[name, True].append(measure())
        for process in processes:
            process.terminate()
            process.join()

    print(f"784-512-512-10, batch {BATCH}, Adam; {cores} cores, {options.processes} busy processes")
    print(f"{'':<24} {'idle':>10} {'busy':>13} {'slowdown':>10}")
    slowdowns = {}
    for name in measures:
        idle, busy = (statistics.median(times[name, state]) for state in (False, True))
        slowdowns[name] = busy / idle
        print(f"{name:<24} {idle * 1e6:>7.0f} us {busy * 1e6:>10.0f} us {slowdowns[name]:>9.2f}x")
    _, on_all_cores, control = slowdowns.values()
    print(
        f"slowdown on all cores: {on_all_cores:.2f} (limit {ALLOWED:g}), {on_all_cores / control:.2f} of the control"
    )
    return 0 if on_all_cores < max(ALLOWED, control) else 1


if __name__ == "__main__":
    sys.exit(main())
