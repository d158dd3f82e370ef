"""Compare the native backend with the reference backend on random networks.

    python benchmarks/fuzz.py [--networks 2000] [--seed 0] [--replay recipe.json] [--keep benchmarks/results/fuzz.txt]

Each network is drawn with its data, loss, optimizer and all other options (``tests/backends/random_networks.py``). It
is trained for a few steps on both backends. The results must agree within the spread that rounding errors cause in
that training (``tests/backends/rounding.py`` measures it). A failing recipe is printed as one line of JSON;
``--replay`` reads it from a file or from standard input (``-``).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from backends.fuzzing import Verdict, check  # noqa: E402
from backends.random_networks import Recipe, draw  # noqa: E402
from backends.rounding import SPREADS  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "fuzz.txt"
EVERY = 100  # networks per progress line


def judge(recipe: Recipe) -> Verdict:
    """The verdict of ``check``; an exception counts as a complaint."""
    try:
        return check(recipe)
    except Exception as error:
        traceback.print_exc()
        return Verdict([f"{type(error).__name__}: {error}"])


def report(recipe: Recipe, verdict: Verdict) -> str:
    """The text about a failing recipe: the complaints, whether float64 agrees, and the recipe on one line."""
    lines = [f"network {recipe['number']} ({recipe['dtype']}, {recipe['machine']}) disagrees:"]
    lines += [f"    {item}" for item in verdict.complaints[:8]]
    if recipe["dtype"] == "float32":
        in_float64 = judge(recipe | {"dtype": "float64"})
        lines.append(f"    in float64 it {'disagrees too' if in_float64.complaints else 'agrees'}")
    return "\n".join([*lines, json.dumps(recipe)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first network, in millions")
    parser.add_argument("--replay", help="a file with one recipe; - for standard input")
    parser.add_argument("--keep", type=Path, help="also write the summary to this file")
    options = parser.parse_args()
    if options.replay:
        text = sys.stdin.read() if options.replay == "-" else Path(options.replay).read_text()
        recipe = json.loads(text)
        verdict = judge(recipe)
        print(report(recipe, verdict) if verdict.complaints else f"agrees: {verdict}")
        return 1 if verdict.complaints else 0

    start, failed = time.perf_counter(), []
    counts: Counter[str] = Counter()
    layers: Counter[str] = Counter()
    worst = {"float32": 0.0, "float64": 0.0}
    for i in range(options.networks):
        recipe = draw(options.seed * 1_000_000 + i)
        verdict = judge(recipe)
        if verdict.complaints:
            failed.append(recipe["number"])
            print(report(recipe, verdict), flush=True)
        layers.update(layer["type"] for layer in recipe["network"]["layers"])
        counts.update(compared=verdict.compared, chaotic=verdict.chaotic)
        counts.update({recipe["dtype"]: 1, recipe["machine"]: 1, "shared": recipe["small_units"]})
        if not verdict.complaints:
            worst[recipe["dtype"]] = max(worst[recipe["dtype"]], verdict.worst)
        if (i + 1) % EVERY == 0:
            print(
                f"{i + 1} networks, {len(failed)} disagree, {time.perf_counter() - start:.0f} s", flush=True
            )

    summary = [
        f"{options.networks} random networks from seed {options.seed}: {len(failed)} disagree",
        f"{counts['float64']} in float64, {counts['float32']} in float32; {counts['host']} for this processor, "
        f"{counts['avx2']} for AVX2, {counts['sse2']} for SSE2; {counts['shared']} with work shared in small units",
        f"{counts['compared']} tensors compared; {counts['chaotic']} of them chaotic (at a kink, where the spread "
        "is as large as the value)",
        f"largest difference in units of the spread (limit {SPREADS:g}): float64 {worst['float64']:.2f}, float32 "
        f"{worst['float32']:.2f}",
        "layers: " + ", ".join(f"{name} {count}" for name, count in sorted(layers.items())),
        f"{time.perf_counter() - start:.0f} s",
    ]
    print("\n".join(summary))
    if options.keep:
        options.keep.parent.mkdir(parents=True, exist_ok=True)
        options.keep.write_text("\n".join(summary) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
