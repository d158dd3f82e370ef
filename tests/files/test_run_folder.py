"""Run folders: whole or not there, and never somebody else's."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glassgrad.common.errors import InputError
from glassgrad.files import run_folder
from glassgrad.files.run_folder import (
    RunFolder,
    config_json,
    history_csv,
    read_config,
    read_history,
    resolve_model,
)

FILES = {"model.safetensors": b"weights", "history.csv": b"epoch\n1\n"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(path: Path | None) -> str:
    with pytest.raises(InputError) as caught:
        RunFolder.create(path, "digits")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noon(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Noon:
            assert tz is UTC
            return cls(2025, 3, 1, 12, tzinfo=tz)

    monkeypatch.setattr(run_folder, "datetime", Noon)


@pytest.mark.parametrize("there", [False, True])
def test_a_run_appears_complete_on_commit(here: Path, there: bool) -> None:
    path = Path("mine")
    if there:
        path.mkdir()
    with RunFolder.create(path, "digits") as folder:
        assert folder.path == path
        assert path.exists() == there
        folder.commit(FILES)
    assert content(path) == FILES
    assert os.listdir(here) == ["mine"]


@pytest.mark.parametrize("path", [Path("mine"), None])
def test_a_change_of_the_current_folder_does_not_matter(
    here: Path, monkeypatch: pytest.MonkeyPatch, path: Path | None
) -> None:
    folder = RunFolder.create(path, "digits")
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    folder.commit(FILES)
    assert content(here / folder.path) == FILES
    assert os.listdir(here / "elsewhere") == []


def test_a_link_to_an_empty_folder_is_kept(here: Path) -> None:
    (here / "real").mkdir()
    (here / "link").symlink_to("real")
    with RunFolder.create(Path("link"), "digits") as folder:
        folder.commit(FILES)
    assert (here / "link").is_symlink()
    assert content(here / "real") == FILES


def test_missing_parents_are_made(here: Path) -> None:
    with RunFolder.create(Path("a/b/c"), "digits") as folder:
        folder.commit(FILES)
    assert content(here / "a/b/c") == FILES


def test_the_current_folder_can_be_the_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "empty").mkdir()
    monkeypatch.chdir(here / "empty")
    with RunFolder.create(Path("."), "digits") as folder:
        folder.commit(FILES)
    assert content(here / "empty") == FILES


def test_without_commit_nothing_is_left(here: Path) -> None:
    with RunFolder.create(Path("mine"), "digits"):
        pass
    with pytest.raises(KeyboardInterrupt), RunFolder.create(Path("mine"), "digits"):
        raise KeyboardInterrupt
    assert os.listdir(here) == []


def test_existing_paths_are_refused_up_front(here: Path) -> None:
    (here / "file").write_bytes(b"")
    (here / "full").mkdir()
    (here / "full" / "x").write_bytes(b"")
    assert refused(Path("file")).startswith("file: is a file, but the run needs a folder")
    assert refused(Path("full")).startswith("full: is a folder that is not empty; give a new or empty folder")
    assert refused(Path("file/run")).startswith("file/run: cannot be written: ")
    assert sorted(os.listdir(here)) == ["file", "full"]


def test_a_folder_without_permission_is_refused_up_front(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refuse)
    assert (
        refused(Path("mine"))
        == "mine: cannot be written: no permission to write to this folder; choose another folder"
    )
    assert (
        refused(None)
        == "runs: cannot be written: no permission to write to this folder; choose another folder"
    )


def test_a_file_called_runs_is_refused(here: Path) -> None:
    (here / "runs").write_bytes(b"")
    assert refused(None).startswith("runs: cannot be written: a file of that name already exists")


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, call: str, there: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if there:
        (here / "mine").mkdir()
    with RunFolder.create(Path("mine"), "digits") as folder:
        monkeypatch.setattr(os, call, full)
        with pytest.raises(
            InputError, match=r"^mine: cannot be written: the disk is full; free space[^\n]*$"
        ):
            folder.commit(FILES)
        assert os.listdir(here) == ["mine"] * there
    assert os.listdir(here) == ["mine"] * there


def test_a_path_created_meanwhile_is_not_overwritten(here: Path) -> None:
    with RunFolder.create(Path("mine"), "digits") as folder:
        (here / "mine").mkdir()
        (here / "mine" / "other").write_bytes(b"theirs")
        with pytest.raises(InputError, match=r"^mine: was created by another program meanwhile"):
            folder.commit(FILES)
    assert content(here / "mine") == {"other": b"theirs"}
    assert os.listdir(here) == ["mine"]


def test_names_and_second_commits_are_checked(here: Path) -> None:
    with RunFolder.create(Path("mine"), "digits") as folder:
        for name in ("", ".", "..", "a/b", "../a", "/a"):
            with pytest.raises(ValueError, match="not a plain file name"):
                folder.commit({name: b""})
        folder.commit(FILES)
        with pytest.raises(ValueError, match="committed already"):
            folder.commit(FILES)
    assert content(here / "mine") == FILES


@pytest.mark.usefixtures("noon")
def test_default_names_are_unique(here: Path) -> None:
    first, second = RunFolder.create(None, "digits"), RunFolder.create(None, "digits")
    assert first.path == Path("runs/digits-20250301T120000Z")
    assert second.path == Path("runs/digits-20250301T120000Z-2")
    first.commit(FILES)
    third = RunFolder.create(None, "digits")
    assert third.path == Path("runs/digits-20250301T120000Z-3")
    second.discard()
    third.discard()
    assert os.listdir(here / "runs") == ["digits-20250301T120000Z"]
    assert content(here / first.path) == FILES


@pytest.mark.usefixtures("noon", "here")
@pytest.mark.parametrize(
    ("name", "plain"), [("../../my data!", "my-data"), ("", "run"), ("ü", "run"), ("a" * 300, "a" * 100)]
)
def test_default_names_are_plain(name: str, plain: str) -> None:
    with RunFolder.create(None, name) as folder:
        assert folder.path == Path(f"runs/{plain}-20250301T120000Z")


@pytest.mark.usefixtures("noon")
def test_a_name_committed_between_reservation_and_check_is_skipped(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = RunFolder.create(None, "digits")
    mkdir = os.mkdir

    def late(path: Any, *mode: Any, **options: Any) -> None:
        if other.path.name in str(path) and not other.path.exists():
            other.commit(FILES)  # the other process is just quicker
        mkdir(path, *mode, **options)

    monkeypatch.setattr(os, "mkdir", late)
    with RunFolder.create(None, "digits") as folder:
        assert folder.path == Path("runs/digits-20250301T120000Z-2")
    assert os.listdir(here / "runs") == ["digits-20250301T120000Z"]


def test_concurrent_processes_get_different_folders(here: Path) -> None:
    program = """
