"""Time per training step of Glassgrad and its peers, measured together in one run.

    python benchmarks/peers.py [--quick] [--networks 64-32-10,784-128-10] [--rounds 15] [--threads 2]

Every peer does the same work (data, batches, shuffling, loss, optimizer) in a separate process, written as an expert
in that library would write it. Whole epochs are timed. The time includes gathering shuffled rows, but not compiling
and warm-up. The peers alternate, and ratios are taken within a round, because the speed of a machine drifts. A peer
is only timed if its losses of the first steps agree with the others. A complete run writes peers.json and peers.svg
to benchmarks/results. ``--draw FILE`` only draws the figure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from peers import report
from peers.task import NETWORKS, RATES, Task, tasks
from peers.worker import PEERS, Handle, PeerError

RESULTS = Path(__file__).parent / "results"
OURS = "Glassgrad"
FIRST_STEPS, TOLERANCE = 5, 1e-3  # the losses of the first steps must agree within this relative tolerance
REST = (
    0.05  # seconds between peers: the thread pool of the previous one spins for up to 30 ms before it sleeps
)
PRODUCT, PRODUCT_ROUNDS = 2048, 7
QUICK = {"networks": "64-32-10,8-64-64-10,784-128-10", "optimizers": "sgd", "rounds": 5}


class Comparison:
    """The workers, and the peers that had to be skipped."""

    def __init__(self, names: list[str], threads: int, scratch: Path, stack: ExitStack) -> None:
        self.workers: dict[str, Handle] = {}
        self.skipped: dict[str, str] = {}
        self.versions: dict[str, str] = {"Python": sys.version.split()[0]}
        for name in names:
            package = PEERS[name][2]
            if find_spec(package) is None:
                self.skip(name, f"{package} is not installed")
                continue
            worker = Handle(name, threads, scratch)
            stack.callback(worker.stop)
            try:
                self.versions |= worker.call("versions")
            except PeerError as error:
                self.skip(name, str(error))
                continue
            self.workers[name] = worker
        self.limits = self.workers.pop("limits", None)

    def skip(self, name: str, reason: str) -> None:
        """Leave a peer out of the run, and say why."""
        self.skipped[name] = reason
        print(f"skipped: {name} ({reason})", flush=True)

    def products(self) -> dict[str, list[float]]:
        """GFLOP/s of one large matrix product, for each library that has one."""
        gflops: dict[str, list[float]] = {
            name: [] for name in ("NumPy", "PyTorch", "JAX step") if name in self.workers
        }
        for turn in range(PRODUCT_ROUNDS + 1):
            for name, rates in gflops.items():
                time.sleep(REST)
                rate = self.workers[name].call("ask", "product", PRODUCT)
                if turn:  # the first turn warms up
                    rates.append(rate)
        return gflops

    def compare(self, task: Task, rounds: int) -> dict[str, Any]:
        """Prepare every peer, check that all of them compute the same losses, then time them alternately."""
        prepared, losses, failed = {}, {}, {}
        for name, worker in self.workers.items():
            print(
                f"  {task.network} {task.optimizer}: {name}".ljust(79), end="\r", file=sys.stderr, flush=True
            )
            try:
                prepared[name] = worker.call("prepare", task)
                losses[name] = worker.call("losses", FIRST_STEPS)
            except PeerError as error:
                failed[name] = str(error)
        difference = check(losses, failed)
        times: dict[str, list[float]] = {name: [] for name in losses if name not in failed}
        peaks: dict[str, list[float]] = {"one": [], "all": []}
        for turn in range(rounds):
            print(f"  {task.network} {task.optimizer}: round {turn + 1} of {rounds}".ljust(79), end="\r",
                  file=sys.stderr, flush=True)  # fmt: skip
            for kind, rate in (self.limits.call("ask", "peak") if self.limits else {}).items():
                peaks[kind].append(rate)
            for name in list(times):
                time.sleep(REST)
                try:
                    times[name].append(self.workers[name].call("measure") / task.steps)
                except PeerError as error:
                    failed[name] = str(error)
                    del times[name]
        print(" " * 79, end="\r", file=sys.stderr, flush=True)
        for name in failed:
            prepared.pop(name, None)
        return {
            "network": task.network,
            "batch": task.batch,
            "optimizer": task.optimizer,
            "rows": task.rows,
            "data": task.data()[2],
            "flops_per_step": task.flops,
            "largest_difference_of_losses": difference,
            "failed": failed,
            "multiply_adds_gflops": peaks,
            "peers": {
                name: prepared[name] | {"seconds_per_step": seconds} for name, seconds in times.items()
            },
        }


def check(losses: dict[str, list[float]], failed: dict[str, str]) -> float:
    """The largest relative difference to the median loss. Peers beyond TOLERANCE go to ``failed``."""
    if not losses:
        return float("nan")
    table = np.array(list(losses.values()))
    medians = np.median(table, axis=0)
    differences = np.abs(table - medians).max(axis=1) / np.abs(medians).max()
    for name, difference in zip(losses, differences, strict=True):
        if not difference <= TOLERANCE:
            failed[name] = f"its first losses {losses[name]} are not {[float(m) for m in medians]}"
    return float(differences[differences <= TOLERANCE].max(initial=0))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="small networks without PyTorch; takes less than a minute"
    )
    parser.add_argument("--networks", help=f"some of {','.join(NETWORKS)} (default: all)")
    parser.add_argument("--optimizers", help=f"some of {','.join(RATES)} (default: all)")
    parser.add_argument("--peers", help="some of: " + ",".join(name for name in PEERS if name != "limits"))
    parser.add_argument("--rounds", type=int, help="timings of every peer (default: 15)")
    parser.add_argument("--threads", type=int, help="threads of every peer (default: all cores)")
    parser.add_argument(
        "--out", type=Path, help="write peers.json and peers.svg to this folder, even for a partial run"
    )
    parser.add_argument("--draw", type=Path, metavar="JSON", help="only draw the figure of these results")
    options = parser.parse_args()
    if options.draw:
        return report.draw(json.loads(options.draw.read_text()), options.draw.with_suffix(""))
    complete = not (options.quick or options.networks or options.optimizers or options.peers)
    out = options.out or (RESULTS if complete and not options.rounds else None)
    partial = (out or RESULTS) / "peers.partial.json"  # the results so far, in case the run is stopped
    defaults = QUICK if options.quick else {"networks": ",".join(NETWORKS), "optimizers": ",".join(RATES)}
    selected = {
        key: (getattr(options, key) or defaults[key]).split(",") for key in ("networks", "optimizers")
    }
    for key, choices in (("networks", NETWORKS), ("optimizers", RATES)):
        if unknown := set(selected[key]) - set(choices):
            parser.error(f"--{key}: {sorted(unknown)[0]!r} is not one of {', '.join(choices)}")
    names = [name for name in PEERS if not (options.quick and PEERS[name][2] == "torch")]
    if options.peers:
        names = [*options.peers.split(","), "limits"]
        if unknown := set(names) - set(PEERS):
            parser.error(f"--peers: {sorted(unknown)[0]!r} is not one of {', '.join(PEERS)}")
    rounds = options.rounds or int(defaults.get("rounds", 15))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = options.threads or cores
    if not 1 <= threads <= cores or rounds < 1:
        parser.error(f"--threads must be between 1 and {cores} (the number of cores), --rounds at least 1")

    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        run = Comparison(names, threads, scratch, stack)
        results: dict[str, Any] = {
            "machine": report.machine(),
            "threads": threads,
            "rounds": rounds,
            "versions": run.versions,
            "skipped": run.skipped,
            "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
            "product_gflops": {} if options.quick else run.products(),
            "tasks": [],
        }
        print(report.head(results))
        print(report.header(list(run.workers)), flush=True)
        for task in tasks(selected["networks"], selected["optimizers"]):
            result = run.compare(task, rounds)
            results["tasks"].append(result)
            print(report.row(result, list(run.workers)), flush=True)
            for name, reason in result["failed"].items():
                print(f"    left out: {name} ({reason})", flush=True)
            if out:
                out.mkdir(parents=True, exist_ok=True)
                partial.write_text(json.dumps(results, indent=1) + "\n")
    print(report.details(results))
    if out:
        partial.replace(out / "peers.json")
        report.draw(results, out / "peers")
    failures = [result for result in results["tasks"] if result["failed"]]
    return int(bool(failures) or not glassgrad_is_complete(results))


def glassgrad_is_complete(results: dict[str, Any]) -> bool:
    """Whether Glassgrad was measured on every task."""
    return all(OURS in result["peers"] for result in results["tasks"])


if __name__ == "__main__":
    sys.exit(main())
