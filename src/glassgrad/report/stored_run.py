"""A run as a report needs it, from its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from glassgrad.files.run_folder import LENSES, read_history
from glassgrad.training.lenses import read_lenses
from glassgrad.training.model import Model, load_model
from glassgrad.training.replay import read_settings, replay
from glassgrad.training.run import Progress, Run


def stored_run(
    folder: Path, source: str | None = None, progress: Callable[[Progress], None] | None = None
) -> Run:
    """The run in ``folder`` with its data, its start and its lenses.

    Where the folder has no lenses the training is repeated with them on, up to the epoch in which it ended.
    ``source`` is where the data are now. Raises InputError as ``replay`` and ``load_model`` do.
    """
    model = load_model(folder)
    if (folder / LENSES).is_file():
        return _restored(folder, source, model)
    epochs = len(read_history(folder))

    def watch(told: Progress) -> None:
        if progress is not None:
            progress(told)
        if told.record is not None and told.epoch == epochs and model.training["status"] == "interrupted":
            raise KeyboardInterrupt  # as the run was

    return replay(folder, source, progress=watch, watch=True)


def _restored(folder: Path, source: str | None, model: Model) -> Run:
    """The run without any training: what is not in the folder follows from the settings."""
    settings, _ = read_settings(folder)
    history = read_history(folder)
    start = replay(folder, source, epochs=0)
    losses = [record.get("validation_loss", np.inf) for record in history]
    kept = settings.keep == "best" and np.isfinite(losses).any()
    return replace(
        start,
        model=model,
        settings=settings,
        history=history,
        metrics={part: dict(found) for part, found in model.metrics.items()},
        status=model.training["status"],
        epochs=len(history),
        best_epoch=int(np.nanargmin(losses)) + 1 if kept else None,
        steps=len(history) * -(-start.rows["train"] // min(settings.batch_size, start.rows["train"])),
        seconds_training=0.0,
        lenses=read_lenses(folder),
    )
