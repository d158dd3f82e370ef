"""What cannot be used is told in one line on standard error, with exit code 2, and leaves nothing behind.

This is one file because all tests share the tables of refused commands.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.running import blobs, call, left, refused, start, train
from glassgrad.data import sources
from glassgrad.files import run_folder
from glassgrad.files.model_file import read_model


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data(here: Path) -> Path:
    """A data set, in a current folder with nothing else."""
    return blobs(here / "blobs.npz")


@pytest.fixture
def model(data: Path) -> Path:
    """A run."""
    assert train(data, "--out", "model").code == 0
    return Path("model")


# --- the command line itself --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["command"]),
        (["trian", "digits"], ["trian", "train"]),
        (["train"], ["SOURCE"]),
        (["train", "digits", "more"], ["more"]),
        (["train", "digits", "--epoch", "3"], ["--epoch", "--epochs"]),
        (["train", "digits", "--epochs"], ["--epochs"]),
        (["train", "digits", "--epochs", "many"], ["--epochs"]),
        (["train", "digits", "--epochs", "1.5"], ["--epochs"]),
        (["train", "digits", "--learning-rate", "fast"], ["--learning-rate"]),
        (["evaluate", "model"], ["SOURCE"]),
        (["predict"], ["MODEL"]),
        (["summary", "model", "--format", "yaml"], ["yaml", "toml"]),
        (["summary", "model", "--format", "toml", "--json"], ["--json"]),
    ],
    ids=" ".join,
)
def test_usage(here: Path, arguments: list[str], words: list[str]) -> None:
    line = refused(call(*arguments), *words)
    assert "Usage" not in line
    assert left(here) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("layers", "0"),
        ("layers", "-3"),
        ("layers", "4,,4"),
        ("layers", "four"),
        ("layers", "1e3"),
        ("layers", "99999999999999999999"),
        ("learning-rate", "-1"),
        ("learning-rate", "nan"),
        ("learning-rate", "inf"),
        ("momentum", "1"),
        ("momentum", "nan"),
        ("weight-decay", "-0.1"),
        ("clip-norm", "0"),
        ("clip-norm", "nan"),
        ("clip-value", "-1"),
        ("batch-size", "0"),
        ("batch-size", "-1"),
        ("epochs", "-1"),
        ("epochs", "99999999999999999999"),
        ("validation", "1"),
        ("validation", "-0.1"),
        ("validation", "nan"),
        ("test", "1"),
        ("test", "inf"),
        ("seed", "-1"),
        ("seed", str(2**63)),
        ("keep", "worst"),
        ("scaling", "some"),
        ("dtype", "float16"),
    ],
)
def test_impossible_values(data: Path, option: str, value: str) -> None:
    refused(train(data, f"--{option}", value), option.replace("-", "_") if option != "layers" else "layers")
    assert left(data.parent) == ["blobs.npz"]


@pytest.mark.parametrize(
    ("option", "name", "near"),
    [
        ("activation", "rellu", "relu"),
        ("output-activation", "sigmoyd", "sigmoid"),
        ("init", "he_norm", "he_normal"),
        ("loss", "squared_eror", "squared_error"),
        ("optimizer", "adm", "adam"),
        ("schedule", "cosin", "cosine"),
        ("backend", "referense", "reference"),
    ],
)
def test_unknown_names_list_the_known_ones(data: Path, option: str, name: str, near: str) -> None:
    refused(train(data, f"--{option}", name), name, f"did you mean '{near}'?", "known:")
    assert left(data.parent) == ["blobs.npz"]


@pytest.mark.parametrize("option", ["freeze", "init-layers"])
def test_unknown_layers_list_the_known_ones(model: Path, option: str) -> None:
    taken = ("--init-from", model) if option == "init-layers" else ()
    line = refused(train("blobs.npz", f"--{option}", "dense_3", *taken, "--out", "run"), "dense_3", "known:")
    assert "dense_1" in line
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--freeze", "dense_1,dense_2"], ["frozen"]),
        (["--init-layers", "dense_1"], ["init_from"]),
        (["--momentum", "0.5"], ["momentum", "sgd"]),
        (["--activation", "step"], ["step", "--force"]),
        (["--loss", "binary_cross_entropy"], ["categorical_cross_entropy", "--force"]),
        (["--output-activation", "softmax"], ["softmax", "--force"]),
        (["--activation", "leaky_relu(slop=2)"], ["slop", "slope"]),
        (["--activation", "leaky_relu("], ["leaky_relu("]),
        (["--schedule", "reduce_on_plateau", "--validation", "0"], ["validation"]),
    ],
    ids=" ".join,
)
def test_invalid_combinations(data: Path, arguments: list[str], words: list[str]) -> None:
    refused(train(data, *arguments), *words)
    assert left(data.parent) == ["blobs.npz"]


def test_not_enough_memory(data: Path) -> None:
    refused(train(data, "--layers", "1000000,1000000"), "memory")
    assert left(data.parent) == ["blobs.npz"]


# --- sources ------------------------------------------------------------------------------------------------

Maker = Callable[[Path], Any]


def cut(path: Path) -> None:
    whole = blobs(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def changed(row: int, value: float) -> np.ndarray:
    X = np.ones((60, 4))
    X[row, 2] = value
    return X


SOURCES: dict[str, tuple[Maker, list[str]]] = {
    "missing": (lambda path: None, ["no such file"]),
    "empty": (lambda path: path.write_bytes(b""), ["empty"]),
    "truncated": (cut, ["damaged or cut short"]),
    "foreign": (lambda path: path.write_text("a,b\n1,2\n"), ["not an .npz"]),
    "no y": (lambda path: blobs(path, y=None), ["no array y"]),
    "objects": (lambda path: blobs(path, y=np.array([None] * 60, dtype=object)), ["Python objects"]),
    "lengths": (lambda path: blobs(path, y=np.arange(59) % 3), ["60 rows", "59"]),
    "labels in a table": (lambda path: blobs(path, y=np.ones((60, 2), int)), ["(60, 2)"]),
    "complex": (lambda path: blobs(path, X=np.ones((60, 4), complex)), ["complex128"]),
    "text": (lambda path: blobs(path, X=np.full((60, 4), "a")), ["text"]),
    "no rows": (lambda path: blobs(path, X=np.ones((0, 4)), y=np.ones(0, int)), ["no rows"]),
    "no columns": (lambda path: blobs(path, X=np.ones((60, 0))), ["columns"]),
    "one class": (lambda path: blobs(path, y=np.zeros(60, int)), ["one class"]),
    "fewer rows than classes": (lambda path: blobs(path, rows=4, classes=4), ["too few rows"]),
    "nan": (lambda path: blobs(path, X=changed(7, np.nan)), ["NaN", "row 7", "column 2"]),
    "inf": (lambda path: blobs(path, X=changed(9, np.inf)), ["Inf", "row 9", "column 2"]),
    "nan target": (lambda path: blobs(path, y=np.full(60, np.nan)), ["NaN", "row 0"]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources(here: Path, name: str) -> None:
    make, words = SOURCES[name]
    path = here / "data.npz"
    make(path)
    line = refused(train(path), *words)
    assert "data" in line
    assert left(here) == (["data.npz"] if path.exists() else [])


def test_other_sources(here: Path) -> None:
    refused(train("digit"), "digit", "did you mean 'digits'?")
    refused(train(""), "source")
    refused(train(here), "train-images")
    Path("notes.txt").write_text("words")
    refused(train("notes.txt"), "notes.txt")
    Path("mnist").mkdir()
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", 10, 2, 2)
    Path("mnist/train-images-idx3-ubyte").write_bytes(header + bytes(39))
    Path("mnist/train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", 10) + bytes(10))
    refused(train("mnist"), "train-images-idx3-ubyte", "cut short")


def test_a_name_with_a_line_break_stays_one_line(here: Path) -> None:
    refused(train("bad\nname\x1b[31m.npz"), "bad\\nname\\x1b[31m.npz")
    refused(train("nul\0.npz"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"X": np.ones((5, 3)), "y": np.arange(5) % 3}, ["[5, 3]", "[rows, 4]"]),
        ({"X": changed(3, np.nan)}, ["NaN", "row 3"]),
        ({"y": np.array(["a", "b", "c"] * 20)}, ["'a'", "row 0"]),
        ({"y": np.arange(60)}, ["unknown class 3"]),
        ({"y": np.arange(59) % 3}, ["[60, 4]", "[59]"]),
        ({"y": None}, ["no array y"]),
        ({"X": None}, ["no array X"]),
    ],
)
def test_rows_that_do_not_suit_a_model(model: Path, changes: dict[str, Any], words: list[str]) -> None:
    other = blobs(Path("other.npz"), **changes)
    refused(call("evaluate", model, other), "other.npz", *words)
    done = call("predict", model, other)
    assert (done.code == 0) == ("X" not in changes)


# --- models -------------------------------------------------------------------------------------------------


def newer(path: Path) -> None:
    content = path.read_bytes()
    assert content.count(b'\\"version\\":1') == 1
    path.write_bytes(content.replace(b'\\"version\\":1', b'\\"version\\":9'))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


MODELS: dict[str, tuple[Maker, list[str]]] = {
    "empty": (lambda path: path.write_bytes(b""), ["empty"]),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-9]), ["cut short"]),
    "foreign": (lambda path: path.write_text("words, and no model"), ["not a Glassgrad model"]),
    "damaged": (flipped, ["damaged"]),
    "newer": (newer, ["newer Glassgrad", "upgrade"]),
    "missing": (lambda path: path.unlink(), ["model.safetensors"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(model: Path, name: str) -> None:
    make, words = MODELS[name]
    make(model / "model.safetensors")
    for arguments in (["summary", model], ["evaluate", model, "digits"], ["predict", model, "digits"]):
        refused(call(*arguments), "model", *words)
    refused(train("blobs.npz", "--init-from", model, "--out", "run"), *words)
    assert not Path("run").exists()


def test_a_model_of_another_shape(model: Path) -> None:
    refused(train("digits", "--init-from", model, "--out", "run"), "model.safetensors", "--init-layers")
    assert not Path("run").exists()


# --- outputs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["file", "file/run", "full", "/proc/run"])
def test_run_folders_that_cannot_be_written(data: Path, out: str) -> None:
    Path("file").write_text("mine")
    Path("full").mkdir()
    Path("full/notes").write_text("mine")
    refused(train(data, "--out", out), out)
    assert left(data.parent) == ["blobs.npz", "file", "full", "full/notes"]


def test_an_unwritable_folder_is_refused_before_training(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("runs").write_text("mine")
    monkeypatch.setattr("glassgrad.training.train.train", lambda *_, **__: pytest.fail("it trained"))
    refused(train(data), "runs")


def test_a_full_disk_leaves_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = run_folder.write_new

    def full(path: Path, content: bytes) -> None:
        if path.name == "config.json":
            path.write_bytes(content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    monkeypatch.setattr(run_folder, "write_new", full)
    done = train(data, "--out", "run", "--json")
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("glassgrad: error: run: cannot be written: the disk is full")
    assert "disk is full" in done.json["error"]
    assert left(data.parent) == ["blobs.npz"]


@pytest.mark.parametrize("out", ["folder", "file/x.csv", "nowhere/x.csv", "/proc/x.csv"])
def test_predictions_that_cannot_be_written(model: Path, out: str) -> None:
    Path("folder").mkdir()
    Path("file").write_text("mine")
    before = left(Path())
    done = call("predict", model, "blobs.npz", "--out", out)
    refused(done, out)
    assert done.out == ""
    assert left(Path()) == before


# --- network files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("net.toml", "", ["empty"]),
        ("net.yaml", "layers:", [".toml"]),
        ("net.toml", "[[layers]\n", ["TOML", "line 1"]),
        ("net.json", '{"layers": [', ["JSON", "line 1"]),
        ("net.json", "[1]", ["layers"]),
        ("net.json", '{"layer": []}', ["layer", "did you mean 'layers'?"]),
        ("net.json", "[" * 100_000, ["nested"]),
        ("net.toml", "layers = []", ["layers"]),
        ("net.toml", '[[layers]]\ntype = "dens"\nunits = 3\n', ["layer 1", "did you mean 'dense'?"]),
        ("net.toml", '[[layers]]\ntype = "dense"\nunit = 3\n', ["layer 1", "did you mean 'units'?"]),
        ("net.toml", '[[layers]]\ntype = "dense"\nunits = 0\n', ["layer 1", "units"]),
        ("net.toml", '[[layers]]\ntype = "dense"\nunits = 2026-01-01\n', ["layer 1", "units"]),
        ("net.toml", '[[layers]]\ntype = "dense"\nunits = 3\nactivation = "rellu"\n', ["layer 1", "'relu'"]),
        ("net.toml", '[[layers]]\ntype = "add"\ninputs = ["nope"]\n', ["add_1", "nope"]),
        ("net.toml", '[[layers]]\ntype = "conv2d"\nfilters = 3\n', ["conv2d_1", "conv2d"]),
        ("net.toml", '[[layers]]\ntype = "dense"\nname = "a b"\nunits = 3\n', ["layer 1", "a b"]),
    ],
)
def test_network_files(data: Path, name: str, content: str, words: list[str]) -> None:
    Path(name).write_text(content)
    refused(call("train", data, "--network", name, "--backend", "reference"), name, *words)
    assert left(data.parent) == sorted(["blobs.npz", name])


def test_binary_network_files(data: Path) -> None:
    refused(call("train", data, "--network", "nope.toml"), "nope.toml: no such file")
    Path("net.toml").write_bytes(b"\xff\xfe\x00")
    refused(call("train", data, "--network", "net.toml"), "net.toml", "UTF-8")


def test_a_network_that_ends_in_the_wrong_shape(data: Path) -> None:
    Path("net.toml").write_text('[[layers]]\ntype = "dense"\nname = "end"\nunits = 7\n')
    refused(
        call("train", data, "--network", "net.toml", "--backend", "reference"),
        "net.toml",
        "end",
        "[7]",
        "[3]",
    )


# --- JSON, pipes, bugs --------------------------------------------------------------------------------------


def test_an_error_is_also_written_as_json(here: Path) -> None:
    for arguments in (["train", "nope", "--json"], ["train", "--json"], ["evaluate", "nope", "x", "--json"]):
        done = call(*arguments)
        line = refused(done)
        assert done.json == {"error": line.removeprefix("glassgrad: error: "), "exit_code": 2}
        assert len(done.out.splitlines()) == 1


def test_a_bug_shows_its_traceback(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setitem(sources.BUILT_IN, "digits", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        call("train", "digits", "--backend", "reference")


def test_a_closed_pipe_is_not_an_error(model: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start("predict", model, "blobs.npz", stdout=writing)
    os.close(writing)
    _, err = process.communicate()
    assert (process.returncode, err) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
def test_a_full_standard_output(model: Path) -> None:
    with open("/dev/full", "w") as full:
        process = start("summary", model, "--json", stdout=full)
        _, err = process.communicate()
    assert process.returncode == 2
    assert err.count("\n") == 1
    assert err.startswith("glassgrad: error: No space left")


def test_closed_outputs_do_not_stop_a_run(data: Path) -> None:
    command = '"$0" -m glassgrad train blobs.npz --backend reference --epochs 1 --out run >&- 2>&-'
    assert subprocess.run(["/bin/sh", "-c", command, sys.executable], check=False).returncode == 0
    assert read_model(Path("run/model.safetensors"))


def test_help_and_version_load_nothing_heavy() -> None:
    heavy = ["numpy", "rich", "safetensors", "llvmlite", "jax"]
    script = (
        "import sys, json; from glassgrad.cli.main import run\n"
        "codes = [run(['--help']), run(['train', '--help']), run(['--version'])]\n"
        f"print(json.dumps([codes, [name for name in {heavy} if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [[0, 0, 0], []]
    assert "--learning-rate" in done.stdout
    assert "glassgrad 0." in done.stdout
