"""What it costs to look inside while training: the same run with and without lenses.

    python benchmarks/lenses.py [--rounds 15] [--threads 2] [--backend native] [--write]

Whole runs are timed (compiling excluded), in turns; the ratio is taken within a round, because the speed of a machine
drifts, and its median is printed with its quartiles. "A look" is what a step that is looked at costs more, from runs
in which all are; times the share of the steps looked at, it gives the ratio once more. All runs must end in the same
weights, to the bit. ``--write`` keeps the table in results/lenses.txt.
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
LIMIT = 1.05  # what looking may cost from 784-128-10 in batches of 64 on
REST = 0.05
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

# name: options of the run, rows, epochs, whether the limit holds for it
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
    """``rows`` digits of MNIST, or noise where it is not at hand."""
    if MNIST.is_dir():
        data = gg.load_source(MNIST)
        x, y = data.features[:rows].astype(np.float32), data.targets[:rows]
    else:
        noise = np.random.default_rng(0)
        x, y = noise.normal(size=(rows, 28, 28)).astype(np.float32), np.arange(rows) % 10
    return gg.from_arrays(x[..., np.newaxis] if image else x, y, name="digits")


def data_of(name: str, rows: int) -> gg.Dataset:
    """What the case ``name`` trains on."""
    if not name.startswith("64-"):
        return images(rows, "LeNet" in name)
    digits = gg.load_source("digits")
    return gg.from_arrays(digits.features[:rows], digits.targets[:rows], name="digits")


def measure(name: str, rounds: int, backend: str) -> dict[str, list[float]]:
    """Round by round: seconds a step without lenses, the ratio with them, and what one look costs in steps.

    The last from runs in which every step is looked at; ``samples`` holds how many a usual run looks at.
    """
    options, rows, epochs, _ = CASES[name]
    data = data_of(name, rows)
    common = options | {"epochs": epochs, "validation": 0, "test": 0, "backend": backend}
    found: dict[str, list[float]] = {"step": [], "ratio": [], "look": [], "samples": []}
    for turn in range(rounds + 1):
        runs = {}
        ways = {"off": (False, EVERY), "on": (True, EVERY), "all": (True, 1)}
        for way in ways if turn % 2 else reversed(ways):
            watch, lenses.EVERY = ways[way]
            time.sleep(REST)
            runs[way] = gg.train(data, watch=watch, **common)
        lenses.EVERY = EVERY
        for key, array in runs["off"].model.weights.items():
            if not all(run.model.weights[key].tobytes() == array.tobytes() for run in runs.values()):
                raise SystemExit(f"{name}: looking changed {key}")
        if turn:  # the first turn compiles
            off, on, every = (runs[way].seconds_training for way in ("off", "on", "all"))
            seen, steps = len(runs["on"].lenses or ()), runs["off"].steps
            found["step"].append(off / steps)
            found["ratio"].append(on / off)
            found["look"].append(every / off - 1)
            found["samples"].append(seen)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--backend", default="native")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    os.environ["GLASSGRAD_THREADS"] = str(options.threads)
    title = (
        f"Lenses while training: time with over time without ({options.backend}, {options.threads} threads)"
    )
    lines = [title, str(machine()), ""]
    header = (
        f"{'network':<34}{'step':>9}  {'steps':>6}  {'looked at':>9}  {'a look':>10}  {'ratio':>6}  quartiles"
    )
    lines.append(header)
    print("\n".join(lines), flush=True)
    worst = 0.0
    for name in CASES:
        if options.only not in name:
            continue
        found = measure(name, options.rounds, options.backend)
        low, middle, high = quartiles(found["ratio"])
        rows, batch, epochs = CASES[name][1], CASES[name][0]["batch_size"], CASES[name][2]
        step, look, samples = (statistics.median(found[key]) for key in ("step", "look", "samples"))
        line = f"{name:<34}{step * 1e6:>6.0f} us  {-(-rows // batch) * epochs:>6}  {samples:>9.0f}"
        lines.append(f"{line}  {look:>4.2f} steps  {middle:>6.3f}  {low:.3f} to {high:.3f}")
        print(lines[-1], flush=True)
        if CASES[name][3]:
            worst = max(worst, middle)
    lines.append(f"largest median from 784-128-10 on: {worst:.3f} (limit {LIMIT})")
    print(lines[-1])
    if options.write:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / "lenses.txt").write_text("\n".join(lines) + "\n")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
