"""Time of ``import glassgrad`` beside ``import numpy``: medians over interleaved fresh processes.

The limit: importing Glassgrad after NumPy must take less than half as long as importing NumPy takes.
``--check`` exits with 1 if it takes longer.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

LIMIT = 0.5

# "numpy, then glassgrad" loads NumPy first, so that the time of NumPy is never counted as Glassgrad's.
CASES = {
    "python": "pass",
    "import numpy": "import numpy",
    "import glassgrad": "import glassgrad",
    "numpy, then glassgrad": "import numpy, glassgrad",
    "... and every public name": (
        "import numpy, glassgrad as g\n"
        "for s in (g, g.init, g.losses, g.nn, g.ops, g.optim):\n    for n in s.__all__: getattr(s, n)"
    ),
}


def seconds(code: str) -> float:
    """Wall-clock seconds of a fresh interpreter that runs ``code``."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    return time.perf_counter() - start


def measure(rounds: int) -> dict[str, float]:
    """Median seconds of each case. Each round runs every case once, so that drift affects all of them equally."""
    for code in CASES.values():
        seconds(code)  # byte-compiles new modules and warms the file cache
    samples: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, code in CASES.items():
            samples[name].append(seconds(code))
    return {name: statistics.median(times) for name, times in samples.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=21, help="fresh processes per case (at least 15)")
    parser.add_argument("--check", action="store_true", help=f"exit with 1 if the ratio is {LIMIT} or more")
    options = parser.parse_args()
    if options.rounds < 15:
        parser.error("--rounds: fewer than 15 rounds are too noisy; use 15 or more")

    python, numpy, _, glassgrad, all_names = times = list(measure(options.rounds).values())
    print(f"{'fresh process, median of ' + str(options.rounds):<28} {'ms':>7} {'above python':>13}")
    for name, value in zip(CASES, times, strict=True):
        print(f"{name:<28} {1000 * value:>7.1f} {1000 * (value - python):>13.1f}")
    ratio = (glassgrad - numpy) / (numpy - python)
    print(f"glassgrad after numpy / numpy after python: {ratio:.2f} (limit: < {LIMIT})")
    print(f"with every public name loaded:              {(all_names - numpy) / (numpy - python):.2f}")
    return int(options.check and ratio >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
