"""From the shell to a trained model: ``glassgrad train digits --epochs 30`` as a whole process.

    python benchmarks/start.py [--rounds 15] [--write] [--check]

Start, data, scaling, 30 epochs, test, a model on disk: with the compiled code in the cache, with an empty cache, and
the same job in scikit-learn, which sets a tenth of the rows aside for validation and keeps the best epoch as well.
Every round runs each of them once, in turn; medians are printed, and ratios are taken within a round. Processor time
is that of all threads: on a machine that is shared with others it is the steadier of the two.

The modules are byte-compiled, as they are wherever a package is installed: the first round is not counted, and
PYTHONDONTWRITEBYTECODE is taken out of the environment. The libraries choose their own number of threads.
scikit-learn imports pandas where it is installed, which takes it a quarter of a second: its job is done with it and
without.

``--write`` keeps the table in results/start.txt; ``--check`` exits with 1 where a ratio is below its mark.
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

MARKS = {"glassgrad, code in the cache": 8.0, "glassgrad, empty cache": 5.0}
PEER = "scikit-learn"
ALONE = "scikit-learn, no pandas"
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

Seconds = tuple[float, float]  # of the clock on the wall, of the processor


def timed(command: list[str], environment: dict[str, str]) -> tuple[Seconds, str]:
    """What a process took, and what it printed; raises RuntimeError with its last line where it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (seconds, busy), done.stdout


def jobs(folder: Path) -> dict[str, Callable[[], tuple[Seconds, str]]]:
    """By name: does the job once, and says the test accuracy."""
    left_out = {"PYTHONDONTWRITEBYTECODE", "GLASSGRAD_THREADS"}
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in left_out and not key.endswith("_NUM_THREADS")
    }
    numbers = iter(range(1_000_000))
    (folder / "job.py").write_text(SCIKIT_LEARN)
    (folder / "alone.py").write_text(NO_PANDAS + SCIKIT_LEARN)

    def glassgrad(cached: bool) -> tuple[Seconds, str]:
        place = folder / f"run{next(numbers)}"
        cache = str(folder / "cache") if cached else f"{place}-cache"
        command = [sys.executable, "-m", "glassgrad", "train", "digits", "--epochs", "30", "--json"]
        seconds, out = timed([*command, "--out", str(place)], environment | {"GLASSGRAD_CACHE": cache})
        return seconds, f"{json.loads(out.splitlines()[-1])['metrics']['test']['accuracy']:.3f}"

    def sklearn(job: str) -> tuple[Seconds, str]:
        command = [sys.executable, str(folder / job), str(folder / "model.pickle")]
        seconds, out = timed(command, environment)
        accuracy, epochs = out.split()
        if epochs != "30":
            raise RuntimeError(f"scikit-learn stopped after {epochs} epochs")
        return seconds, f"{float(accuracy):.3f}"

    cached, empty = MARKS
    return {
        cached: lambda: glassgrad(True),
        empty: lambda: glassgrad(False),
        PEER: lambda: sklearn("job.py"),
        ALONE: lambda: sklearn("alone.py"),
        "import numpy": lambda: timed([sys.executable, "-c", "import numpy"], environment),
        "python alone": lambda: timed([sys.executable, "-c", "pass"], environment),
    }


def alone(samples: dict[str, list[Seconds]], name: str) -> float:
    """How many times as long scikit-learn takes without pandas."""
    return statistics.median(
        peer[0] / own[0] for peer, own in zip(samples[ALONE], samples[name], strict=True)
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="processes of each kind")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a ratio is below its mark")
    options = parser.parse_args()

    load = ", ".join(f"{item:.1f}" for item in os.getloadavg())
    samples: dict[str, list[Seconds]] = {}
    said: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        todo = jobs(Path(folder))
        for turn in range(options.rounds + 1):
            for name, job in todo.items():
                seconds, said[name] = job()
                if turn > 0:  # the first one warms up: byte code, files, the cache
                    samples.setdefault(name, []).append(seconds)

    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {options.rounds} rounds, "
        f"load at the start {load}",
        f"{'seconds, median (least)':<30} {'wall':>15} {'processor':>15} {'ratio':>7} {'mark':>5} {'accuracy':>9}",
    ]
    short = False
    for name, taken in samples.items():
        cells = [f"{statistics.median(t):.3f} ({min(t):.3f})" for t in zip(*taken, strict=True)]
        ratio = statistics.median(peer[0] / own[0] for peer, own in zip(samples[PEER], taken, strict=True))
        mark = MARKS.get(name)
        short = short or (mark is not None and ratio < mark)
        lines.append(
            f"{name:<30} {cells[0]:>15} {cells[1]:>15} {ratio:>7.1f} {mark or '':>5} {said[name].strip():>9}"
        )
    lines.append(f"ratio: how many times as long {PEER} takes, median over the rounds")
    has_pandas = importlib.util.find_spec("pandas") is not None
    lines.append(
        f"{PEER} imports pandas where it is installed, as it is {'here' if has_pandas else 'not here'}; "
        f"without it: {', '.join(f'{alone(samples, name):.1f}' for name in MARKS)}"
    )
    print("\n".join(lines))
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n")
    return int(options.check and short)


if __name__ == "__main__":
    sys.exit(main())
