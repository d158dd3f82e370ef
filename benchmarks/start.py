"""Time of the whole process ``glassgrad train digits --epochs 30``, from the shell to a saved model.

    python benchmarks/start.py [--rounds 15] [--write] [--check]

The process starts Python, loads and scales the data, trains 30 epochs, tests the model and saves it. It is timed with
the compiled code in the cache and with an empty cache. scikit-learn does the same job; it also sets a tenth of the
rows aside for validation and keeps the best epoch. Every round runs each job once. The table has medians; ratios are
taken within a round. Processor time is the sum over all threads; on a shared machine it varies less than wall-clock
time.

All modules are byte-compiled, as in an installed package: the first round is not counted, and the environment has no
PYTHONDONTWRITEBYTECODE. Each library chooses its number of threads. scikit-learn imports pandas if it is installed,
which takes a quarter of a second, so its job is timed with and without pandas.

``--write`` writes the table to results/start.txt; ``--check`` exits with 1 if a ratio is below its required value.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REQUIRED = {"glassgrad, code in the cache": 8.0, "glassgrad, empty cache": 5.0}
PEER = "scikit-learn"
WITHOUT_PANDAS = "scikit-learn, no pandas"
RESULTS = Path(__file__).parent / "results" / "start.txt"

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
network = MLPClassifier((64, 32), batch_size=32, max_iter=30, alpha=0, early_stopping=True, n_iter_no_change=31,
                        random_state=0)
model = make_pipeline(StandardScaler(), network).fit(X, y)
print(model.score(X_test, y_test), network.n_iter_)
with open(sys.argv[1], "wb") as file:
    pickle.dump(model, file)
"""

NO_PANDAS = """
import sys


class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            raise ImportError(name)


sys.meta_path.insert(0, NoPandas())
"""

Seconds = tuple[float, float]  # wall-clock time, processor time


def timed(command: list[str], environment: dict[str, str]) -> tuple[Seconds, str]:
    """The duration of a process, and its output. Raises RuntimeError with the last line of stderr if it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall_seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise RuntimeError((process.stderr.strip().splitlines() or ["no message"])[-1])
    processor_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (wall_seconds, processor_seconds), process.stdout


def jobs(folder: Path) -> dict[str, Callable[[], tuple[Seconds, str]]]:
    """Functions by name that do the job once and return the seconds and the test accuracy."""
    removed = {"PYTHONDONTWRITEBYTECODE", "GLASSGRAD_THREADS"}
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in removed and not key.endswith("_NUM_THREADS")
    }
    run_numbers = iter(range(1_000_000))
    (folder / "job.py").write_text(SCIKIT_LEARN)
    (folder / "alone.py").write_text(NO_PANDAS + SCIKIT_LEARN)

    def glassgrad(cached: bool) -> tuple[Seconds, str]:
        run_folder = folder / f"run{next(run_numbers)}"
        cache = str(folder / "cache") if cached else f"{run_folder}-cache"
        command = [sys.executable, "-m", "glassgrad", "train", "digits", "--epochs", "30", "--json"]
        seconds, out = timed([*command, "--out", str(run_folder)], environment | {"GLASSGRAD_CACHE": cache})
        return seconds, f"{json.loads(out.splitlines()[-1])['metrics']['test']['accuracy']:.3f}"

    def sklearn(job: str) -> tuple[Seconds, str]:
        command = [sys.executable, str(folder / job), str(folder / "model.pickle")]
        seconds, out = timed(command, environment)
        accuracy, epochs = out.split()
        if epochs != "30":
            raise RuntimeError(f"scikit-learn stopped after {epochs} epochs")
        return seconds, f"{float(accuracy):.3f}"

    cached, empty = REQUIRED
    return {
        cached: lambda: glassgrad(True),
        empty: lambda: glassgrad(False),
        PEER: lambda: sklearn("job.py"),
        WITHOUT_PANDAS: lambda: sklearn("alone.py"),
        "import numpy": lambda: timed([sys.executable, "-c", "import numpy"], environment),
        "python alone": lambda: timed([sys.executable, "-c", "pass"], environment),
    }


def ratio_without_pandas(samples: dict[str, list[Seconds]], name: str) -> float:
    """The median ratio of scikit-learn's time without pandas to the time of ``name``."""
    return statistics.median(
        peer[0] / own[0] for peer, own in zip(samples[WITHOUT_PANDAS], samples[name], strict=True)
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="processes of each kind")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a ratio is below its required value"
    )
    options = parser.parse_args()

    load = ", ".join(f"{item:.1f}" for item in os.getloadavg())
    samples: dict[str, list[Seconds]] = {}
    accuracies: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs_by_name = jobs(Path(folder))
        for turn in range(options.rounds + 1):
            for name, job in jobs_by_name.items():
                seconds, accuracies[name] = job()
                if turn > 0:  # the first round warms up byte code, files and the cache
                    samples.setdefault(name, []).append(seconds)

    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {options.rounds} rounds, "
        f"load at the start {load}",
        f"{'seconds, median (minimum)':<30} {'wall':>15} {'processor':>15} {'ratio':>7} {'required':>9} "
        f"{'accuracy':>9}",
    ]
    below_required = False
    for name, times in samples.items():
        cells = [f"{statistics.median(t):.3f} ({min(t):.3f})" for t in zip(*times, strict=True)]
        ratio = statistics.median(peer[0] / own[0] for peer, own in zip(samples[PEER], times, strict=True))
        required = REQUIRED.get(name)
        below_required = below_required or (required is not None and ratio < required)
        lines.append(
            f"{name:<30} {cells[0]:>15} {cells[1]:>15} {ratio:>7.1f} {required or '':>9} "
            f"{accuracies[name].strip():>9}"
        )
    lines.append(f"ratio: time of {PEER} / time of the job, median over the rounds")
    has_pandas = importlib.util.find_spec("pandas") is not None
    lines.append(
        f"{PEER} imports pandas if it is installed (here: {'yes' if has_pandas else 'no'}); "
        f"ratios without it: {', '.join(f'{ratio_without_pandas(samples, name):.1f}' for name in REQUIRED)}"
    )
    print("\n".join(lines))
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n")
    return int(options.check and below_required)


if __name__ == "__main__":
    sys.exit(main())
