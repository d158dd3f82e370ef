"""Time per training step on all cores, with weights stored in panels and stored row by row.

    python benchmarks/panels.py [--rounds 60] [--write]

In a row-by-row matrix each row is shared by several threads. If the rows are short, a core prefetches cache lines
that another core is about to change. The two layouts run alternately, in random order; "quarter" is the lower
quartile.
On a virtual machine the distance between the cores may change over time. Then the medians are unreliable; the lower
quartiles and the ratio (the median over the rounds) are more reliable. Both layouts must end with the same weights,
bit for bit. ``--write`` writes the table to results/panels.txt.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path

from peers.report import machine, quartiles
from peers.task import NETWORKS, Task
from peers.with_glassgrad import Glassgrad

from glassgrad.backends.native.backend import NativeBackend, default_threads
from glassgrad.backends.native.plan import schedule

RESULTS = Path(__file__).parent / "results" / "panels.txt"
CASES = (("784-128-10", "sgd"), ("784-128-10", "adam"), ("784-512-512-10", "sgd"))
SECONDS = 0.1  # approximate duration of one timing


class Training(Glassgrad):
    """The training step of the peer comparison, with weights in panels or row by row."""

    def __init__(self, task: Task, panels: bool) -> None:
        super().__init__(default_threads())
        self.use(task, self.variants(task)[0])
        if not panels:
            panel_width, schedule.panel_width = schedule.panel_width, lambda *_: 0
            self.executable = NativeBackend(threads=self.threads, cached=False).compile(self.program)
            schedule.panel_width = panel_width

    def time(self, epochs: int) -> float:
        """Microseconds per step."""
        self.reset()
        start = time.perf_counter()
        self.epochs(epochs)
        return (time.perf_counter() - start) / epochs / self.task.steps * 1e6


def measure(name: str, optimizer: str, rounds: int) -> str:
    """One line of the table. Raises SystemExit if the weights differ."""
    shape, batch, rows, source = NETWORKS[name]
    task = Task(shape, batch, rows, optimizer, source)
    trainings = [Training(task, panels) for panels in (False, True)]
    epochs = max(1, round(SECONDS / (trainings[0].time(1) * task.steps * 1e-6)))
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for i in random.sample((0, 1), 2):
            times[i].append(trainings[i].time(epochs))
        for key, array in trainings[0].params.items():
            if trainings[1].params[key].tobytes() != array.tobytes():
                raise SystemExit(f"{name}: panels changed {key}")
    ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
    cells = "".join(f"{median:9.1f} {low:9.1f}  " for low, median, _ in map(quartiles, times))
    return f"{name:16} {optimizer:6} {cells} {ratio:6.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60, help="timings of each layout (default: 60)")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    head = f"{'us per step':23} {'row by row':>9}   quarter  {'panels':>9}   quarter    ratio"
    lines = [f"{default_threads()} threads, {options.rounds} rounds", str(machine()), "", head]
    print("\n".join(lines), flush=True)
    for name, optimizer in CASES:
        lines.append(measure(name, optimizer, options.rounds))
        print(lines[-1], flush=True)
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
