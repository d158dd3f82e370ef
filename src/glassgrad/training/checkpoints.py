"""Checkpoints: a training is written to a file, and continued from there to the same bits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common.errors import InputError
from glassgrad.common.frozen import frozen
from glassgrad.common.version import __version__
from glassgrad.data.dataset import Dataset
from glassgrad.files.checkpoint_file import CHECKPOINT_FILE, read_checkpoint, write_checkpoint
from glassgrad.training.callbacks import Callback
from glassgrad.training.changes import changed_settings
from glassgrad.training.given import Given, find_given
from glassgrad.training.settings import Settings, settings_of_document
from glassgrad.training.source import load
from glassgrad.training.state import Best, Snapshot, State
from glassgrad.training.task import Preparation, Task

CHANGEABLE = ("epochs", "patience", "max_time", "metrics", "backend", "watch")
"""The settings that may differ when a training is resumed. All others affect the bits of completed steps."""


@frozen
class SavedTraining:
    """A training read from a checkpoint."""

    settings: Settings
    task: Task
    snapshot: Snapshot


def write(
    path: str | Path, snapshot: Snapshot, task: Task, settings: Settings, callbacks: Sequence[Callback]
) -> Path:
    """Write a training to ``path``; returns the file. See ``Trainer.checkpoint``."""
    state, best, epoch_end = snapshot.state, snapshot.best, snapshot.epoch_end
    tensors = {
        **_named("weights", state.weights),
        **_named("statistics", state.statistics),
        **_named("slots", state.slots),
        "steps/loss": snapshot.losses,
        "steps/learning_rate": snapshot.rates,
    }
    if best is not None:
        tensors |= _named("best/weights", best.weights) | _named("best/statistics", best.statistics)
        tensors["best/value"] = np.array(best.value)
    if epoch_end.step != state.step:
        tensors |= _named("epoch_end/weights", epoch_end.weights)
        tensors |= _named("epoch_end/statistics", epoch_end.statistics)
    history = snapshot.history
    columns = list(dict.fromkeys(key for record in history for key in record))
    for key in columns:
        tensors[f"history/{key}"] = np.array([record.get(key, math.nan) for record in history])
    # Epochs before and after a resume with other metrics have records of different columns.
    absent = {key: [i for i, record in enumerate(history) if key not in record] for key in columns}
    for number, arrays in enumerate(snapshot.callbacks):
        tensors |= _named(f"callbacks/{number}", arrays)
    tensors |= _named("lenses", snapshot.lenses or {})
    document = {
        "format": CHECKPOINT_FILE.format,
        "version": CHECKPOINT_FILE.version,
        "settings": settings.to_document(),
        "data": {"source": task.given.document(), "sha256": task.fingerprint},
        "position": {
            "step": state.step,
            "epochs": len(snapshot.history),
            "columns": columns,
            "absent": {key: epochs for key, epochs in absent.items() if epochs},
            "best_epoch": None if best is None else best.epoch,
            "epoch_end": epoch_end.step,
            "stopped": snapshot.stopped,
            "diverged": snapshot.diverged,
            "seconds": snapshot.seconds,
        },
        "changes": [list(change) for change in snapshot.changes],
        "callbacks": [type(callback).__name__ for callback in callbacks],
        "provenance": {"program": f"glassgrad {__version__}", "numpy": np.__version__},
    }
    return write_checkpoint(path, tensors, document)


def read(
    path: str | Path, data: Any, sample_weight: Any, callbacks: Sequence[Callback], changes: Mapping[str, Any]
) -> SavedTraining:
    """The training in the checkpoint ``path``, with its data. See ``Trainer.resume``."""
    tensors, document, reason = read_checkpoint(path)
    if reason is not None:
        warnings.warn(reason, stacklevel=3)
    for name in changes:
        if name not in CHANGEABLE:
            raise InputError(
                f"{name} cannot change when a training is resumed, only {', '.join(CHANGEABLE)}; leave it out, or "
                "start a new training"
            )
    names = [type(callback).__name__ for callback in callbacks]
    if names != document["callbacks"]:
        raise InputError(
            f"{path}: was trained with the callbacks {document['callbacks']}, not {names}; give the same ones"
        )
    try:
        settings = changed_settings(settings_of_document(document["settings"]), changes)
        given = _find_data(path, document["data"]["source"], data, sample_weight)
        task = Preparation(given.dataset, given.sample_weight, given.class_weight).task(settings)
        if task.fingerprint != document["data"]["sha256"]:
            raise InputError(f"{path}: was trained on other data; give the data that the training began with")
        snapshot = _snapshot(tensors, document, len(callbacks))
        if {"epochs", "patience", "max_time"} & set(changes):
            snapshot = replace(snapshot, stopped=None)  # the new limits decide
        return SavedTraining(settings, task, snapshot)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: contains no training that can be continued ({error}); start a new one"
        ) from None


def _find_data(path: str | Path, document: Mapping[str, Any], data: Any, sample_weight: Any) -> Given:
    if data is not None and not isinstance(data, (str, Path)):
        options = document.get("options") or {}
        data = data if isinstance(data, Dataset) else load(data, **options)
    return find_given(document, str(path), data, sample_weight)


def _snapshot(tensors: Mapping[str, Array], document: Mapping[str, Any], callbacks: int) -> Snapshot:
    groups = {name: _below(tensors, name) for name in ("weights", "statistics", "slots", "lenses")}
    position = document["position"]
    state = State(position["step"], groups["weights"], groups["statistics"], groups["slots"])
    best, epoch_end = None, state
    if position["best_epoch"] is not None:
        arrays = _below(tensors, "best/weights"), _below(tensors, "best/statistics")
        best = Best(float(tensors["best/value"]), position["best_epoch"], *arrays)
    if position["epoch_end"] != state.step:
        arrays = _below(tensors, "epoch_end/weights"), _below(tensors, "epoch_end/statistics")
        epoch_end = State(position["epoch_end"], *arrays, {})
    columns = {name: tensors[f"history/{name}"] for name in position["columns"]}
    absent = position.get("absent", {})
    return Snapshot(
        state,
        epoch_end,
        best,
        [
            {name: array[i].item() for name, array in columns.items() if i not in absent.get(name, ())}
            for i in range(position["epochs"])
        ],
        tensors["steps/loss"],
        tensors["steps/learning_rate"],
        tuple((int(step), str(name), float(value)) for step, name, value in document["changes"]),
        position["stopped"],
        float(position["seconds"]),
        tuple(_below(tensors, f"callbacks/{number}") for number in range(callbacks)),
        groups["lenses"],
        position.get("diverged"),
    )


def check_alike(expected: State, state: State) -> None:
    """Raise InputError unless ``state`` has the arrays of ``expected``: the same names, shapes and dtypes."""
    for group in ("weights", "statistics", "slots"):
        arrays: dict[str, Array] = getattr(state, group)
        expected_arrays: dict[str, Array] = getattr(expected, group)
        for name in expected_arrays.keys() | arrays.keys():
            types = [
                (side[name].shape, side[name].dtype) for side in (expected_arrays, arrays) if name in side
            ]
            if len(types) < 2 or types[0] != types[1]:
                raise InputError(
                    f"the saved training has different {group} from this network ({name}); start a new training"
                )


def _named(group: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """``arrays`` with the prefix ``group/`` before each name."""
    return {f"{group}/{name}": array for name, array in arrays.items()}


def _below(tensors: Mapping[str, Array], group: str) -> dict[str, Array]:
    """The arrays of ``tensors`` with the prefix ``group/``, by name without the prefix."""
    start = group + "/"
    size = len(start)
    return {name[size:]: array for name, array in tensors.items() if name[:size] == start}
