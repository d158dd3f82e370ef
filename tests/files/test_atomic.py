"""Atomic writes: the old content or the new, and no litter."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glassgrad.common.errors import InputError
from glassgrad.files.atomic import write_bytes, write_text


def fail_with(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_content_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "some.bin"
    write_bytes(path, b"old")
    write_bytes(path, bytes(range(256)) * 5000)
    assert path.read_bytes() == bytes(range(256)) * 5000
    write_text(path, "ä\n")
    assert path.read_bytes() == b"\xc3\xa4\n"
    write_bytes(path, b"")
    assert path.read_bytes() == b""
    assert os.listdir(tmp_path) == ["some.bin"]


def test_a_write_in_small_pieces_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    write_bytes(tmp_path / "some.bin", b"0123456789")
    assert (tmp_path / "some.bin").read_bytes() == b"0123456789"


def test_file_and_folder_are_synced_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        steps.append("rename")
        assert source.parent == target.parent
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    write_bytes(tmp_path / "some.bin", b"x")
    assert steps == ["file", "rename", "folder"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "some.bin", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "some.bin").stat().st_mode) == 0o640


def test_a_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    write_bytes(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"x"


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full; free space"),
        (errno.EDQUOT, "the disk is full; free space"),
        (errno.EACCES, "no permission to write to this folder; choose another folder"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EIO, "choose another folder"),
    ],
)
def test_a_failure_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, message: str
) -> None:
    path = tmp_path / "some.bin"
    write_bytes(path, b"old")
    monkeypatch.setattr(os, call, fail_with(number))
    with pytest.raises(InputError) as refusal:
        write_bytes(path, b"new")
    monkeypatch.undo()
    assert str(refusal.value).startswith(f"{path}: cannot be written: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["some.bin"]


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "some.bin", b"x")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a POSIX matter")
def test_a_real_limit_in_the_middle_of_a_write(tmp_path: Path) -> None:
    (tmp_path / "some.bin").write_bytes(b"old")
    program = f"""
import resource, signal
from pathlib import Path
from glassgrad.common.errors import InputError
from glassgrad.files.atomic import write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path({str(tmp_path / "some.bin")!r}), b"x" * 5000)
except InputError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-B", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.startswith(f"{tmp_path / 'some.bin'}: cannot be written: the file is larger")
    assert result.stdout.count("\n") == 1
    assert (tmp_path / "some.bin").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["some.bin"]


def test_paths_that_cannot_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for path, message in [
        (tmp_path / "folder", "is a folder, so it cannot be written"),
        (tmp_path / "missing" / "file", f"the folder {tmp_path / 'missing'} does not exist; create it first"),
        (tmp_path / "file" / "file", f"{tmp_path / 'file'} is not a folder"),
        (tmp_path / ("x" * 300), "the name is too long"),
        (Path(os.devnull), "not a regular file"),
    ]:
        with pytest.raises(InputError) as refusal:
            write_bytes(path, b"x")
        assert str(refusal.value).startswith(f"{path}: ")
        assert message in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="permissions do not bind this user (root or Windows)",
)
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="no permission"):
            write_bytes(tmp_path / "file", b"x")
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_cannot_be_synced_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not supported")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    write_bytes(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"
