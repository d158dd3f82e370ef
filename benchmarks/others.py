"""Three other things that people wait for, next to the libraries that they would use for them.

    python benchmarks/others.py [--only process,row,rates] [--rounds 11] [--threads 2]

process  ``glassgrad train digits --epochs 30`` as a fresh process, against the same job in scikit-learn
row      one-row prediction with 64-64-10, one thread, float32 array in and out
rates    64 networks 64-32-10 with 64 learning rates, 20 epochs of digits each, batch 32

Rounds are interleaved; medians are printed with their quartiles, and ratios are taken within a round.
"""

from __future__ import annotations

import os

# Before NumPy and PyTorch are loaded: one row is a matter of one thread, and so is each of many networks.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from peers.many_rates import EPOCHS, NETWORKS, rates
from peers.one_row import row
from peers.report import machine, number, quartiles

OURS = "Glassgrad"
RESULTS = Path(__file__).parent / "results"
REST = 0.05
SAID: dict[str, str] = {}  # what the processes said about their result, by name
Runs = dict[str, Callable[[], float]]  # by name: does the job once, returns seconds

SCIKIT_LEARN = """
import pickle, sys, warnings
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore", ConvergenceWarning)
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X.astype("float32"), y, test_size=0.2, stratify=y, random_state=0)
# early_stopping: a tenth is set aside for validation, and the best epoch is kept, as glassgrad train does.
network = MLPClassifier((64, 32), batch_size=32, max_iter=30, alpha=0, early_stopping=True, n_iter_no_change=31,
                        random_state=0)
model = make_pipeline(StandardScaler(), network).fit(X, y)
print(model.score(X_test, y_test), network.n_iter_)
with open(sys.argv[1], "wb") as file:
    pickle.dump(model, file)
"""


# --- the whole process --------------------------------------------------------------------------------------


def process(folder: Path, threads: int) -> Runs:
    """Import, load, split, scale, train 30 epochs, test, save: from the shell's point of view."""
    clean = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    environment = clean | {"GLASSGRAD_CACHE": str(folder / "cache")}
    environment |= {f"{pool}_NUM_THREADS": str(threads) for pool in ("OMP", "OPENBLAS", "MKL", "GLASSGRAD")}
    (folder / "job.py").write_text(SCIKIT_LEARN)
    numbers = iter(range(1_000_000))

    def glassgrad(cached: bool) -> float:
        place = folder / f"run{next(numbers)}"
        own = environment if cached else environment | {"GLASSGRAD_CACHE": str(place) + "-cache"}
        command = [sys.executable, "-m", "glassgrad", "train", "digits", "--epochs", "30", "--json"]
        seconds, out = timed([*command, "--out", str(place)], own)
        SAID["Glassgrad"] = (
            f"test accuracy {json.loads(out.splitlines()[-1])['metrics']['test']['accuracy']:.3f}"
        )
        return seconds

    def sklearn() -> float:
        seconds, out = timed(
            [sys.executable, str(folder / "job.py"), str(folder / "model.pickle")], environment
        )
        accuracy, epochs = out.split()
        if epochs != "30":
            raise RuntimeError(f"it stopped after {epochs} epochs")
        SAID["scikit-learn"] = f"test accuracy {float(accuracy):.3f}"
        return seconds

    runs: Runs = {OURS: partial(glassgrad, True), "Glassgrad, nothing cached": partial(glassgrad, False)}
    runs["scikit-learn"] = sklearn
    runs["python -c pass"] = lambda: timed([sys.executable, "-c", "pass"], environment)[0]
    return runs


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Wall-clock seconds of a process, and what it printed; raises RuntimeError with its last line on failure."""
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return seconds, done.stdout


# --- the run ------------------------------------------------------------------------------------------------

CASES: dict[str, tuple[Callable[[Path, int], Runs], str, float, str]] = {
    "process": (process, "whole process: digits, 30 epochs, tested and saved", 1e3, "ms"),
    "row": (row, "one row through 64-64-10, one thread", 1e6, "us"),
    "rates": (rates, f"{NETWORKS} networks 64-32-10, {EPOCHS} epochs of digits each", 1e3, "ms"),
}


def measure(runs: Runs, rounds: int) -> dict[str, list[float]]:
    """Seconds by name, in turns; a first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(REST)
            seconds = run()
            if turn:
                times[name].append(seconds)
    return times


def table(times: dict[str, list[float]], scale: float, unit: str, said: dict[str, str]) -> str:
    """One line each, with the ratio to Glassgrad."""
    lines = []
    for name, values in times.items():
        low, middle, high = quartiles([scale * value for value in values])
        ratio = statistics.median(b / a for a, b in zip(times[OURS], values, strict=True))
        spread = f"({number(low)} to {number(high)})"
        lines.append(
            f"{name:<30}{number(middle):>10} {unit} {spread:<22}{ratio:>8.2f} x  {said.get(name, '')}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(CASES), help="some of process,row,rates")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of everything but one row")
    parser.add_argument(
        "--out", type=Path, help="folder for others.json (default: results, for a complete run)"
    )
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(CASES):
        parser.error(f"--only: {sorted(unknown)[0]!r} is not one of {', '.join(CASES)}")
    results: dict[str, Any] = {"machine": machine(), "threads": options.threads, "seconds": {}}
    for name in chosen:
        make, title, scale, unit = CASES[name]
        print(title)
        with tempfile.TemporaryDirectory(prefix="others-") as folder:
            times = measure(make(Path(folder), options.threads), options.rounds)
        print(table(times, scale, unit, SAID if make is process else {}), end="\n\n", flush=True)
        results["seconds"][name] = times
    out = options.out or (RESULTS if set(chosen) == set(CASES) and options.rounds >= 11 else None)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "others.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