import sys
from glassgrad.files.run_folder import RunFolder
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    with RunFolder.create(None, "digits") as folder:
        folder.commit({"who": sys.argv[1].encode() + b"-%d" % number})
    print(folder.path)
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(who)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=here,
        )
        for who in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    paths = []
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        paths += out.split()
    assert len(set(paths)) == 40
    assert {str(path.relative_to(here)) for path in (here / "runs").iterdir()} == set(paths)
    written = sorted((here / path / "who").read_text() for path in paths)
    assert written == sorted(f"{who}-{number}" for who in range(2) for number in range(20))


def test_a_model_is_found_by_run_or_file(tmp_path: Path) -> None:
    run = tmp_path / "run.safetensors"
    run.mkdir()
    model = run / "model.safetensors"
    model.write_bytes(b"x")
    assert resolve_model(run) == model
    assert resolve_model(model) == model
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_bytes(b"x")
    for name, message in [
        ("empty", "is a folder without model.safetensors"),
        ("nowhere", "no such file or folder"),
        ("notes.txt", "is not a .safetensors file"),
    ]:
        with pytest.raises(InputError) as caught:
            resolve_model(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {message}; give a run folder or a .safetensors file"
    with pytest.raises(InputError, match=r"cannot be read|no such file"):
        resolve_model(tmp_path / ("x" * 300))


def test_a_history_survives_a_round_trip(tmp_path: Path) -> None:
    rows: list[dict[str, float | int]] = [
        {"epoch": 1, "loss": 0.1 + 0.2, "seen": 2**60},
        {"epoch": 2, "loss": 1e-300, "val": math.inf},
        {"epoch": np.int64(3), "loss": np.float64(1 / 3), "val": np.float32(0.5)},
    ]
    text = history_csv(rows)
    assert text.decode().splitlines()[0] == "epoch,loss,seen,val"
    assert text.decode().splitlines()[2] == "2,1e-300,,inf"
    (tmp_path / "history.csv").write_bytes(text)
    again = read_history(tmp_path)
    assert again == rows
    assert [type(value) for value in again[0].values()] == [int, float, int]
    (tmp_path / "history.csv").write_bytes(history_csv([{"loss": math.nan}]))
    assert math.isnan(read_history(tmp_path)[0]["loss"])
    (tmp_path / "history.csv").write_bytes(history_csv([]))
    assert read_history(tmp_path) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"\xff\xfe", "is damaged"),
        (b'epoch,"loss\n', "is damaged"),
        (b"epoch,loss\n1,2\n1\n", "line 3 has 1 cells but the header has 2"),
        (b"epoch,loss\n1,many\n", "line 2, column 'loss': 'many' is not a number"),
    ],
)
def test_a_bad_history_is_refused(tmp_path: Path, damage: bytes | None, message: str) -> None:
    if damage is not None:
        (tmp_path / "history.csv").write_bytes(damage)
    with pytest.raises(InputError) as caught:
        read_history(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'history.csv'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_survives_a_round_trip(tmp_path: Path) -> None:
    config = {
        "seed": 0,
        "lr": 0.1 + 0.2,
        "layers": [{"name": "dense", "units": 3}],
        "title": "ü",
        "stop": None,
    }
    (tmp_path / "config.json").write_bytes(config_json(config))
    assert read_config(tmp_path) == config
    assert config_json(config) == config_json(dict(config))
    with pytest.raises(ValueError, match="JSON"):
        config_json({"lr": math.nan})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b'{"seed": 0,\n "lr" 1}', "is not JSON (line 2, column 7: "),
        (b'{"seed": "\xff"}', "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"[1, 2]", "is not a JSON object"),
    ],
)
def test_a_bad_configuration_is_refused(tmp_path: Path, damage: bytes | None, message: str) -> None:
    if damage is not None:
        (tmp_path / "config.json").write_bytes(damage)
    with pytest.raises(InputError) as caught:
        read_config(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
