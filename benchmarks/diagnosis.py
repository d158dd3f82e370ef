"""How good the diagnosis is: planted faults and healthy networks, on real data.

    python benchmarks/diagnosis.py [--seeds 5] [--budget 15] [--processes 2] [--only digits] [--kinds zero_init]

Every case is diagnosed on a small budget by one process with one thread. Results go line by line into
``benchmarks/results/diagnosis.jsonl``; what is there is not done again, so a run can be stopped and taken up.
Thresholds are set on one half of the zoo (``--half tuning``) and reported on the other (``--half report``); the
halves are split by data set and recipe, not by seed. Fixes are judged on fresh seeds and on test rows that the
diagnosis never saw. Every plant counts; those that do no harm (the same network without them is no better on
unseen rows, whatever a diagnosis says) are listed besides. ``--summary`` prints the tables of what is there.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "diagnosis.jsonl"


def half_of(recipe: str, data: str, planted: str | None) -> str:
    """The half that a recipe on a data set belongs to: by a hash of both, the same for all seeds."""
    return "tuning" if zlib.crc32(f"{planted}/{recipe}/{data}".encode()) % 2 else "report"


def _work(number: int, seeds: int, budget: float) -> dict[str, Any]:
    from zoo.judging import examine
    from zoo.recipes import cases

    make = cases(seeds)[number]
    warnings.simplefilter("ignore")
    try:
        return examine(make(), budget)
    except Exception as error:  # a crash is a result too: it is counted as a miss, and shown
        traceback.print_exc()
        planted, recipe, data, seed = make.__name__.split("/")
        return {
            "case": make.__name__,
            "planted": None if planted == "healthy" else planted,
            "recipe": recipe,
            "data": data,
            "seed": int(seed),
            "named": None,
            "faults": [],
            "warnings": [],
            "suspected": [],
            "cure": None,
            "seconds": math.nan,
            "crashed": f"{type(error).__name__}: {error}",
        }


def run(options: argparse.Namespace) -> None:
    """Do what is not done yet."""
    from zoo.recipes import cases

    done = {line["case"] for line in read(options.results)}
    wanted = []
    for number, make in enumerate(cases(options.seeds)):
        planted, recipe, data, _ = make.__name__.split("/")
        if make.__name__ in done or (options.only and data not in options.only.split(",")):
            continue
        if options.kinds and planted not in options.kinds.split(","):
            continue
        if (
            options.half != "both"
            and half_of(recipe, data, None if planted == "healthy" else planted) != options.half
        ):
            continue
        wanted.append(number)
    start = time.perf_counter()
    print(f"{len(done)} cases are done, {len(wanted)} to do", flush=True)
    options.results.parent.mkdir(exist_ok=True)
    os.environ["GLASSGRAD_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.processes, maxtasksperchild=40) as pool, options.results.open("a") as file:
        jobs = [pool.apply_async(_work, (number, options.seeds, options.budget)) for number in wanted]
        for count, job in enumerate(jobs, start=1):
            line = job.get()
            file.write(json.dumps(line) + "\n")
            file.flush()
            spent = time.perf_counter() - start
            print(f"{count}/{len(wanted)} {spent:6.0f} s  {line['case']}: {line['named']}", flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    """The results so far; a last line that was cut off is dropped."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def interval(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (E. Wilson 1927)."""
    if count == 0:
        return (0.0, 1.0)
    z, p = 1.96, hits / count
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    spread = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return (max(0.0, middle - spread), min(1.0, middle + spread))


def share(hits: int, count: int) -> str:
    low, high = interval(hits, count)
    return f"{hits / count:5.2f} ({low:.2f}-{high:.2f}) of {count}" if count else "    - of 0"


def summary(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The table: recall, first named and precision per kind, false faults, fixes."""
    from zoo.recipes import ACCEPTED, HARMLESS

    planted = [line for line in lines if line["planted"]]
    healthy = [line for line in lines if not line["planted"]]
    yield f"{'kind':<27}{'recall':>24}   {'named first':>24}   {'precision of the name':>24}"
    total = first = 0
    for kind in sorted({line["planted"] for line in planted}):
        own = [line for line in planted if line["planted"] == kind]
        right = {kind, *ACCEPTED.get(kind, ())}
        key = "suspected" if kind in HARMLESS else "faults"
        hit = sum(bool(right & set(line[key])) for line in own)
        led = sum((line["named"] in right) or (kind in HARMLESS and kind in line[key]) for line in own)
        claims = [line for line in lines if line["named"] == kind]
        sound = sum(
            kind == line["planted"] or kind in ACCEPTED.get(line["planted"] or "", ()) for line in claims
        )
        total, first = total + hit, first + led
        yield f"{kind:<27}{share(hit, len(own)):>24}   {share(led, len(own)):>24}   {share(sound, len(claims)):>24}"
    yield f"{'all kinds':<27}{share(total, len(planted)):>24}   {share(first, len(planted)):>24}"
    yield from _without_harm(planted, ACCEPTED)
    false = sum(bool(line["faults"]) for line in healthy)
    yield f"false faults on healthy networks: {share(false, len(healthy))}"
    for line in healthy:
        if line["faults"]:
            yield f"    {line['case']}: {', '.join(line['faults'])}"
    fixes = [line["cure"] for line in planted if line["cure"]]
    helped = share(sum(fix["helped"] for fix in fixes), len(fixes))
    yield f"confirmed fixes that help on fresh seeds and unseen rows: {helped}"
    seconds = [line["seconds"] for line in lines if line["seconds"] == line["seconds"]]
    mean, most = sum(seconds) / max(len(seconds), 1), max(seconds, default=0)
    yield f"seconds of a diagnosis: {mean:.1f} on average, {most:.1f} at most"
    crashed = [line for line in lines if line.get("crashed")]
    for line in crashed:
        yield f"crashed: {line['case']}: {line['crashed']}"


def _without_harm(planted: Sequence[dict[str, Any]], accepted: Any) -> Iterator[str]:
    """Plants that do no harm, by kind: what recall is without them. They count above all the same."""
    calm = [line for line in planted if line.get("harm") and not line["harm"]["harmful"]]
    if not calm:
        return
    yield f"of these, {len(calm)} do no harm: the same network without them is no better on unseen rows"
    for kind in sorted({line["planted"] for line in calm}):
        own = [line for line in planted if line["planted"] == kind]
        right = {kind, *accepted.get(kind, ())}
        harmful = [line for line in own if line not in calm]
        hit = sum(bool(right & set(line["faults"])) for line in harmful)
        seen = sum(bool(right & set(line["suspected"])) for line in own if line in calm)
        yield (
            f"    {kind}: {len(own) - len(harmful)} of {len(own)}, of which {seen} are warned of; "
            f"recall of the others {share(hit, len(harmful)).strip()}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=15.0, help="seconds for each diagnosis")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", help="data sets, such as digits,adult")
    parser.add_argument("--kinds", help="planted kinds, or healthy")
    parser.add_argument("--half", choices=("tuning", "report", "both"), default="both")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--summary", action="store_true", help="only print what is there")
    options = parser.parse_args()
    if not options.summary:
        run(options)
    lines = read(options.results)
    for half in ("tuning", "report"):
        own = [line for line in lines if half_of(line["recipe"], line["data"], line["planted"]) == half]
        if own:
            print(f"\n{half} half: {len(own)} cases")
            print("\n".join(summary(own)))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
