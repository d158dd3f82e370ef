"""``glassgrad train``: options, the run folder, what is printed, and the same bits from the same seed."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.running import blobs, call, left, refused, start, tensors, train
from glassgrad.common.errors import InputError
from glassgrad.files.model_file import read_model
from glassgrad.files.run_folder import read_config, read_history
from glassgrad.nn.network import from_document
from glassgrad.training import train as training
from glassgrad.training.model import load_model
from glassgrad.training.settings import Settings

HOUSING = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "california_housing.csv.gz"

RESIDUAL = """
[[layers]]
type = "dense"
name = "wide"
units = 8
activation = "leaky_relu(0.2)"

[[layers]]
type = "dense"
units = 8
activation = {name = "tanh"}

[[layers]]
type = "add"
name = "sum"
inputs = ["wide", "dense_2"]

[[layers]]
type = "dense"
name = "last"
units = 3
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set, in a current folder with nothing else."""
    monkeypatch.chdir(tmp_path)
    return blobs(tmp_path / "blobs.npz")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that training is called with; nothing is trained."""
    found: list[Settings] = []

    def catch(dataset: Any, settings: Settings, **_: Any) -> None:
        found.append(settings)
        raise InputError("caught")

    monkeypatch.setattr(training, "train", catch)
    return found


# --- options ------------------------------------------------------------------------------------------------

OPTIONS: list[tuple[str, Any, list[str]]] = [
    ("layers", (5, 3), ["--layers", "5,3"]),
    ("layers", (), ["--layers", "none"]),
    ("layers", (), ["--layers", ""]),
    ("activation", "leaky_relu(0.2)", ["--activation", "leaky_relu(0.2)"]),
    ("init", "orthogonal", ["--init", "orthogonal"]),
    ("output_activation", "identity", ["--output-activation", "identity"]),
    ("loss", "hinge", ["--loss", "hinge"]),
    ("optimizer", "sgd", ["--optimizer", "sgd"]),
    ("learning_rate", 0.5, ["--learning-rate", "0.5"]),
    ("momentum", 0.9, ["--momentum", "0.9", "--optimizer", "sgd"]),
    ("weight_decay", 0.1, ["--weight-decay", "1e-1"]),
    ("clip_norm", 2.0, ["--clip-norm", "2"]),
    ("clip_value", 3.0, ["--clip-value", "3"]),
    ("schedule", "cosine", ["--schedule", "cosine"]),
    ("scaling", "none", ["--scaling", "none"]),
    ("init_from", "some/run", ["--init-from", "some/run"]),
    ("init_layers", ("dense_1", "dense_2"), ["--init-layers", "dense_1, dense_2", "--init-from", "run"]),
    ("freeze", ("dense_1", "dense_2"), ["--freeze", "dense_1,dense_2"]),
    ("force", True, ["--force"]),
    ("batch_size", 7, ["--batch-size", "7"]),
    ("epochs", 3, ["--epochs", "3"]),
    ("keep", "last", ["--keep", "last"]),
    ("metric", "roc_auc", ["--metric", "auc"]),
    ("metrics", ("f1", "roc_auc"), ["--metrics", "f1,auc"]),
    ("patience", 4, ["--patience", "4"]),
    ("max_time", 90.0, ["--max-time", "1.5min"]),
    ("validation", 0.25, ["--validation", "0.25"]),
    ("test", 0.0, ["--test", "0"]),
    ("seed", 2**63 - 1, ["--seed", str(2**63 - 1)]),
    ("backend", "xla", ["--backend", "xla"]),
    ("dtype", "float64", ["--dtype", "float64"]),
    ("watch", True, ["--watch"]),
]


@pytest.mark.parametrize(("field", "value", "arguments"), OPTIONS, ids=[" ".join(o[2]) for o in OPTIONS])
def test_options_reach_the_settings(
    data: Path, asked: list[Settings], field: str, value: Any, arguments: list[str]
) -> None:
    assert "caught" in call("train", data, *arguments).err
    assert getattr(asked[0], field) == value


def test_every_setting_has_an_option() -> None:
    fields = {item.name for item in dataclasses.fields(Settings) if item.init}
    assert {field for field, _, _ in OPTIONS} | {"network"} == fields


def test_defaults_are_those_of_the_settings(data: Path, asked: list[Settings]) -> None:
    call("train", data)
    assert asked == [Settings()]


