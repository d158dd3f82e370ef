"""Cost of lenses: the time of the same training with and without them.

    python benchmarks/lenses.py [--rounds 15] [--threads 2] [--backend native] [--write]

Whole runs are timed alternately, without compiling. The ratio is taken within a round, because the speed of a machine
drifts; the table has its median and quartiles. "sample" is the extra time of a sampled step, measured in runs that
sample every step. Multiplied by the share of sampled steps it gives the ratio a second time. All runs must end with
the same weights, bit for bit. ``--write`` writes the table to results/lenses.txt.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers.report import machine, quartiles

import glassgrad as gg
from glassgrad.training import lenses

RESULTS = Path(__file__).parent / "results"
MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"
LIMIT = 1.05  # the largest ratio that passes, for 784-128-10 with batches of 64 and anything larger
REST = 0.05  # seconds between runs
EVERY = lenses.EVERY

LENET = gg.Sequential(
    gg.nn.Conv2D(6, 5, activation="relu", padding="same"),
    gg.nn.MaxPool2D(2),
    gg.nn.Conv2D(16, 5, activation="relu"),
    gg.nn.MaxPool2D(2),
    gg.nn.Flatten(),
    gg.nn.Dense(120, "relu"),
    gg.nn.Dense(84, "relu"),
    gg.nn.Dense(10),
)

# name: options of the run, rows, epochs, whether the limit applies
CASES: dict[str, tuple[dict[str, Any], int, int, bool]] = {
    "64-32-10, batch 32, adam": ({"layers": [32], "batch_size": 32}, 1792, 20, False),
    "784-128-10, batch 64, sgd": ({"layers": [128], "batch_size": 64, "optimizer": "sgd"}, 25_600, 4, True),
    "784-128-10, batch 64, adam": ({"layers": [128], "batch_size": 64}, 25_600, 4, True),
    "784-128-10, batch 64, clipped": (
        {"layers": [128], "batch_size": 64, "optimizer": "sgd", "momentum": 0.9, "clip_norm": 1.0},
        25_600,
        4,
        True,
    ),
    "784-512-512-10, batch 128, adam": ({"layers": [512, 512], "batch_size": 128}, 25_600, 4, True),
    "LeNet-5, batch 128, adam": ({"network": LENET, "batch_size": 128}, 25_600, 4, True),
}


def images(rows: int, image: bool) -> gg.Dataset:
    """``rows`` digits of MNIST, or noise if MNIST is not available."""
    if MNIST.is_dir():
        data = gg.load_source(MNIST)
        x, y = data.features[:rows].astype(np.float32), data.targets[:rows]
    else:
        noise = np.random.default_rng(0)
        x, y = noise.normal(size=(rows, 28, 28)).astype(np.float32), np.arange(rows) % 10
    return gg.from_arrays(x[..., np.newaxis] if image else x, y, name="digits")


def data_of(name: str, rows: int) -> gg.Dataset:
    """The data of the case ``name``."""
    if not name.startswith("64-"):
        return images(rows, "LeNet" in name)
    digits = gg.load_source("digits")
    return gg.from_arrays(digits.features[:rows], digits.targets[:rows], name="digits")


def measure(name: str, rounds: int, backend: str) -> dict[str, list[float]]:
    """For each round: seconds per step without lenses, the ratio, and the cost of one sample in steps.

    The cost of a sample comes from runs that sample every step. ``samples`` is the number of samples in a normal run.
    """
    options, rows, epochs, _ = CASES[name]
    data = data_of(name, rows)
    common = options | {"epochs": epochs, "validation": 0, "test": 0, "backend": backend}
    measured: dict[str, list[float]] = {"step": [], "ratio": [], "sample": [], "samples": []}
    for turn in range(rounds + 1):
        runs = {}
        modes = {"off": (False, EVERY), "on": (True, EVERY), "all": (True, 1)}
        for mode in modes if turn % 2 else reversed(modes):
            watch, lenses.EVERY = modes[mode]
            time.sleep(REST)
            runs[mode] = gg.train(data, watch=watch, **common)
        lenses.EVERY = EVERY
        for key, array in runs["off"].model.weights.items():
            if not all(run.model.weights[key].tobytes() == array.tobytes() for run in runs.values()):
                raise SystemExit(f"{name}: lenses changed {key}")
        if turn:  # the first turn compiles
            off, on, every_step = (runs[mode].seconds_training for mode in ("off", "on", "all"))
            samples, steps = len(runs["on"].lenses or ()), runs["off"].steps
            measured["step"].append(off / steps)
            measured["ratio"].append(on / off)
            measured["sample"].append(every_step / off - 1)
            measured["samples"].append(samples)
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--backend", default="native")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    os.environ["GLASSGRAD_THREADS"] = str(options.threads)
    title = f"Training with lenses: time with lenses / time without ({options.backend}, {options.threads} threads)"
    lines = [title, str(machine()), ""]
    header = (
        f"{'network':<34}{'step':>9}  {'steps':>6}  {'samples':>9}  {'sample':>10}  {'ratio':>6}  quartiles"
    )
    lines.append(header)
    print("\n".join(lines), flush=True)
    worst = 0.0
    for name in CASES:
        if options.only not in name:
            continue
        measured = measure(name, options.rounds, options.backend)
        low, median, high = quartiles(measured["ratio"])
        rows, batch, epochs = CASES[name][1], CASES[name][0]["batch_size"], CASES[name][2]
        step, sample, samples = (statistics.median(measured[key]) for key in ("step", "sample", "samples"))
        line = f"{name:<34}{step * 1e6:>6.0f} us  {-(-rows // batch) * epochs:>6}  {samples:>9.0f}"
        lines.append(f"{line}  {sample:>4.2f} steps  {median:>6.3f}  {low:.3f} to {high:.3f}")
        print(lines[-1], flush=True)
        if CASES[name][3]:
            worst = max(worst, median)
    lines.append(f"largest median for 784-128-10 and larger: {worst:.3f} (limit {LIMIT})")
    print(lines[-1])
    if options.write:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / "lenses.txt").write_text("\n".join(lines) + "\n")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
