"""Where a data set was read, and a fingerprint by which it can be known again."""

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
    """What ``load_source`` was given: ``source`` (a built-in name, or an absolute path), and other ``options``.

    ``path`` is None for a built-in source. ``state`` is what the file system said of its files then.
    """

    source: str
    path: Path | None
    options: Mapping[str, Any]
    state: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, source: str | Path, **options: Any) -> Origin:
        """The origin of what is to be read: ``source`` is a path (as a Path), or the name of a built-in source."""
        if isinstance(source, str):
            return cls(source, None, options, ())
        path = source.absolute()
        return cls(str(path), path, options, _state(path))

    def document(self) -> dict[str, Any]:
        """``source``, ``options``, and ``bytes`` and ``sha256`` of its content: null where that has changed since."""
        size, digest = (None, None) if self.path is None else fingerprint(self.path)
        if self.path is not None and _state(self.path) != self.state:
            size = digest = None
        return {"source": self.source, "options": dict(self.options), "bytes": size, "sha256": digest}


def fingerprint(path: Path) -> tuple[int | None, str | None]:
    """Size in bytes and SHA-256 of a file, or of all files right inside of a folder; (None, None) of what is gone.

    Of a folder the names of its files count as well, and hidden files do not. Raises InputError where it cannot be
    read.
    """
    try:
        if path.is_dir():
            digest, size = hashlib.sha256(), 0
            for file in _files(path):
                length, inner = _of_file(file)
                digest.update(f"{file.name}\0{inner}\n".encode())
                size += length
            return size, digest.hexdigest()
        return _of_file(path)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        raise unreadable(path, error) from None


def _of_file(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of the last change of every file that counts; empty where it is gone."""
    try:
        found = [(file.name, file.stat()) for file in (_files(path) if path.is_dir() else (path,))]
    except OSError:
        return ()
    return tuple((name, status.st_size, status.st_mtime_ns) for name, status in found)


def check_unchanged(path: Path, size: int | None, digest: str | None, run: str) -> None:
    """Raise InputError unless ``path`` is what ``run`` was trained on, by its fingerprint."""
    if digest is None:
        raise InputError(f"{path}: was changed while {run} was trained on it; give the data as source")
    found = fingerprint(path)
    if found == (None, None):
        raise InputError(f"{path}: is gone, and {run} was trained on it; give its new place as source")
    if found != (size, digest):
        raise InputError(
            f"{path}: has changed since {run} was trained on it; give it as source to train on what it is now"
        )
