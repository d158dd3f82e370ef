"""``glassgrad evaluate``, ``predict`` and ``summary``."""

from __future__ import annotations

import csv
import json
import struct
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.running import blobs, call, train
from glassgrad.cli.networks import read_network, to_toml
from glassgrad.cli.output import show, table
from glassgrad.nn.layer import LAYERS
from glassgrad.nn.network import from_document
from glassgrad.training.model import load_model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run on ``blobs.npz``, both in the current folder."""
    monkeypatch.chdir(tmp_path)
    blobs(Path("blobs.npz"))
    assert train("blobs.npz", "--out", "run", "--epochs", 20, "--learning-rate", 0.02).code == 0
    return Path("run")


def read(text: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(text.splitlines())
    return header, rows


# --- evaluate -----------------------------------------------------------------------------------------------


def test_evaluate_takes_all_rows(model: Path) -> None:
    done = call("evaluate", model, "blobs.npz", "--json")
    assert done.code == 0
    with np.load("blobs.npz") as data:
        known = load_model(model).evaluate(data["X"], data["y"])
    assert done.json["metrics"] == known
    assert (done.json["part"], done.json["rows"], done.json["task"]) == ("all", 60, "classification")
    header, _, row = call("evaluate", "run/model.safetensors", "blobs.npz").out.splitlines()
    assert header.split() == ["part", "rows", "loss", "accuracy"]
    assert row.split()[:2] == ["all", "60"]


def test_evaluate_takes_rows_of_one_class(model: Path) -> None:
    blobs(Path("one.npz"), X=np.full((5, 4), 6.0), y=np.full(5, 2))
    assert call("evaluate", model, "one.npz", "--json").json["metrics"]["accuracy"] == 1


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_a_source_with_a_test_part_uses_only_that_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    Path("images").mkdir()
    for part, rows in (("train", 40), ("t10k", 7)):
        labels = (np.arange(rows) % 2).astype(np.uint8)
        images = generator.integers(0, 100, (rows, 2, 3)).astype(np.uint8) + 100 * labels[:, None, None]
        Path(f"images/{part}-images-idx3-ubyte").write_bytes(idx(images))
        Path(f"images/{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    done = train("images", "--out", "run", "--json")
    assert done.json["rows"] == {"train": 36, "validation": 4, "test": 7}
    found = call("evaluate", "run", "images", "--json").json
    assert (found["part"], found["rows"]) == ("test", 7)
    assert found["metrics"] == pytest.approx(done.json["metrics"]["test"])
    header, rows = read(call("predict", "run", "images").out)
    assert header == ["label", "probability_0", "probability_1"]
    assert len(rows) == 7


# --- predict ------------------------------------------------------------------------------------------------


def test_predict_gives_labels_and_probabilities(model: Path) -> None:
    with np.load("blobs.npz") as data:
        np.savez("features.npz", X=data["X"])
        X = data["X"]
    done = call("predict", model, "features.npz")
    assert (done.code, done.err) == (0, "")
    header, rows = read(done.out)
    assert header == ["label", "probability_0", "probability_1", "probability_2"]
    assert [int(row[0]) for row in rows] == load_model(model).predict(X).tolist()
    numbers = np.array(rows, dtype=np.float64)[:, 1:]
    assert np.array_equal(numbers, load_model(model).predict_probabilities(X))


def test_predict_replaces_a_file_in_one_step(model: Path) -> None:
    Path("out.csv").write_text("old")
    done = call("predict", model, "blobs.npz", "--out", "out.csv")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert Path("out.csv").read_text() == call("predict", model, "blobs.npz").out
    assert not list(Path().glob(".glassgrad*"))


def test_labels_of_text_are_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = np.array(["plain", 'with, comma and "quote"', "naïve"])
    blobs(Path("text.npz"), y=names[np.arange(60) % 3])
    assert train("text.npz", "--out", "run").code == 0
    header, rows = read(call("predict", "run", "text.npz").out)
    assert set(header[1:]) == {f"probability_{name}" for name in names}
    assert {row[0] for row in rows} <= set(names)


def test_a_loss_without_probabilities_gives_only_labels(model: Path) -> None:
    assert train("blobs.npz", "--loss", "hinge", "--out", "hinge").code == 0
    header, rows = read(call("predict", "hinge", "blobs.npz").out)
    assert (header, len(rows), len(rows[0])) == (["label"], 60, 1)


@pytest.mark.parametrize("targets", [None, 1, 2])
def test_quantities_are_in_their_original_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, targets: int | None
) -> None:
    monkeypatch.chdir(tmp_path)
    X = np.random.default_rng(0).normal(size=(80, 4))
    y = 1e6 + 1000 * X[:, 0] if targets is None else 1e6 + 1000 * X[:, :targets]
    np.savez("data.npz", X=X, y=y)
    assert train("data.npz", "--out", "run").code == 0
    header, rows = read(call("predict", "run", "data.npz").out)
    assert header == (["prediction"] if targets is None else [f"prediction_{i}" for i in range(targets)])
    found = np.array(rows, dtype=np.float64)
    assert np.array_equal(found.reshape(y.shape), load_model("run").predict(X))
    assert abs(found.mean() - 1e6) < 2000


# --- summary ------------------------------------------------------------------------------------------------


def test_summary_shows_the_network(model: Path) -> None:
    done = call("summary", model)
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["name", "type", "inputs", "output", "parameters"]
    assert lines[2:4] == [
        ["dense_1", "dense", "input", "4", "20"],
        ["dense_2", "dense", "dense_1", "3", "15"],
    ]
    assert ["parameters:", "35"] in lines
    assert ["source:", "blobs"] in lines
    assert "loss:       categorical_cross_entropy" in done.out
    assert lines[-1][:2] == ["test", "12"]


def test_summary_as_json(model: Path) -> None:
    found = call("summary", model, "--json").json
    assert found["parameters"] == 35
    assert found["classes"] == [0, 1, 2]
    assert [layer["name"] for layer in found["layers"]] == ["dense_1", "dense_2"]
    assert found["loss"]["name"] == "categorical_cross_entropy"
    assert found["provenance"]["source"] == "blobs"
    assert found["metrics"] == load_model(model).metrics


@pytest.mark.parametrize("form", ["toml", "json"])
def test_the_network_file_of_summary_can_be_trained(model: Path, form: str) -> None:
    Path(f"net.{form}").write_text(call("summary", model, "--format", form).out)
    assert read_network(Path(f"net.{form}")) == load_model(model).network
    done = call("train", "blobs.npz", "--network", f"net.{form}", "--backend", "reference", "--out", "again")
    assert done.code == 0
    assert call("summary", "again", "--format", form).out == Path(f"net.{form}").read_text()


# What a layer needs beside its type; every registered kind is tried.
NEEDED: dict[str, dict[str, Any]] = {
    "dense": {"units": 3, "activation": "leaky_relu(1e-5)", "init": {"name": "lsuv"}, "bias": False},
    "activation": {"activation": {"name": "elu", "alpha": 0.5}},
    "dropout": {"rate": 0.25},
    "reshape": {"shape": [2, 3]},
    "embedding": {"entries": 5, "dimension": 2},
    "simple_rnn": {"units": 2},
    "conv2d": {"filters": 2, "kernel_size": [3, 2]},
    "max_pool2d": {},
    "average_pool2d": {},
}


@pytest.mark.parametrize("kind", list(LAYERS))
def test_every_layer_survives_toml(kind: str, tmp_path: Path) -> None:
    entry = {"type": kind, "name": "the-layer", "inputs": ["input"]} | NEEDED.get(kind, {})
    network = from_document({"layers": [entry, entry | {"name": "next", "inputs": ["the-layer", "input"]}]})
    text = to_toml(network.to_document())
    assert from_document(tomllib.loads(text)) == network
    (tmp_path / "net.toml").write_text(text)
    (tmp_path / "net.json").write_text(json.dumps(network.to_document()))
    assert read_network(tmp_path / "net.toml") == read_network(tmp_path / "net.json") == network


# --- text ---------------------------------------------------------------------------------------------------


def test_tables_are_aligned() -> None:
    found = table(["name", "n"], [["a", 1], ["bcdefg", 12345], ["x", None]])
    assert found.splitlines() == [
        "name         n",
        "--------------",
        "a            1",
        "bcdefg  12,345",
        "x            -",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.12345, "0.1235"),
        (1e-7, "1e-07"),
        (123456.7, "1.235e+05"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ([8, 8], "8 x 8"),
        (True, "true"),
        (None, "-"),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert show(value) == text
