"""How much slower a training step gets on a machine that is busy with other things.

    python benchmarks/busy.py [--rounds 15] [--processes N]

Twice as many processes as there are cores do nothing but count, while a network of middle size (784-512-512-10, batch
128, Adam) trains on as many threads as there are cores. Fair is what the system's scheduler leaves over: with two busy
processes on every core a third of it, so three times slower; a spinning barrier that waited for a thread that
is not running would cost far more. Alone and busy rounds alternate, and medians are compared.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from typing import Any

import numpy as np

from glassgrad.backends.base import Feed
from glassgrad.backends.native.backend import NativeBackend, NativeExecutable, default_threads
from glassgrad.nn.layers import Dense
from glassgrad.nn.losses import loss
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    cores = default_threads()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--processes", type=int, default=2 * cores)
    options = parser.parse_args()
    runs = {threads: training(threads) for threads in sorted({1, cores})}
    times: dict[tuple[int, bool], list[float]] = {(t, busy): [] for t in runs for busy in (False, True)}
    for executable, feed in runs.values():
        executable.run(feed)
    context: Any = multiprocessing.get_context("spawn")
    for _ in range(options.rounds):
        for threads, run in runs.items():
            times[threads, False].append(seconds(*run))
        others = [context.Process(target=count, daemon=True) for _ in range(options.processes)]
        for process in others:
            process.start()
        time.sleep(0.5)  # until they really run
        for threads, run in runs.items():
            times[threads, True].append(seconds(*run))
        for process in others:
            process.terminate()
            process.join()

    print(f"784-512-512-10, batch {BATCH}, Adam; {cores} cores, {options.processes} busy processes")
    print(f"{'threads':>8} {'alone':>12} {'busy':>12} {'slower':>8}")
    worst = 0.0
    for threads in runs:
        alone, busy = (statistics.median(times[threads, state]) for state in (False, True))
        print(f"{threads:>8} {alone * 1e6:>9.0f} us {busy * 1e6:>9.0f} us {busy / alone:>7.2f}x")
        worst = max(worst, busy / alone) if threads == cores else worst
    fine = worst < ALLOWED
    print(f"on all cores {worst:.2f} times slower: {'fine' if fine else f'more than {ALLOWED:g} times'}")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
