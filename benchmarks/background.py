"""What it gives to pass over the number that most inputs are: a step of training with and without, on several data.

    python benchmarks/background.py [--rounds 9]

MNIST as pixels (black is 0) and standardized (black is -0.42), and random rows of which a share is not zero. "pays"
is what ``train`` would decide. Both programs run in turn; the ratio is the median over the rounds. The last run is
kept in ``benchmarks/results/background.txt``.
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

SHARES = (0.02, 0.1, 0.2, 0.3, 0.5, 1.0)  # of numbers that are not zero
SECONDS = 0.05  # what one timing lasts, about


@dataclass
class Data:
    """Rows to train on, and what to call them."""

    name: str
    task: Task
    features: np.ndarray
    number: float  # the background to pass over


class Training(Glassgrad):
    """The step of the comparison with the peers, on other features and with a background, or none."""

    def __init__(self, data: Data, number: float | None) -> None:
        super().__init__(default_threads())
        self.task, self.optimizer = data.task, optimizer_of(data.task)
        self.number = number
        self.program = program_of(data.task, self.optimizer, kind(number))
        self.executable = NativeBackend(threads=self.threads).compile(self.program)
        self.first = first_weights(data.task, self.program)
        first, second = (item.name for item in self.program.data)
        self.data = {first: data.features, second: data.task.data()[1]}


def sets() -> list[Data]:
    """MNIST in two scalings (where it is at hand), and random rows."""
    found = []
    mnist = Task(*NETWORKS["784-128-10"][:3], "sgd", "mnist")
    pixels, _, source = mnist.data()
    if source == "MNIST":
        mean, scale = pixels.mean(), pixels.std()
        scaled = ((pixels - mean) / scale).astype(np.float32)
        found = [
            Data("MNIST, pixels", mnist, pixels, 0.0),
            Data("MNIST, standardized", mnist, scaled, float(scaled.min())),
        ]
    random = np.random.default_rng(0)
    for widths, batch in (((784, 128, 10), 64), ((784, 512, 10), 128), ((108, 64, 10), 64)):
        for share in SHARES:
            task = Task(widths, batch, 100 * batch, "sgd")
            features = task.data()[0] * (random.random((task.rows, widths[0])) < share)
            found.append(Data(f"random, {share:.0%} not zero", task, features.astype(np.float32), 0.0))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="turns of both (default: 9)")
    rounds = parser.parse_args().rounds
    print(f"{default_threads()} threads, {rounds} rounds; us per step")
    print(f"{'network':12} {'batch':>5}  {'data':22} {'all':>8} {'passed over':>12} {'ratio':>6}  pays")
    for data in sets():
        both = [Training(data, None), Training(data, data.number)]
        times: list[list[float]] = [[], []]
        epochs = 1
        for turn in range(rounds + 1):
            for number, training in enumerate(both):
                training.reset()
                start = time.perf_counter()
                training.epochs(epochs)
                seconds = time.perf_counter() - start
                if turn:
                    times[number].append(seconds / epochs / data.task.steps * 1e6)
            if not turn:
                epochs = max(1, round(SECONDS / seconds))
        ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
        whole, some = (statistics.median(item) for item in times)
        pays = "yes" if background(data.features) is not None else "no"
        name = f"{data.task.network:12} {data.task.batch:>5}  {data.name:22}"
        print(f"{name} {whole:8.1f} {some:12.1f} {ratio:6.2f}  {pays}")


if __name__ == "__main__":
    main()
