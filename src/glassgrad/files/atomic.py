"""Writing a file so that a crash or a full disk leaves its old content or the new, never a mixture."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from glassgrad.common.errors import InputError


def write_bytes(path: Path, data: bytes) -> None:
    """Make ``data`` the content of the file ``path``; its folder must exist.

    The bytes go to a temporary file in the same folder, are forced to disk, and take the name in one step;
    then the folder is forced to disk too. Raises InputError, and leaves ``path`` as it was, where this fails.
    """
    # A link keeps pointing where it points; its target is what gets new content.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".glassgrad-{secrets.token_hex(8)}.tmp")
    try:
        if target.exists() and not target.is_file():
            kind = "a folder" if target.is_dir() else "not an ordinary file"
            raise InputError(f"{path}: is {kind}, so it cannot be written; give the name of a file")
        try:
            write_new(temporary, data)
            os.replace(temporary, target)
            sync_folder(target.parent)
        except FileExistsError:  # another process has the same name: its file is not deleted
            raise
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error) from None


def write_text(path: Path, text: str) -> None:
    """Make ``text``, in UTF-8, the content of ``path``, as ``write_bytes`` does."""
    write_bytes(path, text.encode("utf-8"))


def write_new(path: Path, data: bytes) -> None:
    """Create the file ``path``, which must not exist, with ``data`` forced to disk. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Force the names in ``folder`` to disk, except on Windows, which cannot. Raises OSError."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and user-space file systems do not support it; the file itself is safe by then.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> InputError:
    """The refusal for ``path`` when writing it failed with ``error``."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            reason = "the disk is full; free space or write to another disk"
        case errno.EFBIG:
            reason = "the file is larger than this system allows; raise the limit or write to another disk"
        case errno.EACCES | errno.EPERM:
            reason = "no permission to write there; choose another folder"
        case errno.EROFS:
            reason = "the disk is read-only; choose another folder"
        case errno.ENOENT:
            reason = f"the folder {path.parent} does not exist; create it first"
        case errno.ENOTDIR:
            reason = f"{path.parent} is not a folder; choose another place"
        case errno.EEXIST:
            reason = "a file of that name is in the way; move it or choose another place"
        case errno.ENAMETOOLONG:
            reason = "the name is too long; choose a shorter one"
        case _:
            reason = f"{error.strerror or error}; choose another place"
    return InputError(f"{path}: cannot be written: {reason}")
