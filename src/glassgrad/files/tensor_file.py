"""Files of tensors with a JSON document of fixed schema: the format of the model file and of checkpoints.

The layout is that of safetensors: the length of a JSON header in 8 bytes, little-endian; the header; the bytes of the
tensors. The document is the text under the key "glassgrad" in the metadata of the header. It has the entries of its
``FileFormat``, and "sha256", a digest of document and tensors that detects any changed bit. The digest is added on
writing and removed on reading.
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
"""The largest nesting depth of lists and objects in a document. It keeps readers from running out of stack."""

_KEY = "glassgrad"
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_DTYPES = ("bool", *_INTEGERS, "float16", "float32", "float64")

Array = npt.NDArray[Any]


@frozen
class FileFormat:
    """A kind of file: its format name and version, its name in messages (``kind``), and the entries of its document.

    The entries ``format`` and ``version`` come first in every document. All entries are required.
    """

    format: str
    version: int
    kind: str
    entries: Mapping[str, type]

    @property
    def document(self) -> dict[str, type]:
        """The types of all entries of the document."""
        return {"format": str, "version": int, **self.entries}


def read_tensors(path: Path, file_format: FileFormat) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the document of the file ``path``. Reading executes no code from the file.

    Raises InputError for a file that is missing, empty, cut short, damaged, of another format, or made by a newer
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
        # Copies, because safetensors returns read-only views.
        tensors = {name: tensor.copy() for name, tensor in sorted(load(content).items())}
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise _damaged(path, file_format) from None
    if digest != _digest(tensors, _dump(document)):
        raise _damaged(path, file_format)
    _check_document(document, str(path), file_format)
    return tensors, document


def tensors_bytes(
    tensors: Mapping[str, Array], document: Mapping[str, Any], file_format: FileFormat, file_name: str
) -> bytes:
    """The content of a file: the same bytes for the same input. Error messages begin with ``file_name``.

    Raises InputError if the document does not follow ``file_format`` or is not plain JSON (text keys, finite
    numbers, at most ``DEPTH`` levels), or if the dtype of a tensor is not bool, an integer or a float.
    """
    _check_document(document, file_name, file_format)
    _check_plain(document, file_name, "document")
    tensors_by_name: dict[str, Array] = {}
    for name, tensor in sorted(tensors.items()):
        if tensor.dtype.name not in _DTYPES:
            raise InputError(
                f"{file_name}: tensor {name!r} has dtype {tensor.dtype}; give bools, integers or floats"
            )
        tensors_by_name[name] = np.array(tensor, dtype=tensor.dtype.newbyteorder("="), order="C")
    plain = json.loads(_dump(document))
    text = _dump(plain | {"sha256": _digest(tensors_by_name, _dump(plain))})
    return save(tensors_by_name, {_KEY: text})


def _document_text(path: Path, content: bytes, file_format: FileFormat) -> str:
    """The text of the document in the safetensors header.

    Raises InputError, with different messages for a file of another format, one cut short, and a damaged one.
    """
    wrong_format = InputError(
        f"{path}: is not a Glassgrad {file_format.kind} file; give one that Glassgrad wrote"
    )
    length = int.from_bytes(content[:8], "little")
    if len(content) < 9 or content[8:9] != b"{" or length > 100_000_000:
        raise wrong_format
    if len(content) < 8 + length:
        raise _cut_short(path)
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        is_ours = _KEY.encode() in content[8 : 8 + length]
        raise (_damaged(path, file_format) if is_ours else wrong_format) from None
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise InputError(
            f"{path}: is a safetensors file of another program (its metadata has no entry {_KEY!r}); "
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


def _check_document(document: Mapping[str, Any], file_name: str, file_format: FileFormat) -> None:
    name, entries = file_format.kind, file_format.document
    for key, kind in entries.items():
        if key not in document:
            raise InputError(
                f"{file_name}: the {name}'s document has no {key!r}; it needs {', '.join(entries)}"
            )
        if type(document[key]) is not kind:
            raise InputError(
                f"{file_name}: entry {key!r} of the {name}'s document is not of type {kind.__name__}"
            )
    for key in document:
        if key not in entries:
            raise InputError(
                f"{file_name}: the {name}'s document has the unknown entry {key!r}; it takes {', '.join(entries)}"
            )
    if document["format"] != file_format.format or document["version"] != file_format.version:
        raise InputError(
            f"{file_name}: the {name}'s document is {document['format']!r} version {document['version']}; "
            f"this Glassgrad takes {file_format.format!r} version {file_format.version}"
        )


def _check_plain(value: Any, file_name: str, where: str, levels: int = DEPTH) -> None:
    """Raise InputError unless ``value`` survives a round trip through JSON (except tuples, which become lists)."""
    if levels == 0:
        raise InputError(f"{file_name}: the document is more than {DEPTH} levels deep; make it flatter")
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if type(key) is not str:
                raise InputError(f"{file_name}: {where} has the key {key!r}; its keys must be text")
            _check_plain(entry, file_name, f"{where}.{key}", levels - 1)
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            _check_plain(entry, file_name, f"{where}[{number}]", levels - 1)
    elif type(value) is float and not math.isfinite(value):
        raise InputError(f"{file_name}: {where} is {value}; the document holds finite numbers only")
    elif value is not None and type(value) not in (str, bool, int, float):
        raise InputError(
            f"{file_name}: {where} is of type {type(value).__name__}; the document holds plain JSON values only"
        )


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=True, separators=(",", ":"), default=dict)


def _digest(tensors: Mapping[str, Array], text: str) -> str:
    """SHA-256 of the document's text and the name, dtype, shape and bytes of each tensor."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in tensors.items():
        digest.update(json.dumps([name, tensor.dtype.name, tensor.shape]).encode())
        digest.update(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()