def test_a_network_file_reaches_the_settings(data: Path, asked: list[Settings]) -> None:
    Path("net.toml").write_text(RESIDUAL)
    call("train", data, "--network", "net.toml")
    assert asked[0].network is not None
    assert [layer["name"] for layer in asked[0].network["layers"]] == ["wide", "dense_2", "sum", "last"]
    assert asked[0].network["layers"][2]["inputs"] == ["wide", "dense_2"]


# --- what comes out -----------------------------------------------------------------------------------------


def test_a_run_prints_a_table_and_is_saved_in_its_folder(data: Path) -> None:
    done = train(data, "--out", "some/new/run")
    assert done.code == 0
    header, _, *rows, last, next_one = done.out.splitlines()
    assert header.split() == ["part", "rows", "loss", "accuracy"]
    assert [row.split()[:2] for row in rows] == [["train", "43"], ["validation", "5"], ["test", "12"]]
    assert last.endswith("some/new/run")
    assert next_one.endswith("glassgrad report some/new/run")
    assert [line.split("  ")[0] for line in done.err.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert "validation loss" in done.err
    assert sorted(path.name for path in Path("some/new/run").iterdir()) == [
        "config.json",
        "history.csv",
        "model.safetensors",
    ]
    assert len(read_history(Path("some/new/run"))) == 2
    assert read_config(Path("some/new/run"))["layers"] == [4]


def test_json_is_the_only_standard_output(data: Path) -> None:
    done = train(data, "--json", "--seed", 3)
    assert done.code == 0
    assert len(done.out.splitlines()) == 1
    found = done.json
    assert found["task"] == "classification"
    assert found["status"] == "finished"
    assert found["metrics"].keys() == {"train", "validation", "test"}
    assert found["metrics"]["test"].keys() == {"loss", "accuracy"}
    assert (found["epochs"], found["steps"], found["seed"], found["backend"]) == (2, 4, 3, "reference")
    assert found["parameters"] == 4 * 4 + 4 + 4 * 3 + 3
    assert found["best_epoch"] in (1, 2)
    assert found["seconds_training"] > 0
    assert found["seconds_compiling"] >= 0
    assert found["seconds_total"] >= found["seconds_training"] + found["seconds_compiling"]
    assert Path(found["model"]) == Path(found["run"]) / "model.safetensors"
    assert Path(found["run"]).parent == Path("runs")
    assert Path(found["run"]).name.startswith("blobs-")
    assert load_model(found["run"]).metrics == found["metrics"]
    assert len(left(Path())) == 1 + 1 + 3  # the data, and the run with its files


def test_zero_epochs_saves_the_initial_weights(data: Path) -> None:
    done = train(data, "--epochs", 0, "--validation", 0, "--test", 0, "--json")
    assert (done.code, done.json["epochs"], done.json["steps"], done.json["best_epoch"]) == (0, 0, 0, None)
    assert done.json["metrics"].keys() == {"train"}
    assert done.err == ""


def test_on_a_terminal_there_is_a_bar(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    from glassgrad.cli.main import run

    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run(["train", str(data), "--backend", "reference", "--epochs", "2", "--json"]) == 0
    assert "epoch 2/2" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    assert "accuracy" in terminal.getvalue()
    assert "\x1b[?25h" in terminal.getvalue()  # the cursor is back


def test_two_processes_at_once_give_the_same_bits_in_two_folders(data: Path) -> None:
    arguments = ("train", data, "--backend", "reference", "--epochs", 3, "--json")
    both = [start(*arguments), start(*arguments), start(*arguments, "--seed", 1)]
    results = []
    for process in both:
        out, err = process.communicate()
        assert process.returncode == 0, err
        results.append(json.loads(out))
    assert len({found["run"] for found in results}) == 3
    first, second, other = (tensors(found["run"]) for found in results)
    assert first == second
    assert first.keys() == other.keys()
    assert first != other
    assert results[0]["metrics"] == results[1]["metrics"]
    # The whole process counts: starting Python and its imports take longer than no time at all.
    assert results[0]["seconds_total"] > results[0]["seconds_training"]


def test_california_housing_metrics_are_in_original_units(tmp_path: Path) -> None:
    if not HOUSING.is_file():
        pytest.skip(f"the California housing data is not at {HOUSING}")
    with gzip.open(HOUSING, "rt") as file:
        lines = [line.split(",")[:9] for line in file.read().splitlines()[1:]]
    table = np.array([line for line in lines if all(line)], dtype=np.float64)
    chosen = table[np.random.default_rng(0).permutation(len(table))[:3000]]
    source = tmp_path / "housing.npz"
    np.savez(source, X=chosen[:, :8], y=chosen[:, 8])
    done = train(
        source, "--layers", "16", "--epochs", 8, "--learning-rate", 0.01, "--json", "--out", tmp_path / "run"
    )
    assert done.code == 0
    assert done.json["task"] == "regression"
    test = done.json["metrics"]["test"]
    assert test.keys() == {"loss", "rmse", "mae", "r2"}
    assert 40_000 < test["mae"] < test["rmse"] < 85_000  # dollars; predicting the mean gives 115,000
    assert test["r2"] > 0.5
    assert "rmse" in done.err
    assert "r2" in call("evaluate", tmp_path / "run", source).out


# --- networks and weights -----------------------------------------------------------------------------------


def test_a_residual_network_from_toml(data: Path) -> None:
    Path("net.toml").write_text(RESIDUAL)
    assert train(data, "--out", "first", "--json").code == 0  # --layers of QUICK, no file
    done = call(
        "train", data, "--network", "net.toml", "--epochs", 8, "--backend", "reference", "--out", "run"
    )
    assert done.code == 0
    nodes = load_model("run").network.nodes
    assert [step.name for step in nodes] == ["wide", "dense_2", "sum", "last"]
    assert nodes[2].inputs == ("wide", "dense_2")
    document = read_config(Path("run"))["network"]
    assert from_document(document) == load_model("run").network


def test_a_network_may_be_json(data: Path) -> None:
    Path("net.json").write_text('{"layers": [{"type": "dense", "units": 3}]}')
    done = call("train", data, "--network", "net.json", "--epochs", 1, "--backend", "reference", "--json")
    assert done.json["parameters"] == 15


def test_frozen_layers_taken_from_a_model_keep_their_bits(data: Path) -> None:
    assert train(data, "--out", "first").code == 0
    assert train(data, "--out", "all", "--init-from", "first", "--freeze", "dense_1", "--seed", 1).code == 0
    chosen = ("--init-layers", "dense_1", "--freeze", "dense_1", "--seed", 1)
    assert train(data, "--out", "some", "--init-from", "first/model.safetensors", *chosen).code == 0
    first, everything, some = tensors("first"), tensors("all"), tensors("some")
    for name in ("dense_1.weights", "dense_1.bias"):
        assert first[name] == everything[name] == some[name]
    assert len({first["dense_2.weights"], everything["dense_2.weights"], some["dense_2.weights"]}) == 3


def test_init_from_without_training_is_a_copy(data: Path) -> None:
    assert train(data, "--out", "first").code == 0
    assert train(data, "--out", "copy", "--init-from", "first", "--epochs", 0, "--seed", 9).code == 0
    assert tensors("first") == tensors("copy")


# --- divergence ---------------------------------------------------------------------------------------------

WILD = ("--learning-rate", "1e6", "--optimizer", "sgd", "--scaling", "none", "--backend", "reference")


def test_divergence_keeps_the_last_good_weights(tmp_path: Path) -> None:
    done = call("train", "digits", *WILD, "--out", tmp_path / "run", "--json")
    assert done.code == 1
    line = done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert "step" in line
    assert "dense_" in line
    assert str(tmp_path / "run") in line
    assert done.json["status"] == "diverged"
    assert done.json["error"] == line.removeprefix("glassgrad: error: ")
    found, document = read_model(tmp_path / "run" / "model.safetensors")
    assert document["training"]["status"] == "diverged"
    assert all(np.isfinite(array).all() for array in found.values())
    assert call("summary", tmp_path / "run").code == 0
    assert call("evaluate", tmp_path / "run", "digits").code == 0


def test_nan_in_the_metrics_is_null_in_json(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"loss": float("nan"), "accuracy": float("inf")}
    monkeypatch.setattr("glassgrad.training.model.metrics_of", lambda *_: dict(found))
    done = train(data, "--json", "--validation", 0)
    assert done.json["metrics"]["test"] == {"loss": None, "accuracy": None}


def test_the_network_file_replaces_the_options_of_the_network(data: Path) -> None:
    Path("net.toml").write_text(RESIDUAL)
    for option, value in (
        ("layers", "4"),
        ("activation", "tanh"),
        ("init", "zeros"),
        ("output-activation", "relu"),
    ):
        refused(
            call("train", data, "--network", "net.toml", f"--{option}", value), f"--{option}", "--network"
        )
