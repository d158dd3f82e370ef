"""Files of tensors with a JSON document of fixed schema: the form of the model file and of checkpoints.

Layout of safetensors: 8 bytes, little-endian, the length of a JSON header; the header; the tensors' bytes.
The document is the text under the key "glassgrad" of the header's metadata. Beside the entries of its
``FileFormat`` the text holds "sha256", a digest of document and tensors, so that a flipped bit anywhere is
noticed; it is added on writing and removed on reading.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.data.reading import read_bytes

DEPTH = 100
"""How many levels of lists and objects a document may have: what reads them must not run out of stack."""

_KEY = "glassgrad"
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_DTYPES = ("bool", *_INTEGERS, "float16", "float32", "float64")

Array = npt.NDArray[Any]


@frozen
class FileFormat:
    """A kind of file: its format name and version, what a person calls it, and the entries of its document.

    The entries ``format`` and ``version`` come first in every document. All entries are required.
    """

    format: str
    version: int
    kind: str
    entries: Mapping[str, type]

    @property
    def document(self) -> dict[str, type]:
        """All entries of the document and their types."""
        return {"format": str, "version": int, **self.entries}


def read_tensors(path: Path, file_format: FileFormat) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the document of the file ``path``. No code in the file is run.

    Raises InputError for a file that is missing, empty, foreign, cut short, damaged, or made by a newer
    version.
    """
    content = read_bytes(path)
    text = _document_text(path, content, file_format)
    try:
        document = json.loads(text)
        _check_plain(document, str(path), "document")
    except (ValueError, RecursionError):
        raise _damaged(path, file_format) from None
    if not isinstance(document, dict):
        raise _damaged(path, file_format)
    version = document.get("version")
    if (
        document.get("format") == file_format.format
        and type(version) is int
        and version > file_format.version
    ):
        raise InputError(
            f"{path}: made by a newer Glassgrad (file version {version}, this one reads up to "
            f"{file_format.version}); upgrade Glassgrad"
        )
    digest = document.pop("sha256", None)
    try:
        # Copied, because the views that safetensors gives are read-only.
        tensors = {name: tensor.copy() for name, tensor in sorted(load(content).items())}
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise _damaged(path, file_format) from None
    if digest != _digest(tensors, _dump(document)):
        raise _damaged(path, file_format)
    _check_document(document, str(path), file_format)
    return tensors, document


def tensors_bytes(
    tensors: Mapping[str, Array], document: Mapping[str, Any], file_format: FileFormat, place: str
) -> bytes:
    """The content of a file: the same bytes for the same input. ``place`` begins the messages.

    Raises InputError where the document does not follow ``file_format`` or is not plain JSON (text keys, finite
    numbers, at most ``DEPTH`` levels), or a tensor is not of bools, integers or floats.
    """
    _check_document(document, place, file_format)
    _check_plain(document, place, "document")
    ready: dict[str, Array] = {}
    for name, tensor in sorted(tensors.items()):
        if tensor.dtype.name not in _DTYPES:
            raise InputError(
                f"{place}: tensor {name!r} has dtype {tensor.dtype}; give bools, integers or floats"
            )
        ready[name] = np.array(tensor, dtype=tensor.dtype.newbyteorder("="), order="C")
    plain = json.loads(_dump(document))
    text = _dump(plain | {"sha256": _digest(ready, _dump(plain))})
    return save(ready, {_KEY: text})


def _document_text(path: Path, content: bytes, file_format: FileFormat) -> str:
    """The document's text from the safetensors header; tells foreign, cut short and damaged apart."""
    foreign = InputError(f"{path}: is not a Glassgrad {file_format.kind} file; give one that Glassgrad wrote")
    length = int.from_bytes(content[:8], "little")
    if len(content) < 9 or content[8:9] != b"{" or length > 100_000_000:
        raise foreign
    if len(content) < 8 + length:
        raise _cut_short(path)
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        raise (_damaged(path, file_format) if _KEY.encode() in content[8 : 8 + length] else foreign) from None
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise InputError(
            f"{path}: is a safetensors file without {_KEY!r} in its metadata, so another program made it; "
            f"give a {file_format.kind} file that Glassgrad wrote"
        )
    try:
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        end = max(ends, default=0)
        if len(content) < 8 + length + end:
            raise _cut_short(path)
    except (TypeError, LookupError):
        raise _damaged(path, file_format) from None
    return str(metadata[_KEY])


def _cut_short(path: Path) -> InputError:
    return InputError(f"{path}: is cut short; copy or download the whole file again")


def _damaged(path: Path, file_format: FileFormat) -> InputError:
    return InputError(f"{path}: is damaged; copy or download it again, or train the model again")


def _check_document(document: Mapping[str, Any], place: str, file_format: FileFormat) -> None:
    name, entries = file_format.kind, file_format.document
    for key, kind in entries.items():
        if key not in document:
            raise InputError(f"{place}: the {name}'s document lacks {key!r}; it needs {', '.join(entries)}")
        if type(document[key]) is not kind:
            raise InputError(
                f"{place}: entry {key!r} of the {name}'s document is not of type {kind.__name__}"
            )
    for key in document:
        if key not in entries:
            raise InputError(
                f"{place}: the {name}'s document has the unknown entry {key!r}; it takes {', '.join(entries)}"
            )
    if document["format"] != file_format.format or document["version"] != file_format.version:
        raise InputError(
            f"{place}: the {name}'s document is {document['format']!r} version {document['version']}; "
            f"this Glassgrad takes {file_format.format!r} version {file_format.version}"
        )


def _check_plain(value: Any, place: str, where: str, levels: int = DEPTH) -> None:
    """Raise InputError unless JSON gives ``value`` back as it is (but for tuples, which become lists)."""
    if levels == 0:
        raise InputError(f"{place}: the document is more than {DEPTH} levels deep; make it flatter")
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if type(key) is not str:
                raise InputError(f"{place}: {where} has the key {key!r}; its keys must be text")
            _check_plain(entry, place, f"{where}.{key}", levels - 1)
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            _check_plain(entry, place, f"{where}[{number}]", levels - 1)
    elif type(value) is float and not math.isfinite(value):
        raise InputError(f"{place}: {where} is {value}; the document holds finite numbers only")
    elif value is not None and type(value) not in (str, bool, int, float):
        raise InputError(
            f"{place}: {where} is of type {type(value).__name__}; the document holds plain JSON values only"
        )


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=True, separators=(",", ":"), default=dict)


def _digest(tensors: Mapping[str, Array], text: str) -> str:
    """SHA-256 over the document's text and the name, dtype, shape and bytes of every tensor in turn."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in tensors.items():
        digest.update(json.dumps([name, tensor.dtype.name, tensor.shape]).encode())
        digest.update(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()
