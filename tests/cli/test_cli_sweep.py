"""``glassgrad sweep``: lists and ranges, the table, the folder, the picture, and what goes wrong."""

from __future__ import annotations

import csv
import io
import json
import signal
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import glassgrad as gg
from cli.running import Done, blobs, call, left, refused
from glassgrad.cli import progress, ranges
from glassgrad.common.errors import InputError
from glassgrad.report.sweep import draw_sweep, pictures
from glassgrad.training.model import load_model
from glassgrad.training.sweep import best, grid, points

QUICK = ("--backend", "reference", "--layers", "4", "--epochs", "2")
FILES = [
    "config.json",
    "history.csv",
    "model.safetensors",
    "sweep.csv",
    "sweep.json",
    "sweep.png",
    "sweep.svg",
]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set, in a current folder with nothing else."""
    monkeypatch.chdir(tmp_path)
    return blobs(tmp_path / "blobs.npz")


def sweep(source: object, *arguments: object) -> Done:
    """A quick ``glassgrad sweep`` in this process; later options win."""
    return call("sweep", source, *QUICK, *arguments)


# --- lists and ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1", [0.1]),
        ("0.1,0.01, 1", [0.1, 0.01, 1.0]),
        ("1e-4:1:5", [1e-4, 1e-3, 1e-2, 0.1, 1.0]),
        ("1:1e-2:3", [1.0, 0.1, 0.01]),
        ("3:24:4,5", [3.0, 6.0, 12.0, 24.0, 5.0]),
        ("0.1,0.1,1e-1", [0.1]),
        ("2:7:2", [2.0, 7.0]),
    ],
)
def test_rates(text: str, values: list[float]) -> None:
    assert ranges.rates("learning-rate", text) == values


def test_a_range_has_equal_ratios() -> None:
    found = ranges.rates("learning-rate", "1e-4:3:16")
    assert len(found) == 16
    assert np.ptp(np.diff(np.log(found))) < 1e-8


BAD = ["", "a", "0", "-1", "nan", "inf", "1:2", "1:2:3:4", "1:2:1", "1:2:1.5", "1:2:-3", "1:1:3", "0:1:4"]


@pytest.mark.parametrize(
    "text", [*BAD, "1,,2", "1:2:x", "1e-4:inf:3", "1:2:99999", "1:2:1" + "0" * 30, "1e400"]
)
def test_invalid_rates(data: Path, text: str) -> None:
    with pytest.raises(InputError, match="--learning-rate must be numbers above 0"):
        ranges.rates("learning-rate", text)
    refused(sweep(data, f"--learning-rate={text}"), "--learning-rate", repr(text))
    assert left(data.parent) == ["blobs.npz"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("he_normal", ["he_normal"]),
        ("a, b,a", ["a", "b"]),
        ("normal(0.1, 2),b", ["normal(0.1, 2)", "b"]),
        ("warmup(2, 'cosine(0.1, 3)'),b", ["warmup(2, 'cosine(0.1, 3)')", "b"]),
        ("open(1,b", ["open(1,b"]),
        ("a),b", ["a)", "b"]),
    ],
)
def test_names(text: str, found: list[str]) -> None:
    assert ranges.names("init", text) == found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--init", "he_norml,zeros"], ["did you mean 'he_normal'"]),
        (["--init", "zeros,,ones"], ["--init", "empty entry"]),
        (["--optimizer", "adam,sdg"], ["did you mean 'sgd'"]),
        (["--batch-size", "32,x"], ["--batch-size must be whole numbers such as 32,64, not '32,x'"]),
        (["--batch-size", "0"], ["batch_size must be"]),
        (["--seeds", "0"], ["--seeds must be a whole number from 1 to 2147483647"]),
        (["--seeds", "20000"], ["the sweep has 180,000 runs"]),
        (["--seeds", "two"], ["--seeds"]),
        (["--seed", "-1"], ["seed must be"]),
        (["--validation", "0"], ["by their validation loss; give --validation a value above 0"]),
        (["--momentum", "0.5"], ["momentum 0.5 is not an option of 'adam'"]),
        (["--layers", "x"], ["--layers must be whole numbers"]),
        (["--loss", "poisson"], ["variant 1 of 27"]),
        (["--epoch", "3"], ["--epoch"]),
    ],
)
def test_invalid_options(data: Path, options: list[str], words: list[str]) -> None:
    refused(sweep(data, *options), *words)
    assert left(data.parent) == ["blobs.npz"]


def test_a_network_file_excludes_init(data: Path) -> None:
    Path("net.toml").write_text('[[layers]]\ntype = "dense"\nunits = 3\n')
    refused(
        call("sweep", data, "--network", "net.toml", "--init", "zeros"), "--init has no effect with --network"
    )
    done = call("sweep", data, "--backend", "reference", "--epochs", 1, "--network", "net.toml", "--json")
    assert done.code == 0
    assert "init" not in done.json["best"]
    assert done.json["parameters"] == 15


# --- results ------------------------------------------------------------------------------------------------

GRID = ["--learning-rate", "1e-3:0.1:3", "--init", "he_normal,zeros", "--seeds", 2]


def test_a_sweep_is_printed_and_saved(data: Path) -> None:
    done = sweep(data, *GRID, "--optimizer", "adam,sgd", "--batch-size", "8,32", "--out", "out", "--json")
    assert done.code == 0
    found = done.json
    assert len(found["runs"]) == 3 * 2 * 2 * 2 * 2
    assert len(found["points"]) == 3 * 2 * 2 * 2
    losses = [point["validation_loss"] for point in found["points"]]
    assert losses == sorted(losses)
    assert found["best"] == found["points"][0]
    assert found["diverged"] == 0
    assert 0 < found["seconds_training"] < found["seconds_total"]
    assert found["seconds_compiling"] >= 0
    assert left(Path("out")) == FILES
    # A point is its runs, and each run is what `train` gives.
    winner = found["best"]
    options = {key: winner[key] for key in ("optimizer", "batch_size", "init", "learning_rate")}
    own = [run for run in found["runs"] if options.items() <= run.items()]
    assert [run["seed"] for run in own] == [0, 1]
    values = [run["validation_loss"] for run in own]
    assert winner["validation_loss"] == pytest.approx(np.mean(values), rel=1e-12)
    assert winner["validation_loss_deviation"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    alone = gg.train(str(data), layers=[4], epochs=2, backend="reference", seed=1, **options)
    assert own[1]["validation_loss"] == alone.metrics["validation"]["loss"]
    assert own[1]["test_accuracy"] == alone.metrics["test"]["accuracy"]
    # The folder: the same runs as a table, and the best of them as a run folder.
    rows = list(csv.DictReader(io.StringIO(Path("out/sweep.csv").read_text())))
    assert [float(row["validation_loss"]) for row in rows] == [r["validation_loss"] for r in found["runs"]]
    assert json.loads(Path("out/sweep.json").read_text())["runs"] == found["runs"]
    assert load_model("out").metrics["validation"]["loss"] == min(values)
    assert call("evaluate", "out", data).code == 0


def test_the_table_has_the_best_first_and_what_differs(data: Path) -> None:
    done = sweep(data, *GRID)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split("  ")[0] == "init"
    assert "batch size" not in lines[0]
    assert "validation accuracy" in lines[0]
    assert len(lines) == 2 + 6 + 1
    assert lines[-1].startswith("12 runs in ")
    assert "runs/blobs-sweep-" in lines[-1]
    assert len(done.err.splitlines()) == 12


def test_a_regression_is_ranked_with_its_error(data: Path) -> None:
    generator = np.random.default_rng(0)
    np.savez("line.npz", X=generator.normal(size=(40, 2)), y=generator.normal(size=40))
    done = sweep("line.npz", "--learning-rate", "0.01", "--seeds", 1, "--json")
    assert done.json["task"] == "regression"
    assert done.json["best"]["validation_rmse"] > 0
    assert done.json["best"]["validation_loss_deviation"] is None


# --- the picture --------------------------------------------------------------------------------------------


def is_png(content: bytes) -> bool:
    return content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")


def test_the_picture_is_an_image(data: Path) -> None:
    assert sweep(data, *GRID, "--out", "out").code == 0
    assert is_png(Path("out/sweep.png").read_bytes())
    from matplotlib.image import imread

    image = imread("out/sweep.png")
    assert image.shape[:2] == (690, 1125)
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50
    tree = ElementTree.fromstring(Path("out/sweep.svg").read_bytes())
    assert tree.tag.endswith("svg")
    words = "".join(tree.itertext())
    for word in ("learning rate", "validation loss", "he_normal", "zeros", "best: "):
        assert word in words


def test_the_picture_shows_the_points() -> None:
    rates = [1e-3, 1e-1, 1e10]
    variants = grid({"init": ["he_normal", "zeros"], "learning_rate": rates, "seed": [0, 1]})
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 2))
    data = gg.from_arrays(x, x[:, 0] * 2 + 1)
    runs = gg.train_many(data, variants, layers=[4], epochs=3, optimizer="sgd", backend="reference")
    ranked = points(runs, ("init", "learning_rate"))
    assert [point.diverged for point in ranked] == [0, 0, 0, 0, 2, 2]
    assert ranked[-1].mean("loss") is None
    (axes,) = draw_sweep(ranked, "a title").axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    lines: dict[str, Any] = {line.get_label(): line for line in axes.lines}
    for init in ("he_normal", "zeros"):
        own = sorted(
            (p for p in ranked if p.options["init"] == init), key=lambda p: p.options["learning_rate"]
        )
        assert list(lines[init].get_xdata()) == rates[:2]
        assert list(lines[init].get_ydata()) == [point.mean("loss") for point in own[:2]]
    assert list(lines["a run met NaN or Inf"].get_xdata()) == [1e10]
    assert len(axes.collections) == 2
    winner = best(ranked)
    assert winner is not None
    ring = [line for line in axes.lines if line.get_markersize() == 10]
    assert [list(line.get_xdata()) for line in ring] == [[winner.options["learning_rate"]]]
    figure = draw_sweep(ranked)
    assert pictures(figure, "same") == pictures(figure, "same")


def test_without_matplotlib_there_is_a_table_and_an_install_command(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = sweep(data, *GRID, "--out", "out")
    assert done.code == 0
    assert done.out.splitlines()[-1].endswith("install it with: pip install 'glassgrad[plot]'")
    assert left(Path("out")) == [name for name in FILES if "png" not in name and "svg" not in name]
    done = sweep(data, *GRID, "--json")
    assert done.json["picture"] is None
    assert len(done.out.splitlines()) == 1


# --- trouble ------------------------------------------------------------------------------------------------


def test_runs_that_diverge_are_counted(data: Path) -> None:
    np.savez("line.npz", X=np.random.default_rng(0).normal(size=(40, 2)) * 10, y=np.arange(40.0))
    some = ["--optimizer", "sgd", "--seeds", 2, "--learning-rate"]
    done = sweep("line.npz", *some, "0.001,1e30", "--json")
    assert (done.code, done.json["diverged"]) == (0, 2)
    assert done.json["best"]["learning_rate"] == 0.001
    assert done.json["points"][-1]["validation_loss"] is None
    assert "2 of 2" in sweep("line.npz", *some, "0.001,1e30").out
    done = sweep("line.npz", *some, "1e30", "--out", "out", "--json")
    assert (done.code, done.json["best"]) == (1, None)
    assert (
        done.json["error"]
        == "out: all 2 runs met NaN or Inf; try lower learning rates, clipping, or another init"
    )
    assert done.json["exit_code"] == 1
    assert left(Path("out")) == ["sweep.csv", "sweep.json", "sweep.png", "sweep.svg"]


def test_a_stopped_sweep_is_saved(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check, calls = progress.interrupts.check, []

    def interrupted() -> None:
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        check()

    monkeypatch.setattr(progress.interrupts, "check", interrupted)
    done = sweep(data, *GRID, "--epochs", 40, "--out", "out", "--json")
    assert done.code == 130
    ended = [run for run in done.json["runs"] if run["status"] == "finished"]
    assert 3 <= len(ended) < 12
    assert done.json["error"] == f"out: stopped after {len(ended)} of 12 runs"
    assert left(Path("out")) == FILES


def test_a_sweep_stopped_before_its_first_run_saves_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassgrad.training.many._run", lambda *_: signal.raise_signal(signal.SIGTERM))
    done = sweep(data, *GRID, "--json")
    assert (done.code, done.json) == (130, {"error": "stopped; nothing was saved", "exit_code": 130})
    assert left(data.parent) == ["blobs.npz"]


def test_a_taken_folder_is_refused_before_training(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").mkdir()
    Path("out/notes").write_text("mine")
    monkeypatch.setattr("glassgrad.training.many.train_many", lambda *_, **__: pytest.fail("it trained"))
    refused(sweep(data, "--out", "out"), "out", "not empty")
