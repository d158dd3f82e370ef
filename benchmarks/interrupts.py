"""Interrupt trainings at random moments and check that none crashes, hangs, or loses its run.

    python benchmarks/interrupts.py [--count 2000] [--at-once 2] [--seed 0] [--kind KIND] [--keep]

A training on two threads gets SIGINT or SIGTERM at a random moment; in a quarter of the tries it gets two signals at
once. Four kinds of tries alternate:

- fresh: ``glassgrad train`` in a new process, interrupted within 0.3 seconds after the first epoch (one try in ten);
- training: the same in a process forked from one that has loaded everything;
- compiling: the same without cached code, interrupted within 0.6 seconds after the command starts;
- library: ``glassgrad.train`` with the SIGINT handler of Python (SIGINT only), interrupted within 0.3 seconds after
  the first epoch.

A try passes if the process ends by itself within 30 seconds. After the first epoch the run must be kept, as a run
folder with a loadable model or as a ``Run``. Before that, no file may be left behind. ``--keep`` writes
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
    """The arguments of ``glassgrad`` for one try."""
    return ["train", "digits", *OPTIONS, "--out", str(folder / "run"), "--json"]


def run_command(folder: Path) -> int:
    """Run ``glassgrad train`` in this process; the exit code."""
    from glassgrad.cli import app
    from glassgrad.cli.main import run

    execute = app.execute

    def announce_and_execute(arguments: list[str], started: float) -> int:
        """Print "ready" as soon as the signal handlers are installed, then run the command."""
        print("ready", file=sys.stderr, flush=True)
        return execute(arguments, started)

    app.execute = announce_and_execute
    return run(command(folder))


def run_library(folder: Path) -> int:
    """Call ``glassgrad.train``. Exit code 0: it returned a run; 3 or 130: interrupted after or before epoch 1."""
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
    """Start a try in a fork of this process; the process id."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        for name, descriptor in (("out", 1), ("err", 2)):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), descriptor)
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
    """Start a try in a new process; the process id."""
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "glassgrad", *command(folder)],
            stdout=out,
            stderr=err,
            env=os.environ | {"GLASSGRAD_THREADS": "2"},
        )
    process.returncode = 0  # ``wait`` reaps the process instead of Popen
    return process.pid


def wait(child: int, seconds: float) -> int | None:
    """The exit code of ``child`` (negative: the signal that ended it), or None if it still runs after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def wait_for(text: str, file: Path, child: int) -> int | None:
    """Wait until ``file`` contains ``text``. Returns the exit code of ``child`` if it ends before that, else None."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if file.exists() and text in file.read_text():
            return None
        code = wait(child, 0.004)
        if code is not None:
            return code
    return None


def attempt(job: tuple[int, int, str | None]) -> tuple[int, str, str]:
    """Run one try. Returns its number, its kind and its outcome."""
    number, seed, fixed_kind = job
    rng = random.Random(f"{seed} {number}")
    kind = fixed_kind or ("fresh" if number % 10 == 9 else KINDS[number % len(KINDS)])
    folder = Path(tempfile.mkdtemp(prefix="glassgrad-interrupts-"))
    try:
        child = start(folder) if kind == "fresh" else fork(kind, folder)
        start_text, longest_delay = ("ready", 0.6) if kind == "compiling" else ("epoch 1/", 0.3)
        code = wait_for(start_text, folder / "err", child)
        if code is None:
            time.sleep(rng.uniform(0.0, longest_delay))
            signal_sent = signal.SIGINT if kind == "library" else rng.choice([signal.SIGINT, signal.SIGTERM])
            for _ in range(rng.choice([1, 1, 1, 2])):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal_sent)
            code = wait(child, PATIENCE)
        if code is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return number, kind, "hang"
        return number, kind, judge(kind, code, folder)
    finally:
        shutil.rmtree(folder)


def judge(kind: str, code: int, folder: Path) -> str:
    """The outcome of a try."""
    from glassgrad.training.model import load_model

    err = (folder / "err").read_text()
    if code < 0:
        return "segmentation fault" if code == -signal.SIGSEGV else f"ended by signal {-code}"
    if kind == "library":
        if code == 0:
            status, epochs, reported = json.loads((folder / "library.json").read_text())
            return "kept" if status == "interrupted" and epochs >= reported - 1 else "lost run"
        return {3: "lost run", 130: "stopped before the first epoch"}.get(
            code, f"exit code {code}: {err[-300:]}"
        )
    if code != 130 or "Traceback" in err:
        return f"exit code {code}: {err[-300:]}"
    if (folder / "run").exists():
        training = load_model(folder / "run").training
        return "kept" if training["status"] == "interrupted" and training["epochs"] >= 1 else "lost run"
    left_behind = sorted(path.name for path in folder.iterdir() if path.name not in ("out", "err"))
    if "epoch 1/" in err:
        return "lost run"
    return f"left behind: {left_behind}" if left_behind else "stopped before the first epoch"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=(*KINDS, "fresh"), help="only tries of this kind")
    parser.add_argument("--keep", action="store_true", help="write the result file")
    options = parser.parse_args()

    # A shell starts background jobs with SIGINT ignored, and child processes would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Load all modules once, and fill the cache of compiled code for all kinds but "compiling".
    import glassgrad as gg
    import glassgrad.cli.app
    import glassgrad.cli.train

    gg.train("digits", layers=[256, 256], batch_size=512, epochs=1, progress=lambda _: None)
    outcomes: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    jobs = [(number, options.seed, options.kind) for number in range(options.count)]
    started = time.monotonic()
    with multiprocessing.get_context("fork").Pool(options.at_once) as pool:
        for done, (number, kind, outcome) in enumerate(pool.imap_unordered(attempt, jobs), start=1):
            outcomes[kind][outcome] += 1
            if outcome not in GOOD:
                print(f"try {number} ({kind}): {outcome}", flush=True)
            if done % 100 == 0:
                print(f"{done} tries, {time.monotonic() - started:.0f} s", flush=True)
    text = report(outcomes, options.count, options.seed)
    print(text, end="")
    if options.keep:
        RESULT.write_text(text)
    return int(any(outcome not in GOOD for counts in outcomes.values() for outcome in counts))


GOOD = ("kept", "stopped before the first epoch")


def report(outcomes: dict[str, collections.Counter[str]], count: int, seed: int) -> str:
    """The table of all outcomes."""
    failures = sum(
        number for counts in outcomes.values() for outcome, number in counts.items() if outcome not in GOOD
    )
    lines = [f"{count} trainings on two threads, interrupted at random moments (seed {seed})", ""]
    lines += [
        f"{kind:<10} {number:>5}  {outcome}"
        for kind in sorted(outcomes)
        for outcome, number in sorted(outcomes[kind].items())
    ]
    return "\n".join(
        [*lines, "", f"segmentation faults, hangs, lost runs and other failures: {failures}", ""]
    )


if __name__ == "__main__":
    sys.exit(main())
