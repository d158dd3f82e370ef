"""The model file: a safetensors file with the weights and a JSON document (see ``tensor_file``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassgrad.files.atomic import write_bytes
from glassgrad.files.tensor_file import Array, FileFormat, read_tensors, tensors_bytes

FORMAT = "glassgrad.model"
VERSION = 1
MODEL_FILE = FileFormat(
    FORMAT,
    VERSION,
    "model",
    {"network": dict, "preprocessing": dict, "training": dict, "metrics": dict, "provenance": dict},
)


def write_model(path: Path, tensors: Mapping[str, Array], document: Mapping[str, Any]) -> None:
    """Write ``tensors`` and ``document`` to the model file ``path``, whole or not at all.

    Raises InputError if the document does not follow ``MODEL_FILE``, or the file cannot be written.
    """
    write_bytes(path, model_bytes(tensors, document, str(path)))


def read_model(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the document of the model file ``path``. Reading executes no code from the file.

    Raises InputError for a file that is missing, empty, cut short, damaged, not a model file, or made by a newer
    version.
    """
    return read_tensors(path, MODEL_FILE)


def model_bytes(tensors: Mapping[str, Array], document: Mapping[str, Any], file_name: str = "model") -> bytes:
    """The content of a model file: the same bytes for the same input. Error messages begin with ``file_name``.

    Raises InputError if the document does not follow ``MODEL_FILE`` or is not plain JSON, or if the dtype of a tensor
    is not bool, an integer or a float.
    """
    return tensors_bytes(tensors, document, MODEL_FILE, file_name)
