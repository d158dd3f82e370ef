"""The model file: one safetensors file with the weights and a JSON document (see ``tensor_file``)."""

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

    Raises InputError where the document does not follow ``MODEL_FILE``, or the file cannot be written.
    """
    write_bytes(path, model_bytes(tensors, document, str(path)))


def read_model(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the document of the model file ``path``. No code in the file is run.

    Raises InputError for a file that is missing, empty, foreign, cut short, damaged, or made by a newer version.
    """
    return read_tensors(path, MODEL_FILE)


def model_bytes(tensors: Mapping[str, Array], document: Mapping[str, Any], place: str = "model") -> bytes:
    """The content of a model file: the same bytes for the same input. ``place`` begins the messages.

    Raises InputError where the document does not follow ``MODEL_FILE`` or is not plain JSON, or a tensor is not of
    bools, integers or floats.
    """
    return tensors_bytes(tensors, document, MODEL_FILE, place)
