"""Atomic writing of files: after a crash, a file has its old or its new content, never a mixture of the two."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from glassgrad.common.errors import InputError


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to the file ``path``, whose folder must exist.

    The bytes are written to a temporary file in the same folder and synced to disk. The temporary file is then
    renamed to ``path`` in one step, and the folder is synced. If this fails, ``path`` is unchanged and InputError is
    raised.
    """
    # A symbolic link stays as it is; its target gets the new content.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".glassgrad-{secrets.token_hex(8)}.tmp")
    try:
        if target.exists() and not target.is_file():
            kind = "a folder" if target.is_dir() else "not a regular file"
            raise InputError(f"{path}: is {kind}, so it cannot be written; give the path of a file")
        try:
            write_new(temporary, data)
            os.replace(temporary, target)
            sync_folder(target.parent)
        except FileExistsError:  # the temporary file belongs to another process, so it is not deleted
            raise
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error) from None


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8 to the file ``path``, in the same way as ``write_bytes``."""
    write_bytes(path, text.encode("utf-8"))


def write_new(path: Path, data: bytes) -> None:
    """Create the file ``path``, which must not exist, with ``data``, and sync it to disk. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Sync the names in ``folder`` to disk; does nothing on Windows, which has no such call. Raises OSError."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and user-space file systems do not support it. The file itself is already synced.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> InputError:
    """The InputError for ``path``, which could not be written because of ``error``."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            reason = "the disk is full; free space or write to another disk"
        case errno.EFBIG:
            reason = "the file is larger than this system allows; raise the limit or write to another disk"
        case errno.EACCES | errno.EPERM:
            reason = "no permission to write to this folder; choose another folder"
        case errno.EROFS:
            reason = "the disk is read-only; choose another folder"
        case errno.ENOENT:
            reason = f"the folder {path.parent} does not exist; create it first"
        case errno.ENOTDIR:
            reason = f"{path.parent} is not a folder; choose another folder"
        case errno.EEXIST:
            reason = "a file of that name already exists; move it or choose another name"
        case errno.ENAMETOOLONG:
            reason = "the name is too long; choose a shorter one"
        case _:
            reason = f"{error.strerror or error}; choose another folder"
    return InputError(f"{path}: cannot be written: {reason}")
