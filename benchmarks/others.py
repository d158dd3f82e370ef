"""One-row prediction and training with many learning rates, beside other libraries.

    python benchmarks/others.py [--only row,rates] [--rounds 11] [--threads 2]

row    one-row prediction with 64-64-10, one thread, float32 array in and out
rates  64 networks 64-32-10 with 64 learning rates, 20 epochs of digits each, batch 32

``start.py`` times a whole process, from the shell to a saved model. Rounds are interleaved. The table has medians and
quartiles; ratios are taken within a round.
"""

from __future__ import annotations

import os

# Set before NumPy and PyTorch are loaded: one row uses one thread, and so does each of the many networks.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peers.many_rates import EPOCHS, NETWORKS, rates
from peers.one_row import row
from peers.report import machine, number, quartiles

OURS = "Glassgrad"
RESULTS = Path(__file__).parent / "results"
REST = 0.05
Runs = dict[str, Callable[[], float]]  # library: does the job once and returns the seconds it took

# --- the run ------------------------------------------------------------------------------------------------

CASES: dict[str, tuple[Callable[[Path, int], Runs], str, float, str]] = {
    "row": (row, "one row through 64-64-10, one thread", 1e6, "us"),
    "rates": (rates, f"{NETWORKS} networks 64-32-10, {EPOCHS} epochs of digits each", 1e3, "ms"),
}


def measure(runs: Runs, rounds: int) -> dict[str, list[float]]:
    """Seconds of each library in each round. The libraries alternate; a first, uncounted round warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(REST)
            seconds = run()
            if turn:
                times[name].append(seconds)
    return times


def table(times: dict[str, list[float]], scale: float, unit: str) -> str:
    """One line for each library, with its ratio to Glassgrad."""
    lines = []
    for name, values in times.items():
        low, median, high = quartiles([scale * value for value in values])
        ratio = statistics.median(b / a for a, b in zip(times[OURS], values, strict=True))
        spread = f"({number(low)} to {number(high)})"
        lines.append(f"{name:<30}{number(median):>10} {unit} {spread:<22}{ratio:>8.2f} x")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(CASES), help="row, rates, or both")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="threads for all but one-row prediction"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for others.json (default: results, for a complete run)"
    )
    options = parser.parse_args()
    selected = options.only.split(",")
    if unknown := set(selected) - set(CASES):
        parser.error(f"--only: {sorted(unknown)[0]!r} is not one of {', '.join(CASES)}")
    results: dict[str, Any] = {"machine": machine(), "threads": options.threads, "seconds": {}}
    for name in selected:
        make_runs, title, scale, unit = CASES[name]
        print(title)
        with tempfile.TemporaryDirectory(prefix="others-") as folder:
            times = measure(make_runs(Path(folder), options.threads), options.rounds)
        print(table(times, scale, unit), end="\n\n", flush=True)
        results["seconds"][name] = times
    out = options.out or (RESULTS if set(selected) == set(CASES) and options.rounds >= 11 else None)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "others.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
