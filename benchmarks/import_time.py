"""What ``import glassgrad`` costs: medians over interleaved fresh processes, next to ``import numpy``.

The floor: on top of NumPy, Glassgrad may cost less than half of what NumPy costs on top of bare Python.
``--check`` exits with 1 where it does not.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

FLOOR = 0.5

# NumPy is loaded first where glassgrad stands "on top of" it: loading it late earns no credit.
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
    """Wall-clock time of one fresh interpreter that runs ``code``."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    return time.perf_counter() - start


def measure(rounds: int) -> dict[str, float]:
    """Median seconds per case; each round runs every case once, so that drift hits all alike."""
    for code in CASES.values():
        seconds(code)  # byte-compiles what is new, and warms the file cache
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
    parser.add_argument("--check", action="store_true", help=f"exit with 1 when the ratio is {FLOOR} or more")
    options = parser.parse_args()
    if options.rounds < 15:
        parser.error("--rounds: a median of fewer than 15 is too noisy; give 15 or more")

    bare, numpy, _, both, names = times = list(measure(options.rounds).values())
    print(f"{'fresh process, median of ' + str(options.rounds):<28} {'ms':>7} {'above python':>13}")
    for name, value in zip(CASES, times, strict=True):
        print(f"{name:<28} {1000 * value:>7.1f} {1000 * (value - bare):>13.1f}")
    ratio = (both - numpy) / (numpy - bare)
    print(f"glassgrad on top of numpy / numpy on top of python: {ratio:.2f} (floor: < {FLOOR})")
    print(f"the same with every public name touched:            {(names - numpy) / (numpy - bare):.2f}")
    return int(options.check and ratio >= FLOOR)


if __name__ == "__main__":
    sys.exit(main())
