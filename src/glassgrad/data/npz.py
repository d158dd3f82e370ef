"""Data from a NumPy ``.npz`` archive with the arrays X (rows first) and y."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data.checks import Array, some
from glassgrad.data.dataset import Dataset, from_arrays
from glassgrad.data.reading import unreadable

# The exceptions of zipfile, zlib and numpy.lib.format for an archive with changed, missing or added bytes.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    OverflowError,
)


def load_npz(path: Path) -> Dataset:
    """The data set in the archive ``path``: arrays ``X`` ``[rows, ...]`` and ``y`` ``[rows]`` or ``[rows, n]``.

    Nothing is unpickled. Raises InputError for a file that is missing, empty, damaged, not an archive or without X or
    y, and for arrays that ``glassgrad.data.dataset.validate`` refuses.
    """
    arrays = read_npz(path, ("X", "y"))
    return from_arrays(arrays["X"], arrays["y"], name=path.stem, source_name=str(path))


def read_npz(path: Path, names: Collection[str]) -> dict[str, Array]:
    """The arrays ``names`` of the archive ``path``, unchanged. Nothing is unpickled, and nothing else is read.

    Raises InputError for a file that is missing, empty, damaged, not an archive, or without one of the arrays.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file, names)
    except OSError as error:
        raise unreadable(path, error) from None


def _read(path: Path, file: IO[bytes], names: Collection[str]) -> dict[str, Array]:
    start = file.read(4)
    if not start:
        raise InputError(f"{path}: is empty; write it again with numpy.savez")
    if start not in (b"PK\x03\x04", b"PK\x05\x06"):
        raise InputError(f"{path}: is not an .npz archive; write one with numpy.savez(path, X=..., y=...)")
    file.seek(0)
    try:
        with np.load(file, allow_pickle=False) as archive:
            present = list(archive.files)
            missing = [name for name in names if name not in present]
            if missing:
                call = ", ".join(f"{name}=..." for name in names)
                raise InputError(
                    f"{path}: has no array {' and no array '.join(missing)} "
                    f"(it has: {some(present) or 'none'}); write it with numpy.savez(path, {call})"
                )
            return {name: _array(path, archive, name) for name in names}
    except InputError:
        raise
    except _DAMAGE:
        raise InputError(f"{path}: is damaged or cut short; write or download it again") from None


def _array(path: Path, archive: Any, name: str) -> Array:
    try:
        array = archive[name]
    except ValueError as error:
        if "Object arrays" in str(error):
            raise InputError(
                f"{path}: array {name} holds Python objects, which are never unpickled; save numbers or text"
            ) from None
        raise
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"{path}: entry {name} is not an array; write it with numpy.savez(path, X=..., y=...)"
        )
    return array
