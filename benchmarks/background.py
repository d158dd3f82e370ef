"""Time per training step with and without skipping the most frequent input value (the background).

    python benchmarks/background.py [--rounds 9]

The data are MNIST as pixels (black is 0), MNIST standardized (black is -0.42), and random rows in which a given share
of the inputs is not zero. The column "used" says whether ``train`` would skip the background. Both programs run
alternately, and the ratio is the median over the rounds. ``benchmarks/results/background.txt`` is a recorded run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import numpy as np
from peers.task import NETWORKS, Task
from peers.with_glassgrad import Glassgrad, first_weights, optimizer_of, program_of

from glassgrad.backends.native.backend import NativeBackend, default_threads
from glassgrad.training.background import background, kind

SHARES = (0.02, 0.1, 0.2, 0.3, 0.5, 1.0)  # shares of inputs that are not zero
SECONDS = 0.05  # approximate duration of one timing


@dataclass
class Data:
    """Named rows to train on, and their background value."""

    name: str
    task: Task
    features: np.ndarray
    background: float


class Training(Glassgrad):
    """The training step of the peer comparison on given data, with a background value to skip or None."""

    def __init__(self, data: Data, background_value: float | None) -> None:
        super().__init__(default_threads())
        self.task, self.optimizer = data.task, optimizer_of(data.task)
        self.background = background_value
        self.program = program_of(data.task, self.optimizer, kind(background_value))
        self.executable = NativeBackend(threads=self.threads).compile(self.program)
        self.initial_weights = first_weights(data.task, self.program)
        features_name, targets_name = (item.name for item in self.program.data)
        self.data = {features_name: data.features, targets_name: data.task.data()[1]}


def data_sets() -> list[Data]:
    """MNIST in two scalings (if it is available), and random rows."""
    sets = []
    mnist = Task(*NETWORKS["784-128-10"][:3], "sgd", "mnist")
    pixels, _, source = mnist.data()
    if source == "MNIST":
        mean, scale = pixels.mean(), pixels.std()
        scaled = ((pixels - mean) / scale).astype(np.float32)
        sets = [
            Data("MNIST, pixels", mnist, pixels, 0.0),
            Data("MNIST, standardized", mnist, scaled, float(scaled.min())),
        ]
    random = np.random.default_rng(0)
    for widths, batch in (((784, 128, 10), 64), ((784, 512, 10), 128), ((108, 64, 10), 64)):
        for share in SHARES:
            task = Task(widths, batch, 100 * batch, "sgd")
            features = task.data()[0] * (random.random((task.rows, widths[0])) < share)
            sets.append(Data(f"random, {share:.0%} not zero", task, features.astype(np.float32), 0.0))
    return sets


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="timings of each program (default: 9)")
    rounds = parser.parse_args().rounds
    print(f"{default_threads()} threads, {rounds} rounds; us per step")
    print(f"{'network':12} {'batch':>5}  {'data':22} {'dense':>8} {'skipped':>12} {'ratio':>6}  used")
    for data in data_sets():
        trainings = [Training(data, None), Training(data, data.background)]
        times: list[list[float]] = [[], []]
        epochs = 1
        for turn in range(rounds + 1):
            for index, training in enumerate(trainings):
                training.reset()
                start = time.perf_counter()
                training.epochs(epochs)
                seconds = time.perf_counter() - start
                if turn:
                    times[index].append(seconds / epochs / data.task.steps * 1e6)
            if not turn:  # the first turn warms up and sets the number of epochs
                epochs = max(1, round(SECONDS / seconds))
        ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
        dense, skipped = (statistics.median(item) for item in times)
        used = "yes" if background(data.features) is not None else "no"
        label = f"{data.task.network:12} {data.task.batch:>5}  {data.name:22}"
        print(f"{label} {dense:8.1f} {skipped:12.1f} {ratio:6.2f}  {used}")


if __name__ == "__main__":
    main()
