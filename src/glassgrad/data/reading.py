"""Files that cannot be read, told in one line; used by every reader of this floor and of `files`."""

from __future__ import annotations

from pathlib import Path

from glassgrad.common.errors import InputError


def unreadable(path: Path, error: OSError) -> InputError:
    """The refusal for ``path`` when opening or reading it failed with ``error``."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file or folder; check the spelling and the current folder")
    if isinstance(error, PermissionError):
        return InputError(f"{path}: no permission to read it; change its permissions or copy it")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path}: is a folder where a file is expected; name the file")
    return InputError(f"{path}: cannot be read ({error.strerror or error}); check the disk or copy it again")


def read_bytes(path: Path) -> bytes:
    """The whole content of ``path``; raises InputError where it cannot be read or is empty."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None
    if not content:
        raise InputError(f"{path}: is empty; get or write the file again")
    return content
