"""Interrupts at random moments: does a training that is stopped ever crash, hang, or lose what it has learned?

    python benchmarks/interrupts.py [--count 2000] [--at-once 2] [--seed 0] [--kind KIND] [--keep]

A training on two threads gets SIGINT or SIGTERM at a random moment, in a quarter of the tries two of them at once.
Four kinds of tries take turns:

- fresh: ``glassgrad train`` in a new process, within 0.3 seconds after its first epoch (one try in ten);
- training: the same in a process that is forked from one which has everything loaded;
- compiling: the same without a cache of compiled code, within 0.6 seconds after the command begins;
- library: ``glassgrad.train`` under Python's own handler of Ctrl-C (SIGINT only), within 0.3 seconds after its first
  epoch.

A try ends well if the process ends by itself within 30 seconds. Once an epoch is over, the run must be kept: a run
folder whose model can be loaded, or a ``Run``. Before that, nothing may be left behind. Writes
results/interrupts.txt.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KINDS = ("training", "compiling", "library")
PATIENCE = 30.0  # seconds until a process counts as hanging
RESULT = Path(__file__).parent / "results" / "interrupts.txt"
OPTIONS = ("--layers", "256,256", "--batch-size", "512", "--epochs", "100000")


def command(folder: Path) -> list[str]:
    return ["train", "digits", *OPTIONS, "--out", str(folder / "run"), "--json"]


def run_command(folder: Path) -> int:
    from glassgrad.cli import app
    from glassgrad.cli.main import run

    execute = app.execute

    def announced(arguments: list[str], started: float) -> int:
        """The command, once its handlers of signals are in place."""
        print("ready", file=sys.stderr, flush=True)
        return execute(arguments, started)

    app.execute = announced
    return run(command(folder))


def run_library(folder: Path) -> int:
    """Exit code 0: a run came back; 3: KeyboardInterrupt came although an epoch was over; 130: it came before."""
    import glassgrad as gg

    epochs = []

    def progress(item: gg.Progress) -> None:
        if item.record is not None:
            epochs.append(item.epoch)
            if item.epoch == 1:
                print("epoch 1/", file=sys.stderr, flush=True)

    try:
        run = gg.train("digits", layers=[256, 256], batch_size=512, epochs=100_000, progress=progress)
    except KeyboardInterrupt:
        return 3 if epochs else 130
    (folder / "library.json").write_text(json.dumps([run.status, run.epochs, epochs[-1] if epochs else 0]))
    return 0


def fork(kind: str, folder: Path) -> int:
    """Start a try in a copy of this process; gives its number."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        for name, number in (("out", 1), ("err", 2)):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
        os.environ["GLASSGRAD_THREADS"] = "2"
        if kind == "compiling":
            os.environ["GLASSGRAD_CACHE"] = ""
        code = run_library(folder) if kind == "library" else run_command(folder)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def start(folder: Path) -> int:
    """Start a try in a new process; gives its number."""
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "glassgrad", *command(folder)],
            stdout=out,
            stderr=err,
            env=os.environ | {"GLASSGRAD_THREADS": "2"},
        )
    process.returncode = 0  # waited for below
    return process.pid


def wait(child: int, seconds: float) -> int | None:
    """The exit code of ``child`` (negative: the signal that ended it); None if it goes on."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def wait_for(text: str, file: Path, child: int) -> int | None:
    """Wait until ``file`` contains ``text``; the exit code of ``child`` if it ends before."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if file.exists() and text in file.read_text():
            return None
        code = wait(child, 0.004)
        if code is not None:
            return code
    return None


def attempt(job: tuple[int, int, str | None]) -> tuple[int, str, str]:
    """One try: its number, its kind and how it ended."""
    number, seed, only = job
    chance = random.Random(f"{seed} {number}")
    kind = only or ("fresh" if number % 10 == 9 else KINDS[number % len(KINDS)])
    folder = Path(tempfile.mkdtemp(prefix="glassgrad-interrupts-"))
    try:
        child = start(folder) if kind == "fresh" else fork(kind, folder)
        begun, latest = ("ready", 0.6) if kind == "compiling" else ("epoch 1/", 0.3)
        code = wait_for(begun, folder / "err", child)
        if code is None:
            time.sleep(chance.uniform(0.0, latest))
            asked = signal.SIGINT if kind == "library" else chance.choice([signal.SIGINT, signal.SIGTERM])
            for _ in range(chance.choice([1, 1, 1, 2])):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, asked)
            code = wait(child, PATIENCE)
        if code is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return number, kind, "hang"
        return number, kind, judge(kind, code, folder)
    finally:
        shutil.rmtree(folder)


def judge(kind: str, code: int, folder: Path) -> str:
    """How a try ended."""
    from glassgrad.training.model import load_model

    err = (folder / "err").read_text()
    if code < 0:
        return "segmentation fault" if code == -signal.SIGSEGV else f"ended by signal {-code}"
    if kind == "library":
        if code == 0:
            status, epochs, seen = json.loads((folder / "library.json").read_text())
            return "kept" if status == "interrupted" and epochs >= seen - 1 else "lost run"
        return {3: "lost run", 130: "stopped before the first epoch"}.get(
            code, f"exit code {code}: {err[-300:]}"
        )
    if code != 130 or "Traceback" in err:
        return f"exit code {code}: {err[-300:]}"
    if (folder / "run").exists():
        ended = load_model(folder / "run").training
        return "kept" if ended["status"] == "interrupted" and ended["epochs"] >= 1 else "lost run"
    left = sorted(path.name for path in folder.iterdir() if path.name not in ("out", "err"))
    if "epoch 1/" in err:
        return "lost run"
    return f"left behind: {left}" if left else "stopped before the first epoch"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=(*KINDS, "fresh"), help="tries of one kind only")
    parser.add_argument("--keep", action="store_true", help="write the result file")
    options = parser.parse_args()

    # A shell starts a job in the background with SIGINT ignored, and so would be all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What every try needs is loaded once, and what all but those of "compiling" run is compiled once.
    import glassgrad as gg
    import glassgrad.cli.app
    import glassgrad.cli.train

    gg.train("digits", layers=[256, 256], batch_size=512, epochs=1, progress=lambda _: None)
    ends: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    jobs = [(number, options.seed, options.kind) for number in range(options.count)]
    started = time.monotonic()
    with multiprocessing.get_context("fork").Pool(options.at_once) as pool:
        for done, (number, kind, end) in enumerate(pool.imap_unordered(attempt, jobs), start=1):
            ends[kind][end] += 1
            if end not in GOOD:
                print(f"try {number} ({kind}): {end}", flush=True)
            if done % 100 == 0:
                print(f"{done} tries, {time.monotonic() - started:.0f} s", flush=True)
    text = report(ends, options.count, options.seed)
    print(text, end="")
    if options.keep:
        RESULT.write_text(text)
    return int(any(end not in GOOD for counts in ends.values() for end in counts))


GOOD = ("kept", "stopped before the first epoch")


def report(ends: dict[str, collections.Counter[str]], count: int, seed: int) -> str:
    """The table of all ends."""
    bad = sum(number for counts in ends.values() for end, number in counts.items() if end not in GOOD)
    lines = [f"{count} trainings on two threads, interrupted at random moments (seed {seed})", ""]
    lines += [
        f"{kind:<10} {number:>5}  {end}"
        for kind in sorted(ends)
        for end, number in sorted(ends[kind].items())
    ]
    return "\n".join([*lines, "", f"segmentation faults, hangs, lost runs and other bad ends: {bad}", ""])


if __name__ == "__main__":
    sys.exit(main())
