"""The first result of the README: accuracy on ``digits`` over five seeds, beside an MLP of scikit-learn.

python benchmarks/digits.py
"""

from __future__ import annotations

import statistics
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import glassgrad as gg
from glassgrad.data.split import split

SEEDS = range(5)
EPOCHS = 30


def glassgrad_run(seed: int) -> tuple[float, float]:
    """Test accuracy and seconds of one run with default settings."""
    start = time.perf_counter()
    run = gg.train("digits", seed=seed)
    return run.metrics["test"]["accuracy"], time.perf_counter() - start


def sklearn_run(seed: int) -> tuple[float, float]:
    """Test accuracy and seconds with the same rows, layers, batch size, optimizer and epochs.

    scikit-learn trains on the validation rows as well.
    """
    data = gg.load_source("digits")
    parts = split(data, validation=0.1, test=0.2, seed=seed)
    rows = np.concatenate([parts.train, parts.validation])
    x = data.features.reshape(len(data.features), -1).astype(np.float32)
    start = time.perf_counter()
    scaler = StandardScaler().fit(x[rows])
    model = MLPClassifier((64, 32), batch_size=32, max_iter=EPOCHS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(x[rows]), data.targets[rows])
    accuracy = float(np.mean(model.predict(scaler.transform(x[parts.test])) == data.targets[parts.test]))
    return accuracy, time.perf_counter() - start


def main() -> None:
    """Alternate between both libraries over the seeds, and print the table."""
    glassgrad_run(0)  # compiles; later runs find the code in the cache
    pairs = [(glassgrad_run(seed), sklearn_run(seed)) for seed in SEEDS]
    print(f"{'seed':>4}  {'Glassgrad':>9}  {'scikit-learn':>12}")
    for seed, (a, b) in zip(SEEDS, pairs, strict=True):
        print(f"{seed:>4}  {a[0]:>9.4f}  {b[0]:>12.4f}")
    means = [statistics.mean(pair[i][0] for pair in pairs) for i in range(2)]
    seconds = [statistics.median(pair[i][1] for pair in pairs) for i in range(2)]
    print(f"mean  {means[0]:>9.4f}  {means[1]:>12.4f}   test accuracy")
    print(
        f"time  {seconds[0]:>8.3f}s  {seconds[1]:>11.3f}s   median of one run; ratio {seconds[1] / seconds[0]:.0f}"
    )


if __name__ == "__main__":
    main()
