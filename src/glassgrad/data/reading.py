"""Reading of files, with one-line error messages; used by all readers in ``data`` and ``files``."""

from __future__ import annotations

from pathlib import Path

from glassgrad.common.errors import InputError


def unreadable(path: Path, error: OSError) -> InputError:
    """The InputError for ``path``, which could not be opened or read because of ``error``."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file or folder; check the spelling and the current folder")
    if isinstance(error, PermissionError):
        return InputError(f"{path}: no permission to read it; change its permissions or copy it")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path}: is a folder, but a file is needed; give the path of a file")
    return InputError(f"{path}: cannot be read ({error.strerror or error}); check the disk or copy it again")


def read_bytes(path: Path) -> bytes:
    """The content of ``path``. Raises InputError if it cannot be read or is empty."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None
    if not content:
        raise InputError(f"{path}: is empty; download or write the file again")
    return content
