"""Files that describe a network, in TOML or JSON: read by ``train --network``, written by ``summary``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassgrad.common.errors import GraphError, InputError
from glassgrad.data.reading import read_bytes
from glassgrad.nn.network import Network, from_document

FORMATS = ("toml", "json")


def read_network(path: Path) -> Network:
    """The network that the file ``path`` describes. Raises InputError, which names the file and the layer or line."""
    kind = path.suffix.lower().removeprefix(".")
    content = read_bytes(path)
    if kind not in FORMATS:
        raise InputError(f"{path}: is not a network file; give a .toml or .json file")
    try:
        text = content.decode("utf-8-sig")
        document = tomllib.loads(text) if kind == "toml" else json.loads(text)
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: is not valid {kind.upper()}: {error}") from None
    except ValueError:  # Python refuses numbers with thousands of digits
        raise InputError(f"{path}: contains a number with too many digits; correct it") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply to be a network") from None
    if not isinstance(document, dict):
        raise InputError(f"{path}: has no list 'layers'; describe one layer per entry of 'layers'")
    try:
        return from_document(document)
    except (InputError, GraphError) as error:
        raise InputError(f"{path}: {error}") from None


def to_toml(document: Mapping[str, Any]) -> str:
    """The document of a network as TOML, one table per layer."""
    tables = []
    for layer in document["layers"]:
        lines = [f"{key} = {_toml(value)}" for key, value in layer.items() if value is not None]
        tables.append("\n".join(["[[layers]]", *lines]) + "\n")
    return "\n".join(tables)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # TOML's basic strings take all escapes of JSON
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items() if v is not None) + "}"
    return "[" + ", ".join(map(_toml, value)) + "]"
