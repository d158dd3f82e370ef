"""The elementwise functions of the native backend beside NumPy's: largest error in ulp, nanoseconds per element.

The timings use one core and 16,384 elements, which fit in the cache. They are medians of interleaved rounds. The
ratio is NumPy / native. NumPy has no erf; that line calls the C library per element, as the reference backend does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from glassgrad.backends.native.math.functions import FUNCTIONS
from glassgrad.backends.native.runtime.machine import host
from glassgrad.ops.table import TABLE

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the tests measure the errors in the same way
from backends.math_errors import DTYPES, Compiled, samples, truth, ulps

SIZE = 16384


def nanoseconds(call: Callable[[], Any], repeats: int) -> float:
    """Nanoseconds per element, over ``repeats`` calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / (repeats * SIZE) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--element", choices=DTYPES, default="float")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    dtype, target = DTYPES[options.element], host()
    rng = np.random.default_rng(0)
    x, y, out = (rng.uniform(0.1, 3.0, SIZE).astype(dtype) for _ in range(3))
    addresses = [array.ctypes.data for array in (x, y, out)]
    print(f"{options.element:<10} {'max ulp':>8} {'native ns':>10} {'NumPy ns':>9} {'ratio':>6}")
    for name in FUNCTIONS:
        native = Compiled(name, options.element, target.vector_bytes // dtype.itemsize, target)
        operands = (x, y) if name == "power" else (x,)
        rounds = [
            (
                nanoseconds(lambda: native.call(*addresses, SIZE), 200),  # noqa: B023
                nanoseconds(lambda: TABLE[name].reference(*operands), 1 if name == "erf" else 20),  # noqa: B023
            )
            for _ in range(options.rounds)
        ]
        native_time, numpy_time = (statistics.median(times) for times in zip(*rounds, strict=True))
        cases = [samples(options.element, 2_000 if name == "erf" else 200_000, seed) for seed in range(2)]
        cases = cases[: len(operands)]
        error = ulps(native(*cases), truth(name, *cases)).max()
        print(
            f"{name:<10} {error:>8.2f} {native_time:>10.3f} {numpy_time:>9.3f} {numpy_time / native_time:>6.1f}"
        )


if __name__ == "__main__":
    main()
