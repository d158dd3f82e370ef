"""The folder that compiled code is kept in: entries by key, written whole or not at all, the oldest deleted first.

The folder may hold other files. What this module deletes or replaces is a regular file of this user with a name that
nobody else gives (a SHA-256 and a suffix); to make room, it also looks at how the content begins. Entries are
executed, so one is only read from a folder, and from a file, that belongs to the user and that nobody else can write
to.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import time
from pathlib import Path

MAGIC = b"glassgrad compiled code 1\n"  # what every entry begins with
SUFFIX, TEMPORARY = ".glassgrad-code", ".glassgrad-tmp"
LIMIT = 256 << 20  # bytes of entries; those used longest ago go first
ABANDONED = 3600.0  # seconds: nobody writes an entry for so long, so whoever began it was killed

_ENTRY = re.compile(r"[0-9a-f]{64}" + re.escape(SUFFIX))
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{16}" + re.escape(TEMPORARY))
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

_notices: set[str] = set()  # what was said in this process


def folder() -> Path | None:
    """GLASSGRAD_CACHE, or ``glassgrad`` in the user's cache folder; None (no cache) where others can write to it."""
    named = os.environ.get("GLASSGRAD_CACHE")
    if named == "":
        return None
    if named is not None:
        path = Path(named)
    elif sys.platform == "win32":
        path = Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "glassgrad"
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "glassgrad"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except (OSError, RuntimeError) as error:
        if named is not None:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            _notice(f"{path}: {reason}; compiled code is not kept; name another folder in GLASSGRAD_CACHE")
        return None
    return path if _is_trusted(path, status) else None


def read(key: str) -> bytes | None:
    """The content of the entry of ``key``; None where there is none that can be trusted."""
    where = folder()
    if where is None:
        return None
    path = where / (key + SUFFIX)
    try:
        # Without following links, nor waiting for whoever writes to a pipe.
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
    """Make ``content`` the entry of ``key``. A disk that refuses costs the next process a compilation, no more."""
    where = folder()
    if where is None:
        return
    path = where / (key + SUFFIX)
    temporary = where / f".{key}.{os.urandom(8).hex()}{TEMPORARY}"
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
        tidy(where)
    except OSError:
        pass


def delete(key: str) -> None:
    """Delete the entry of ``key``, which turned out to be damaged."""
    where = folder()
    if where is not None:
        path = where / (key + SUFFIX)
        with contextlib.suppress(OSError):
            if _is_own_file(path.lstat()):
                path.unlink()


def tidy(where: Path) -> None:
    """Delete entries beyond ``LIMIT``, and what processes left behind that were killed while they wrote."""
    entries = []
    with os.scandir(where) as listed:
        for item in listed:
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
    """Whether this is a regular file (not a link) of this user."""
    return stat.S_ISREG(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())


def _is_trusted(path: Path, status: os.stat_result) -> bool:
    """Whether ``path`` is the user's, and nobody else can write to it; says once that it is not."""
    if not hasattr(os, "getuid"):
        return True
    if status.st_uid != os.getuid():
        reason, way_out = "belongs to another user", "name a folder of your own in GLASSGRAD_CACHE"
    elif status.st_mode & _OTHERS_WRITE:
        reason, way_out = "others can write to it", f"chmod go-w {path}"
    else:
        return True
    _notice(f"{path}: {reason}, so compiled code is not taken from there; {way_out}")
    return False


def _notice(text: str) -> None:
    """Say ``text`` on standard error, once in this process."""
    if text not in _notices:
        _notices.add(text)
        with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody listens
            print(f"glassgrad: {text}", file=sys.stderr, flush=True)
