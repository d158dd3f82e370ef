"""Ctrl-C: what is trained is kept, whole; where nothing is, nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.running import blobs, call, left, start, tensors, train
from glassgrad.data import sources
from glassgrad.files import run_folder
from glassgrad.training import run as training_run
from glassgrad.training.engine import Engine
from glassgrad.training.model import load_model
from glassgrad.training.trainer import Trainer


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set, in a current folder with nothing else."""
    monkeypatch.chdir(tmp_path)
    return blobs(tmp_path / "blobs.npz")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_is_saved(data: Path, number: signal.Signals) -> None:
    process = start("train", data, "--backend", "reference", "--epochs", 1_000_000, "--out", "run", "--json")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 3/"):
            break
    process.send_signal(number)
    process.send_signal(signal.SIGINT)  # a second one changes nothing
    out, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("glassgrad: run: stopped in epoch")
    found = json.loads(out)
    assert (found["status"], found["error"]) == ("interrupted", last.removeprefix("glassgrad: "))
    assert found["epochs"] >= 3
    assert load_model("run").training["status"] == "interrupted"
    assert len(run_folder.read_history(Path("run"))) == found["epochs"]
    assert left(data.parent) == [
        "blobs.npz",
        "run",
        "run/config.json",
        "run/history.csv",
        "run/model.safetensors",
    ]


def test_a_run_stopped_before_its_first_epoch_is_not_saved(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def interrupted(self: object, *_: Any) -> None:
        calls.append(1)
        assert len(calls) < 10, "no signal arrives"
        signal.raise_signal(signal.SIGINT)

    for method in ("_call", "_close_epochs"):
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, method, interrupted)
            done = train(data, "--out", "run", "--json")
        assert done.code == 130
        assert done.err == "glassgrad: stopped; nothing was saved\n"
        assert done.json == {"error": "stopped; nothing was saved", "exit_code": 130}
        assert left(data.parent) == ["blobs.npz"]


def test_a_run_stopped_while_reading_is_not_saved(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sources.BUILT_IN, "digits", lambda: signal.raise_signal(signal.SIGTERM))
    done = train("digits")
    assert (done.code, done.err) == (130, "glassgrad: stopped; nothing was saved\n")
    assert left(data.parent) == ["blobs.npz"]


def test_a_run_stopped_while_measuring_is_saved(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finite_only, calls = training_run._finite_only, []

    def interrupted(metrics: Any) -> Any:
        calls.append(1)
        signal.raise_signal(signal.SIGINT)
        return finite_only(metrics)

    monkeypatch.setattr(training_run, "_finite_only", interrupted)
    done = train(data, "--out", "run", "--json")
    assert len(calls) > 1
    assert (done.code, done.json["status"], done.json["epochs"]) == (130, "interrupted", 2)
    assert load_model("run")


def test_a_signal_while_saving_is_ignored(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(data, "--out", "quiet").code == 0
    write = run_folder.write_new

    def interrupted(path: Path, content: bytes) -> None:
        signal.raise_signal(signal.SIGINT)
        write(path, content)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(run_folder, "write_new", interrupted)
    assert train(data, "--out", "run").code == 0
    assert tensors("run") == tensors("quiet")


def test_a_swallowed_interrupt_stops_at_the_next_step(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, calls = Engine._run, []

    def losing(self: Any, part: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            with contextlib.suppress(KeyboardInterrupt):  # as a callback inside some library would
                signal.raise_signal(signal.SIGINT)
        return run(self, part)

    monkeypatch.setattr(Engine, "_run", losing)
    done = train(data, "--out", "run", "--epochs", 50, "--json")
    assert (done.code, done.json["status"]) == (130, "interrupted")
    assert done.json["epochs"] < 3


def test_handlers_are_restored(data: Path) -> None:
    def mine(*_: object) -> None:
        pass

    before = signal.signal(signal.SIGINT, mine)
    try:
        assert call("train", "nope").code == 2
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_ignored_signal_stays_ignored(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finite_only = training_run._finite_only

    def interrupted(metrics: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return finite_only(metrics)

    monkeypatch.setattr(training_run, "_finite_only", interrupted)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert train(data, "--out", "run").code == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_interrupts_at_random_moments_neither_crash_nor_hang_nor_lose_a_run() -> None:
    """Twenty of the thousands in benchmarks/results/interrupts.txt."""
    script = Path(__file__).parents[2] / "benchmarks" / "interrupts.py"
    done = subprocess.run(
        [sys.executable, script, "--count", "20", "--at-once", "1", "--seed", "7"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "other failures: 0" in done.stdout
    assert "kept" in done.stdout
