"""The result of a training run, and the progress reports during it."""

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
    """A progress report: after every call of the compiled step, and (with ``record``) after every epoch."""

    epoch: int
    epochs: int
    steps: int
    total_steps: int
    loss: float
    record: Mapping[str, float | int] | None = None
    lenses: Lenses | None = None
    """With ``record`` and the option ``watch``: the samples of this epoch."""


@dataclass(eq=False)
class Run:
    """The result of a training run: the model, its metrics, the history, and durations in seconds.

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
    """The training step; ``print`` shows forward pass, backward pass and update as numbered equations."""
    lenses: Lenses | None = field(default=None, repr=False)
    """The measurements inside the network during training, with ``watch``; else None."""
    start: Model | None = field(default=None, repr=False)
    """The same network with its initial weights."""
    given: Given | None = field(default=None, repr=False)
    """The data it was trained on, as the user gave them."""
    split: Split | None = field(default=None, repr=False)
    """The rows of the data set in each part."""
    step_losses: Array | None = field(default=None, repr=False)
    """The training loss of every step, [steps], with the weights before the update of the step."""
    changes: Sequence[Change] = ()
    """The changes of hyperparameters during training."""
    stopped: str | None = None
    """The reason why a callback ended the training; None if no callback did."""

    diagnose_run: ClassVar[Callable[..., Any] | None] = None
    """The function that ``diagnose`` calls. The package root sets it, since training cannot import diagnosis."""

    @property
    def dataset(self) -> Dataset:
        """The data set it was trained on."""
        assert self.given is not None
        return self.given.dataset

    @cached_property
    def task(self) -> Task:
        """Network, loss, and the data, split and scaled. Prepared on first use, so that runs stay small."""
        assert self.given is not None
        given = self.given
        preparation = Preparation(given.dataset, given.sample_weight, given.class_weight)
        return preparation.task(self.settings, self.split)

    def diagnose(self, **options: Any) -> Any:
        """Diagnose this run by experiment (see ``glassgrad.diagnose``); returns a ``Diagnosis``.

        Raises GlassgradError if only modules inside the package were imported, and ``glassgrad`` itself was not used.
        """
        if Run.diagnose_run is None:
            raise GlassgradError("run.diagnose() is not available here; call glassgrad.diagnose(run)")
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
        """The configuration that ``replay`` reads: the settings, ``source`` (the data) and ``changes``."""
        config = self.settings.to_document()
        if config["init_from"] is not None:
            config["init_from"] = str(Path(config["init_from"]).absolute())
        config["source"] = None if self.given is None else self.given.document()
        return config | ({"changes": [list(change) for change in self.changes]} if self.changes else {})

    def save(self, path: str | Path) -> None:
        """Write the run folder, completely or not at all. Raises InputError for a folder that is not empty."""
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
    """Set the metrics, training and provenance of ``model``, which its file contains."""
    parts = task.parts.named()
    model.metrics = {part: _finite_only(values) for part, values in metrics.items()}
    model.training = {"settings": _settings_document(settings), "epochs": epochs, "status": status}
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


def _settings_document(settings: Settings) -> dict[str, Any] | None:
    """The settings as plain values; None if a part is not registered, since it can be trained but not saved."""
    try:
        return settings.to_document()
    except InputError:
        return None


def _finite_only(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """``metrics`` with None in place of NaN and Inf, which JSON does not have."""
    return {key: value if np.isfinite(value) else None for key, value in metrics.items()}
