"""Checkpoints on disk: the newest one and the one before it.

A checkpoint ``ck.safetensors`` has the form of a model file (see ``tensor_file``), with a digest. Writing one moves
the last to ``ck.previous.safetensors``. A crash at any moment leaves at least one of the two whole.
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
    """The files of the newest checkpoint and of the one before it: ``ck`` or ``ck.safetensors`` names both.

    Raises InputError for what is not the path of a file.
    """
    if not isinstance(path, (str, Path)) or "\0" in str(path) or not Path(path).name:
        raise InputError(f"a checkpoint is the path of a file, such as 'run.safetensors', not {path!r}")
    path = Path(path)
    newest = path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)
    return newest, newest.with_name(newest.name.removesuffix(SUFFIX) + ".previous" + SUFFIX)


def write_checkpoint(path: str | Path, tensors: Mapping[str, Array], document: Mapping[str, Any]) -> Path:
    """Write a checkpoint, and keep the one before it; returns the file written.

    The bytes go to a temporary file beside it and are forced to disk before either name changes. Raises InputError
    where that fails; the checkpoints are then as they were.
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
    """Tensors and document of the newest whole checkpoint, and why an older one was taken (None: it was not).

    Raises InputError where neither file can be read.
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
        except InputError as other:
            raise InputError(f"{reason}; the checkpoint before it cannot be read either: {other}") from None
        return tensors, document, f"{reason}; taking the checkpoint before it, {previous.name}"
    return tensors, document, None
