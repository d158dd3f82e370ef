"""Data from a folder of idx files, the format of MNIST (Y. LeCun, C. Cortes, C. Burges), gzipped or not.

An idx file consists of two zero bytes, a dtype code, the rank, the sizes as big-endian 32-bit numbers, and the values
in row-major order.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from glassgrad.common.errors import InputError
from glassgrad.data.checks import Array
from glassgrad.data.dataset import Dataset, from_arrays
from glassgrad.data.reading import unreadable

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20


def load_idx_folder(folder: Path) -> Dataset:
    """The data set in ``folder``: ``train-images*`` and ``train-labels*``, with ``t10k-*`` as its test part.

    The test part is None if ``folder`` has no ``t10k-*`` files. Raises InputError for files that are missing,
    ambiguous, not idx files, cut short or damaged, for different row counts, and for data that
    ``glassgrad.data.dataset.validate`` refuses.
    """
    train = _part(folder, "train")
    if train is None:
        raise InputError(
            f"{folder}: has no train-images and train-labels idx files; give a folder of MNIST-style files"
        )
    test = _part(folder, "t10k")
    return from_arrays(
        *train,
        name=folder.resolve().name or "idx",
        test_features=test and test[0],
        test_targets=test and test[1],
        source_name=str(folder),
    )


def read_idx(path: Path) -> Array:
    """The array in the idx file ``path`` (gzipped or not), in the byte order of this machine.

    Raises InputError for a file that is missing, empty, damaged, not an idx file, or of a different size than its
    header declares.
    """
    try:
        with path.open("rb") as raw:
            start = raw.read(2)
            raw.seek(0)
            if not start:
                raise InputError(f"{path}: is empty; download or copy it again")
            if start == b"\x1f\x8b":
                with gzip.open(raw) as unpacked:
                    return _decode(path, cast(IO[bytes], unpacked))
            return _decode(path, raw)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(
            f"{path}: the gzip data is damaged or cut short; download or copy it again"
        ) from None
    except OSError as error:
        raise unreadable(path, error) from None


def _part(folder: Path, part: str) -> tuple[Array, Array] | None:
    images_path, labels_path = _find(folder, f"{part}-images"), _find(folder, f"{part}-labels")
    if images_path is None and labels_path is None:
        return None
    if images_path is None or labels_path is None:
        missing = f"{part}-images" if images_path is None else f"{part}-labels"
        present = f"{part}-labels" if images_path is None else f"{part}-images"
        raise InputError(f"{folder}: has a {present} file but no {missing} file; add it, or remove both")
    images, labels = read_idx(images_path), read_idx(labels_path)
    if len(images) != len(labels):
        raise InputError(
            f"{images_path}: has {len(images)} rows but {labels_path.name} has {len(labels)}; "
            "the two files do not belong together"
        )
    return images, labels


def _find(folder: Path, start: str) -> Path | None:
    """The file in ``folder`` whose name begins with ``start``, or None. Raises InputError for several."""
    try:
        paths = sorted(p for p in folder.iterdir() if p.name.startswith(start))
    except OSError as error:
        raise unreadable(folder, error) from None
    # Unpacking often leaves the gzipped copy beside the file. This is not ambiguous.
    paths = [p for p in paths if p.suffix != ".gz" or p.with_suffix("") not in paths]
    if len(paths) > 1:
        raise InputError(
            f"{folder}: {paths[0].name} and {paths[1].name} both match {start}*; keep one of them"
        )
    return paths[0] if paths else None


def _decode(path: Path, file: IO[bytes]) -> Array:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise InputError(
            f"{path}: is not an idx file (it begins with {magic.hex(' ')}); give MNIST-style idx files"
        )
    dtype, rank = np.dtype(_DTYPES[magic[2]]), magic[3]
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise InputError(f"{path}: is cut short inside its header; download or copy it again")
    shape = struct.unpack(f">{rank}I", sizes)
    expected = math.prod(shape) * dtype.itemsize
    content = _read_up_to(file, expected + 1)
    if len(content) != expected:
        state = "is cut short" if len(content) < expected else "is too long"
        raise InputError(
            f"{path}: {state}; its header declares shape {list(shape)}, {expected} bytes, but "
            f"{'only ' + str(len(content)) if len(content) < expected else 'more'} follow; download it again"
        )
    try:
        array = np.frombuffer(content, dtype).reshape(shape)
    except ValueError:
        raise InputError(f"{path}: declares the impossible shape {list(shape)}; download it again") from None
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_up_to(file: IO[bytes], limit: int) -> bytearray:
    """At most ``limit`` bytes, read in chunks: a damaged header must not allocate the size that it declares."""
    content = bytearray()
    while len(content) < limit and (chunk := file.read(min(_CHUNK, limit - len(content)))):
        content += chunk
    return content
