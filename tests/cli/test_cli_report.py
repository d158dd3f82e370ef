"""``glassgrad report`` and ``train --report``: one page, from a run or while training."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from cli.running import blobs, call, refused, train
from glassgrad.files.run_folder import read_history
from glassgrad.training.trainer import Trainer

LENSES, PAGE = "lenses.safetensors", "report.html"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set, in a current folder with nothing else."""
    monkeypatch.chdir(tmp_path)
    return blobs(tmp_path / "blobs.npz")


def described(page: Path) -> str:
    """The page without what no two runs have in common: how long they took."""
    text = page.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert text.endswith("</html>\n")
    return re.sub(r"<dt>training</dt>.*?</div>|<dt>steps</dt>.*?</div>| in [\d.]+ (?:µs|ms|s)", "", text)


def test_a_run_is_repeated_for_its_report_and_nothing_else_changes(data: Path) -> None:
    assert train(data, "--out", "run").code == 0
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    done = call("report", "run")
    assert (done.code, done.out) == (0, "report: run/report.html\n")
    assert {path.name: path.read_bytes() for path in Path("run").iterdir() if path.name != PAGE} == before
    text = described(Path("run", PAGE))
    assert "The gradient, layer by layer" in text
    assert "blobs" in text


def test_all_commands_write_the_same_page(data: Path) -> None:
    assert train(data, "--out", "plain").code == 0
    assert call("report", "plain").code == 0
    done = train(data, "--report", "--out", "watched")
    assert done.out.splitlines()[-1] == "report: watched/report.html"
    while_training = described(Path("watched", PAGE))
    assert while_training == described(Path("plain", PAGE))
    assert call("report", "watched", "--out", "again.html").code == 0
    assert described(Path("again.html")) == while_training


def test_a_run_with_lenses_is_not_trained_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(data, "--report", "--out", "run").code == 0
    steps: list[int] = []
    call_step = Trainer._call
    monkeypatch.setattr(Trainer, "_call", lambda self, *args: (steps.append(1), call_step(self, *args))[1])
    assert call("report", "run", "--out", "page.html").code == 0
    assert steps == []
    Path("run", LENSES).unlink()
    assert call("report", "run", "--out", "page.html").code == 0
    assert steps


def test_the_last_line_names_the_page_or_the_report_command(data: Path) -> None:
    assert train(data, "--out", "a b").out.splitlines()[-1].endswith("glassgrad report 'a b'")
    done = train(data, "--report", "--out", "c", "--json")
    assert done.json["report"] == str(Path("c", PAGE))
    assert "report" not in train(data, "--out", "d", "--json").json
    assert call("report", "d", "--json").json["report"] == str(Path("d", PAGE))


def test_a_second_report_replaces_the_first(data: Path) -> None:
    assert train(data, "--report", "--out", "run").code == 0
    Path("run", PAGE).write_text("old")
    assert call("report", "run").code == 0
    assert Path("run", PAGE).read_text("utf-8") != "old"


def test_data_that_moved_are_found_with_source(data: Path) -> None:
    assert train(data, "--out", "run").code == 0
    shutil.move(data, "elsewhere.npz")
    refused(call("report", "run"), "blobs.npz")
    assert not Path("run", PAGE).exists()
    assert call("report", "run", "--source", "elsewhere.npz").code == 0


def test_data_that_changed_are_refused(data: Path) -> None:
    assert train(data, "--out", "run").code == 0
    blobs(data, X=np.zeros((60, 4)))
    refused(call("report", "run"), "blobs.npz")
    assert not Path("run", PAGE).exists()


def test_a_run_that_diverged_has_a_report(data: Path) -> None:
    done = train(data, "--optimizer", "sgd", "--learning-rate", "1e30", "--report", "--out", "run")
    assert done.code == 1
    assert "Training diverged" in Path("run", PAGE).read_text("utf-8")
    assert call("report", "run").code == 0
    assert "Training diverged" in Path("run", PAGE).read_text("utf-8")


def test_a_stopped_run_is_shown_up_to_its_last_epoch(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_step = Trainer._call

    def stop(self: Trainer, *args: object) -> None:
        if self.epochs_done == 3:
            raise KeyboardInterrupt
        call_step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_call", stop)
        assert train(data, "--epochs", "9", "--out", "run").code == 130
    epochs = len(read_history(Path("run")))
    assert epochs < 9
    assert call("report", "run").code == 0
    assert f"<dt>epochs</dt><dd>{epochs}</dd>" in Path("run", PAGE).read_text("utf-8")


@pytest.mark.parametrize("option", [["report", "run"], ["train", "blobs.npz", "--report", "--out", "new"]])
def test_without_matplotlib_nothing_is_trained(
    data: Path, option: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(data, "--out", "run").code == 0
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    refused(call(*option), "pip install 'glassgrad[plot]'")
    assert not Path("run", PAGE).exists()
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], ["nowhere"]),
        (["blobs.npz"], ["blobs.npz"]),
        (["empty"], ["empty"]),
        (["run", "--out", "empty"], ["empty", "name the file"]),
        (["run", "--out", "no/such/page.html"], ["no/such"]),
        (["run", "--source", "nowhere.npz"], ["nowhere.npz"]),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(
    data: Path, arguments: list[str], words: list[str]
) -> None:
    Path("empty").mkdir()
    assert train(data, "--out", "run", "--watch").code == 0
    refused(call("report", *arguments), *words)
    assert not Path("run", PAGE).exists()


def test_a_damaged_run_is_refused(data: Path) -> None:
    assert train(data, "--watch", "--out", "run").code == 0
    Path("run", LENSES).write_bytes(b"junk")
    refused(call("report", "run"), LENSES)
    Path("run", "history.csv").write_text("junk\nmore")
    refused(call("report", "run"), "history.csv")
