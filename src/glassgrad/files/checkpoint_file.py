"""Checkpoints on disk: the newest one and the previous one.

A checkpoint ``ck.safetensors`` has the format of a model file (see ``tensor_file``), with a digest. Writing a new one
renames the old one to ``ck.previous.safetensors``. After a crash at any moment, at least one of the two is complete.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassgrad.common.errors import InputError
from glassgrad.files.atomic import sync_folder, unwritable, write_new
from glassgrad.files.tensor_file import Array, FileFormat, read_tensors, tensors_bytes

CHECKPOINT_FILE = FileFormat(
    "glassgrad.checkpoint",
    1,
    "checkpoint",
    {
        "settings": dict,
        "data": dict,
        "position": dict,
        "changes": list,
        "callbacks": list,
        "provenance": dict,
    },
)
SUFFIX = ".safetensors"


def checkpoint_paths(path: str | Path) -> tuple[Path, Path]:
    """The files of the newest and of the previous checkpoint, for ``path`` = ``ck`` or ``ck.safetensors``.

    Raises InputError for anything that is not the path of a file.
    """
    if not isinstance(path, (str, Path)) or "\0" in str(path) or not Path(path).name:
        raise InputError(f"a checkpoint is the path of a file, such as 'run.safetensors', not {path!r}")
    path = Path(path)
    newest = path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)
    return newest, newest.with_name(newest.name.removesuffix(SUFFIX) + ".previous" + SUFFIX)


def write_checkpoint(path: str | Path, tensors: Mapping[str, Array], document: Mapping[str, Any]) -> Path:
    """Write a checkpoint, and keep the previous one; returns the path of the new file.

    The bytes are written to a temporary file in the same folder and synced to disk before any file is renamed. If
    this fails, the checkpoints are unchanged and InputError is raised.
    """
    newest, previous = checkpoint_paths(path)
    if newest.is_dir():
        raise InputError(f"{newest}: is a folder, so it cannot be written; give the name of a file")
    content = tensors_bytes(tensors, document, CHECKPOINT_FILE, str(newest))
    temporary = newest.with_name(f".glassgrad-{secrets.token_hex(8)}.tmp")
    try:
        try:
            write_new(temporary, content)
            if newest.exists():
                os.replace(newest, previous)
            os.replace(temporary, newest)
            sync_folder(newest.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(newest, error) from None
    return newest


def read_checkpoint(path: str | Path) -> tuple[dict[str, Array], dict[str, Any], str | None]:
    """The tensors and the document of the newest readable checkpoint, and a notice if that is the previous one.

    The notice is None for the newest checkpoint. Raises InputError if neither file can be read.
    """
    newest, previous = checkpoint_paths(path)
    try:
        tensors, document = read_tensors(newest, CHECKPOINT_FILE)
    except InputError as error:
        if not previous.exists():
            raise
        reason = str(error)
        try:
            tensors, document = read_tensors(previous, CHECKPOINT_FILE)
        except InputError as previous_error:
            raise InputError(
                f"{reason}; the previous checkpoint cannot be read either: {previous_error}"
            ) from None
        return tensors, document, f"{reason}; using the previous checkpoint, {previous.name}"
    return tensors, document, None
