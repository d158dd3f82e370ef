"""The result of a training run, and the progress reported on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.common.cached import cached_property
from glassgrad.common.errors import GlassgradError, InputError
from glassgrad.common.frozen import frozen
from glassgrad.common.version import __version__
from glassgrad.data.dataset import Dataset
from glassgrad.data.split import Split
from glassgrad.files.run_folder import CONFIG, HISTORY, LENSES, MODEL, RunFolder, config_json, history_csv
from glassgrad.program import Program
from glassgrad.training.backends import backend
from glassgrad.training.given import Given
from glassgrad.training.lenses import Lenses
from glassgrad.training.model import Model
from glassgrad.training.settings import Settings
from glassgrad.training.state import Change
from glassgrad.training.task import Preparation, Task

Status = Literal["finished", "interrupted", "diverged"]


@frozen
class Progress:
    """Sent while training: after every call of the compiled step, and (with ``record``) after every epoch."""

    epoch: int
    epochs: int
    steps: int
    total_steps: int
    loss: float
    record: Mapping[str, float | int] | None = None
    lenses: Lenses | None = None
    """With ``record`` and the option ``watch``: what was measured in this epoch."""


@dataclass(eq=False)
class Run:
    """The result of a training run: the model, its metrics, the history, and the time it took.

    A run interrupted in its first epoch has no metrics.
    """

    model: Model
    settings: Settings
    history: list[dict[str, float | int]]
    metrics: dict[str, dict[str, float]]
    status: Status
    message: str | None
    epochs: int
    best_epoch: int | None
    steps: int
    seconds_training: float
    seconds_compiling: float
    seconds_total: float
    backend: str
    rows: dict[str, int] = field(default_factory=dict)
    program: Program | None = field(default=None, repr=False)
    """One step of the training; ``print`` shows forward, backward and update as numbered equations."""
    lenses: Lenses | None = field(default=None, repr=False)
    """What was measured inside the network during training, with ``watch``; else None."""
    start: Model | None = field(default=None, repr=False)
    """The same network with its initial weights."""
    given: Given | None = field(default=None, repr=False)
    """The data it was trained on, as they were given."""
    split: Split | None = field(default=None, repr=False)
    """Which rows of the data set are in which part."""
    step_losses: Array | None = field(default=None, repr=False)
    """The training loss of every step, [steps], as the step before its update saw it."""
    changes: Sequence[Change] = ()
    """Hyperparameters that were changed during training."""
    stopped: str | None = None
    """Why a callback ended the training early; None where none did."""

    diagnose_run: ClassVar[Callable[..., Any] | None] = None
    """What ``diagnose`` calls. The package's root sets it: training knows nothing of the diagnosis above it."""

    @property
    def dataset(self) -> Dataset:
        """The data set it was trained on."""
        assert self.given is not None
        return self.given.dataset

    @cached_property
    def task(self) -> Task:
        """Network, loss, and the data split and scaled. Prepared on first use, so that runs stay small."""
        assert self.given is not None
        given = self.given
        preparation = Preparation(given.dataset, given.sample_weight, given.class_weight)
        return preparation.task(self.settings, self.split)

    def diagnose(self, **options: Any) -> Any:
        """Answer the five questions for this run, by experiment: a ``Diagnosis`` (see ``glassgrad.diagnose``).

        Raises GlassgradError where the run came from a module inside the package, and not from ``glassgrad.train``.
        """
        if Run.diagnose_run is None:
            raise GlassgradError("this run does not know how to be diagnosed; call glassgrad.diagnose(run)")
        return Run.diagnose_run(self, **options)

    def files(self) -> dict[str, bytes]:
        """The files of the run folder, by name."""
        files = {
            MODEL: self.model.to_bytes(),
            HISTORY: history_csv(self.history),
            CONFIG: config_json(self._config()),
        }
        if self.lenses is not None:
            files[LENSES] = self.lenses.to_bytes()
        return files

    def _config(self) -> dict[str, Any]:
        """The settings, under ``source`` the data, under ``changes`` the changes: what ``replay`` needs."""
        config = self.settings.to_document()
        if config["init_from"] is not None:
            config["init_from"] = str(Path(config["init_from"]).absolute())
        config["source"] = None if self.given is None else self.given.document()
        return config | ({"changes": [list(change) for change in self.changes]} if self.changes else {})

    def save(self, path: str | Path) -> None:
        """Write the run folder: all of it, or nothing. Raises InputError for a folder that is not empty."""
        with RunFolder.create(Path(path), "run") as folder:
            folder.commit(self.files())


def describe(
    model: Model,
    task: Task,
    settings: Settings,
    metrics: Mapping[str, Mapping[str, float]],
    *,
    epochs: int,
    status: Status,
) -> None:
    """Write into ``model`` what its file says of its metrics, its training and where it comes from."""
    parts = task.parts.named()
    model.metrics = {part: _finite_only(values) for part, values in metrics.items()}
    model.training = {"settings": _registered(settings), "epochs": epochs, "status": status}
    model.provenance = {
        "program": f"glassgrad {__version__}",
        "numpy": np.__version__,
        "backend": backend(model.backend).name,
        "source": task.name,
        "rows": {
            name: len(parts[name][0]) if name in parts else 0 for name in ("train", "validation", "test")
        },
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _registered(settings: Settings) -> dict[str, Any] | None:
    """The settings as plain values; None where a part is not registered: it can be trained, but not saved."""
    try:
        return settings.to_document()
    except InputError:
        return None


def _finite_only(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if np.isfinite(value) else None for key, value in metrics.items()}
