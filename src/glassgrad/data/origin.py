"""The source that a data set was read from, and a fingerprint that identifies its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassgrad.common.errors import InputError
from glassgrad.data.reading import unreadable


@dataclass(frozen=True)
class Origin:
    """The arguments of ``load_source``: ``source`` (a built-in name or an absolute path), and the other ``options``.

    ``path`` is None for a built-in source. ``state`` has the name, size and modification time of each file when it
    was read.
    """

    source: str
    path: Path | None
    options: Mapping[str, Any]
    state: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, source: str | Path, **options: Any) -> Origin:
        """The origin of data that is about to be read: ``source`` is a Path, or the name of a built-in source."""
        if isinstance(source, str):
            return cls(source, None, options, ())
        path = source.absolute()
        return cls(str(path), path, options, _state(path))

    def document(self) -> dict[str, Any]:
        """``source``, ``options``, and ``bytes`` and ``sha256`` of the content; None if it has changed since."""
        size, digest = (None, None) if self.path is None else fingerprint(self.path)
        if self.path is not None and _state(self.path) != self.state:
            size = digest = None
        return {"source": self.source, "options": dict(self.options), "bytes": size, "sha256": digest}


def fingerprint(path: Path) -> tuple[int | None, str | None]:
    """Size in bytes and SHA-256 of a file, or of all files directly in a folder; (None, None) if it does not exist.

    The digest of a folder includes the names of its files. Hidden files are ignored. Raises InputError if a file
    cannot be read.
    """
    try:
        if path.is_dir():
            digest, size = hashlib.sha256(), 0
            for file in _files(path):
                file_size, file_digest = _file_fingerprint(file)
                digest.update(f"{file.name}\0{file_digest}\n".encode())
                size += file_size
            return size, digest.hexdigest()
        return _file_fingerprint(path)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        raise unreadable(path, error) from None


def _file_fingerprint(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and modification time of each file at ``path``; empty if it does not exist."""
    try:
        statuses = [(file.name, file.stat()) for file in (_files(path) if path.is_dir() else (path,))]
    except OSError:
        return ()
    return tuple((name, status.st_size, status.st_mtime_ns) for name, status in statuses)


def check_unchanged(path: Path, size: int | None, digest: str | None, run: str) -> None:
    """Raise InputError unless ``path`` has the fingerprint of the data of ``run``: ``size`` and ``digest``."""
    if digest is None:
        raise InputError(f"{path}: was changed while {run} was trained on it; give the data as source")
    current = fingerprint(path)
    if current == (None, None):
        raise InputError(
            f"{path}: no longer exists, but {run} was trained on it; give its new path as source"
        )
    if current != (size, digest):
        raise InputError(
            f"{path}: has changed since {run} was trained on it; give it as source to use its current content"
        )
