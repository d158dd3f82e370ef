"""Quality of the diagnosis: planted faults and healthy networks, on real data.

    python benchmarks/diagnosis.py [--seeds 5] [--budget 15] [--processes 2] [--only digits] [--kinds zero_init]

Each case is diagnosed with a small budget, in one process with one thread. Every result is one line of
``benchmarks/results/diagnosis.jsonl``. Cases with a result are skipped, so a run can be stopped and resumed.
Thresholds are tuned on one half of the zoo (``--half tuning``) and reported on the other (``--half report``). The
halves are split by data set and recipe, not by seed. Fixes are judged on new seeds and on test rows that the
diagnosis never saw. All planted faults count. Harmless ones, without which the network is no better on unseen rows,
are also listed separately. ``--summary`` prints the tables of the existing results.
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
    """The half of a recipe on a data set, chosen by a hash of both; all seeds are in the same half."""
    return "tuning" if zlib.crc32(f"{planted}/{recipe}/{data}".encode()) % 2 else "report"


def _examine_case(index: int, seeds: int, budget: float) -> dict[str, Any]:
    from zoo.judging import examine
    from zoo.recipes import cases

    make_case = cases(seeds)[index]
    warnings.simplefilter("ignore")
    try:
        return examine(make_case(), budget)
    except Exception as error:  # a crash counts as a miss and is listed
        traceback.print_exc()
        planted, recipe, data, seed = make_case.__name__.split("/")
        return {
            "case": make_case.__name__,
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
    """Examine the selected cases that have no result yet."""
    from zoo.recipes import cases

    done = {line["case"] for line in read(options.results)}
    selected = []
    for index, make_case in enumerate(cases(options.seeds)):
        planted, recipe, data, _ = make_case.__name__.split("/")
        if make_case.__name__ in done or (options.only and data not in options.only.split(",")):
            continue
        if options.kinds and planted not in options.kinds.split(","):
            continue
        if (
            options.half != "both"
            and half_of(recipe, data, None if planted == "healthy" else planted) != options.half
        ):
            continue
        selected.append(index)
    start = time.perf_counter()
    print(f"{len(done)} cases have results, {len(selected)} remain", flush=True)
    options.results.parent.mkdir(exist_ok=True)
    os.environ["GLASSGRAD_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.processes, maxtasksperchild=40) as pool, options.results.open("a") as file:
        jobs = [pool.apply_async(_examine_case, (index, options.seeds, options.budget)) for index in selected]
        for count, job in enumerate(jobs, start=1):
            line = job.get()
            file.write(json.dumps(line) + "\n")
            file.flush()
            elapsed = time.perf_counter() - start
            print(f"{count}/{len(selected)} {elapsed:6.0f} s  {line['case']}: {line['named']}", flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    """The results in the file. A truncated last line is ignored."""
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
    """The 95 % confidence interval of a proportion (E. Wilson 1927)."""
    if count == 0:
        return (0.0, 1.0)
    z, p = 1.96, hits / count
    center = (p + z * z / (2 * count)) / (1 + z * z / count)
    half_width = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return (max(0.0, center - half_width), min(1.0, center + half_width))


def share(hits: int, count: int) -> str:
    """``hits / count`` with its confidence interval, as text."""
    low, high = interval(hits, count)
    return f"{hits / count:5.2f} ({low:.2f}-{high:.2f}) of {count}" if count else "    - of 0"


def summary(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The lines of the table: recall, named first and precision of each kind; false faults; fixes."""
    from zoo.recipes import ACCEPTED, HARMLESS

    planted = [line for line in lines if line["planted"]]
    healthy = [line for line in lines if not line["planted"]]
    yield f"{'kind':<27}{'recall':>24}   {'named first':>24}   {'precision of the name':>24}"
    total_found = total_first = 0
    for kind in sorted({line["planted"] for line in planted}):
        of_kind = [line for line in planted if line["planted"] == kind]
        accepted = {kind, *ACCEPTED.get(kind, ())}
        key = "suspected" if kind in HARMLESS else "faults"
        found = sum(bool(accepted & set(line[key])) for line in of_kind)
        named_first = sum(
            (line["named"] in accepted) or (kind in HARMLESS and kind in line[key]) for line in of_kind
        )
        claims = [line for line in lines if line["named"] == kind]
        correct_claims = sum(
            kind == line["planted"] or kind in ACCEPTED.get(line["planted"] or "", ()) for line in claims
        )
        total_found, total_first = total_found + found, total_first + named_first
        recall, first = share(found, len(of_kind)), share(named_first, len(of_kind))
        yield f"{kind:<27}{recall:>24}   {first:>24}   {share(correct_claims, len(claims)):>24}"
    yield f"{'all kinds':<27}{share(total_found, len(planted)):>24}   {share(total_first, len(planted)):>24}"
    yield from _harmless_faults(planted, ACCEPTED)
    false_alarms = sum(bool(line["faults"]) for line in healthy)
    yield f"false faults on healthy networks: {share(false_alarms, len(healthy))}"
    for line in healthy:
        if line["faults"]:
            yield f"    {line['case']}: {', '.join(line['faults'])}"
    fixes = [line["cure"] for line in planted if line["cure"]]
    helped = share(sum(fix["helped"] for fix in fixes), len(fixes))
    yield f"confirmed fixes that help on new seeds and unseen rows: {helped}"
    seconds = [line["seconds"] for line in lines if not math.isnan(line["seconds"])]
    mean, largest = sum(seconds) / max(len(seconds), 1), max(seconds, default=0)
    yield f"seconds per diagnosis: {mean:.1f} on average, {largest:.1f} at most"
    crashed = [line for line in lines if line.get("crashed")]
    for line in crashed:
        yield f"crashed: {line['case']}: {line['crashed']}"


def _harmless_faults(planted: Sequence[dict[str, Any]], accepted_kinds: Any) -> Iterator[str]:
    """The harmless planted faults of each kind, and the recall without them. The table above includes them."""
    harmless = [line for line in planted if line.get("harm") and not line["harm"]["harmful"]]
    if not harmless:
        return
    yield f"{len(harmless)} of these are harmless: the same network without the fault is no better on unseen rows"
    for kind in sorted({line["planted"] for line in harmless}):
        of_kind = [line for line in planted if line["planted"] == kind]
        accepted = {kind, *accepted_kinds.get(kind, ())}
        harmful = [line for line in of_kind if line not in harmless]
        found = sum(bool(accepted & set(line["faults"])) for line in harmful)
        warned = sum(bool(accepted & set(line["suspected"])) for line in of_kind if line in harmless)
        yield (
            f"    {kind}: {len(of_kind) - len(harmful)} of {len(of_kind)}, {warned} of them reported as warnings; "
            f"recall of the others {share(found, len(harmful)).strip()}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=15.0, help="seconds for each diagnosis")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", help="data sets, for example digits,adult")
    parser.add_argument("--kinds", help="planted kinds, or healthy")
    parser.add_argument("--half", choices=("tuning", "report", "both"), default="both")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--summary", action="store_true", help="only print the tables of the existing results"
    )
    options = parser.parse_args()
    if not options.summary:
        run(options)
    lines = read(options.results)
    for half in ("tuning", "report"):
        in_half = [line for line in lines if half_of(line["recipe"], line["data"], line["planted"]) == half]
        if in_half:
            print(f"\n{half} half: {len(in_half)} cases")
            print("\n".join(summary(in_half)))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
