"""The folder of one run, which is created in one step: complete or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from glassgrad.common.errors import InputError
from glassgrad.data.reading import read_bytes, unreadable
from glassgrad.files.atomic import sync_folder, unwritable, write_new

MODEL = "model.safetensors"
HISTORY = "history.csv"
CONFIG = "config.json"
LENSES = "lenses.safetensors"
RUNS = "runs"
_ORDER = "order"


class RunFolder:
    """A run folder that is being written: ``create`` it before training, and ``commit`` its files afterwards.

    As a context manager, it removes its hidden temporary folder if nothing was committed::

        with RunFolder.create(path, "digits") as folder:
            ...
            folder.commit({"model.safetensors": ..., "history.csv": ...})
    """

    def __init__(self, path: Path, target: Path, temporary: Path) -> None:
        """Call ``create`` instead. ``target`` is the absolute ``path``, ``temporary`` a folder next to it."""
        self.path = path
        self._target = target
        self._temporary = temporary
        self._committed = False

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunFolder:
        """Check, before any work is done, that the run folder ``path`` can be written.

        ``path`` must be an empty folder, or must not exist; missing parents are created. If ``path`` is None, the run
        folder is a new ``runs/<name>-<UTC time>[-n]`` in the current folder, which no other process gets. Raises
        InputError if ``path`` is a file or a folder that is not empty, or cannot be written.
        """
        return cls._reserve(name) if path is None else cls._at(path)

    @classmethod
    def _at(cls, path: Path) -> RunFolder:
        # Links are resolved here, because the rename must stay on one file system and must not replace a link.
        target = Path(os.path.realpath(path))
        try:
            if target.exists() and not target.is_dir():
                raise InputError(f"{path}: is a file, but the run needs a folder; give another path")
            if target.exists() and any(target.iterdir()):
                raise InputError(f"{path}: is a folder that is not empty; give a new or empty folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".glassgrad-{secrets.token_hex(8)}.partial")
            temporary.mkdir()
        except OSError as error:
            raise unwritable(path, error) from None
        return cls(path, target, temporary)

    @classmethod
    def _reserve(cls, name: str) -> RunFolder:
        safe_name = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:100].strip("-.") or "run"
        stem = f"{safe_name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        runs = Path(RUNS)
        number = 1
        try:
            runs.mkdir(exist_ok=True)
            while True:
                path = runs / (stem if number == 1 else f"{stem}-{number}")
                target = path.absolute()
                temporary = target.with_name(f".{path.name}.partial")
                number += 1
                # Creating the hidden folder reserves the name. The final folder is checked afterwards, because
                # before that another process may still rename its own hidden folder to it.
                with contextlib.suppress(FileExistsError):
                    temporary.mkdir()
                    if not os.path.lexists(target):
                        return cls(path, target, temporary)
                    temporary.rmdir()
        except OSError as error:
            raise unwritable(runs, error) from None

    def commit(self, files: Mapping[str, bytes]) -> None:
        """Write ``files`` (content by name), and rename the temporary folder to ``path`` in one step.

        Raises InputError if a file cannot be written, or if ``path`` was created by something else meanwhile; the run
        folder then does not exist. Raises ValueError for names that are not plain file names, and for a second
        commit.
        """
        if self._committed:
            raise ValueError(f"{self.path} is committed already")
        for name in files:
            if name in ("", ".", "..") or Path(name).name != name:
                raise ValueError(f"{name!r} is not a plain file name")
        target = self._target
        try:
            for name, content in files.items():
                write_new(self._temporary / name, content)
            sync_folder(self._temporary)
            if os.name == "nt" and target.is_dir():
                target.rmdir()  # on other systems, the rename replaces an empty folder
            os.rename(self._temporary, target)
            self._committed = True
            sync_folder(target.parent)
        except OSError as error:
            self.discard()
            if (
                not self._committed
                and os.path.lexists(target)
                and (target.is_file() or any(target.iterdir()))
            ):
                raise InputError(
                    f"{self.path}: was created by another program meanwhile; give a new path"
                ) from None
            raise unwritable(self.path, error) from None

    def discard(self) -> None:
        """Remove the temporary folder, unless it is committed."""
        if not self._committed:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def resolve_model(path: Path) -> Path:
    """The path of a model file: ``path`` itself, or the model file in the run folder ``path``.

    Raises InputError if there is none.
    """
    try:
        if path.is_file() and path.suffix == ".safetensors":
            return path
        if (path / MODEL).is_file():
            return path / MODEL
        if path.is_dir():
            problem = f"is a folder without {MODEL}"
        else:
            problem = "is not a .safetensors file" if path.exists() else "no such file or folder"
    except OSError as error:
        raise unreadable(path, error) from None
    raise InputError(f"{path}: {problem}; give a run folder or a .safetensors file")


def history_csv(rows: Sequence[Mapping[str, float | int]]) -> bytes:
    """``rows`` as CSV with a header line. The columns are all keys, in the order of their first appearance.

    ``read_history`` restores every number exactly. A missing number is an empty cell.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_number(row[key]) if key in row else "" for key in columns])
    return text.getvalue().encode()


def read_history(run: Path) -> list[dict[str, float | int]]:
    """The rows of ``history.csv`` in the run folder ``run``, without the empty cells.

    Raises InputError for a file that is missing or is not such a table.
    """
    path = run / HISTORY
    content = read_bytes(path)
    try:
        header, *lines = csv.reader(io.StringIO(content.decode()), strict=True)
    except (ValueError, csv.Error):
        raise InputError(f"{path}: is damaged: it is not a table of numbers with a header line") from None
    rows = []
    for count, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise InputError(f"{path}: line {count} has {len(line)} cells but the header has {len(header)}")
        row = {}
        for column, cell in zip(header, line, strict=True):
            try:
                if cell:
                    row[column] = int(cell) if re.fullmatch(r"-?\d+", cell) else float(cell)
            except ValueError:
                raise InputError(
                    f"{path}: line {count}, column {column!r}: {cell!r} is not a number"
                ) from None
        rows.append(row)
    return rows


def config_json(config: Mapping[str, Any]) -> bytes:
    """``config`` as indented JSON. Raises ValueError for anything but JSON values and finite numbers."""
    return (json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_config(run: Path) -> dict[str, Any]:
    """The configuration in ``config.json`` of the run folder ``run``.

    Raises InputError for a file that is missing or not a JSON object.
    """
    path = run / CONFIG
    content = read_bytes(path)
    try:
        config = json.loads(content)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); correct it"
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise InputError(f"{path}: is damaged: it is not JSON text") from None
    except ValueError:  # Python refuses numbers with thousands of digits
        raise InputError(f"{path}: contains a number with too many digits; correct it") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: is not a JSON object; write {{...}} with the settings by name")
    return config


def arrays_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """``arrays`` as the content of a safetensors file. ``read_arrays`` restores them in the same order."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(contiguous, {_ORDER: json.dumps(list(contiguous))})


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays in a file written with ``arrays_bytes``.

    Raises InputError for a file that is missing, damaged or of another format.
    """
    content = read_bytes(path)
    try:
        arrays = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return {name: arrays[name] for name in json.loads(header["__metadata__"][_ORDER])}
    except (SafetensorError, ValueError, LookupError, TypeError):
        raise InputError(f"{path}: is damaged, or not a file of a run; copy it again") from None


def _number(value: float | int) -> str:
    # Converted to Python types, because the repr of NumPy numbers includes their type.
    return str(int(value)) if isinstance(value, int | np.integer) else repr(float(value))
