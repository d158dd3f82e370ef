"""The cache folder for compiled code: one file per key, written atomically, the least recently used deleted first.

The folder may hold other files. This module deletes or replaces only regular files of this user whose name is a
SHA-256 and a suffix. Before it deletes one to make room, it also checks the first bytes. Entries are executed, so an
entry is only read if folder and file belong to the user and nobody else can write to them.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import time
from pathlib import Path

MAGIC = b"glassgrad compiled code 1\n"  # the first bytes of every entry
SUFFIX, TEMPORARY = ".glassgrad-code", ".glassgrad-tmp"
LIMIT = 256 << 20  # bytes of all entries
ABANDONED = 3600.0  # seconds after which a temporary file counts as left behind by a killed process

_ENTRY = re.compile(r"[0-9a-f]{64}" + re.escape(SUFFIX))
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{16}" + re.escape(TEMPORARY))
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

_notices: set[str] = set()  # the notices printed by this process


def folder() -> Path | None:
    """GLASSGRAD_CACHE, or ``glassgrad`` in the user's cache folder.

    None (no cache) if GLASSGRAD_CACHE is empty, or the folder cannot be made, or others can write to it.
    """
    chosen = os.environ.get("GLASSGRAD_CACHE")
    if chosen == "":
        return None
    if chosen is not None:
        path = Path(chosen)
    elif sys.platform == "win32":
        path = Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "glassgrad"
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "glassgrad"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except (OSError, RuntimeError) as error:
        if chosen is not None:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            _notice(f"{path}: {reason}; compiled code is not kept; name another folder in GLASSGRAD_CACHE")
        return None
    return path if _is_trusted(path, status) else None


def read(key: str) -> bytes | None:
    """The content of the entry of ``key``; None if there is no trusted entry."""
    cache_folder = folder()
    if cache_folder is None:
        return None
    path = cache_folder / (key + SUFFIX)
    try:
        # Do not follow links, and do not block on a pipe.
        flags = (
            getattr(os, "O_NOFOLLOW", 0)
            | getattr(os, "O_NONBLOCK", 0)
            | getattr(os, "O_BINARY", 0)
            | os.O_RDONLY
        )
        with open(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not _is_trusted(path, status):
                return None
            content = file.read()
        os.utime(path)
    except OSError:
        return None
    return content


def write(key: str, content: bytes) -> None:
    """Write ``content`` as the entry of ``key``. Errors of the disk are ignored: the next process compiles again."""
    cache_folder = folder()
    if cache_folder is None:
        return
    path = cache_folder / (key + SUFFIX)
    temporary = cache_folder / f".{key}.{os.urandom(8).hex()}{TEMPORARY}"
    try:
        if os.path.lexists(path) and not _is_own_file(path.lstat()):
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            try:
                file.write(content)
                file.close()
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        tidy(cache_folder)
    except OSError:
        pass


def delete(key: str) -> None:
    """Delete the damaged entry of ``key``."""
    cache_folder = folder()
    if cache_folder is not None:
        path = cache_folder / (key + SUFFIX)
        with contextlib.suppress(OSError):
            if _is_own_file(path.lstat()):
                path.unlink()


def tidy(cache_folder: Path) -> None:
    """Delete the least recently used entries beyond ``LIMIT``, and temporary files of killed processes."""
    entries = []
    with os.scandir(cache_folder) as items:
        for item in items:
            with contextlib.suppress(OSError):
                status = item.stat(follow_symlinks=False)
                if not _is_own_file(status):
                    continue
                if _ENTRY.fullmatch(item.name):
                    entries.append((status.st_mtime, status.st_size, item.path))
                elif _UNFINISHED.fullmatch(item.name) and status.st_mtime < time.time() - ABANDONED:
                    os.unlink(item.path)
    if sum(size for _, size, _ in entries) <= LIMIT:
        return
    entries = [entry for entry in entries if _begins_as_entry(entry[2])]
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= LIMIT:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size


def _begins_as_entry(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _is_own_file(status: os.stat_result) -> bool:
    """Whether ``status`` is of a regular file (not a link) that belongs to this user."""
    return stat.S_ISREG(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())


def _is_trusted(path: Path, status: os.stat_result) -> bool:
    """Whether ``path`` belongs to the user and nobody else can write to it; if not, prints a notice once."""
    if not hasattr(os, "getuid"):
        return True
    if status.st_uid != os.getuid():
        reason, remedy = "belongs to another user", "name a folder of your own in GLASSGRAD_CACHE"
    elif status.st_mode & _OTHERS_WRITE:
        reason, remedy = "others can write to it", f"chmod go-w {path}"
    else:
        return True
    _notice(f"{path}: {reason}, so compiled code is not loaded from there; {remedy}")
    return False


def _notice(text: str) -> None:
    """Print ``text`` on standard error, once per process."""
    if text not in _notices:
        _notices.add(text)
        with contextlib.suppress(OSError, ValueError, AttributeError):  # standard error is closed or missing
            print(f"glassgrad: {text}", file=sys.stderr, flush=True)
