"""Load a run from its folder with everything a report needs."""

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
    """The run in ``folder`` with its data, its initial weights and its lenses.

    If the folder has no lenses, the training is repeated with lenses, up to the epoch in which the run ended.
    ``source`` says where the data are if they have moved. Raises InputError as ``replay`` and ``load_model`` do.
    """
    model = load_model(folder)
    if (folder / LENSES).is_file():
        return _restored(folder, source, model)
    epochs = len(read_history(folder))

    def watch(update: Progress) -> None:
        if progress is not None:
            progress(update)
        if update.record is not None and update.epoch == epochs and model.training["status"] == "interrupted":
            raise KeyboardInterrupt  # end the replay where the run was interrupted

    return replay(folder, source, progress=watch, watch=True)


def _restored(folder: Path, source: str | None, model: Model) -> Run:
    """The run without training it again. Whatever the folder lacks is derived from the settings."""
    settings, _ = read_settings(folder)
    history = read_history(folder)
    start = replay(folder, source, epochs=0)
    losses = [record.get("validation_loss", np.inf) for record in history]
    has_best = settings.keep == "best" and np.isfinite(losses).any()
    return replace(
        start,
        model=model,
        settings=settings,
        history=history,
        metrics={part: dict(metrics) for part, metrics in model.metrics.items()},
        status=model.training["status"],
        epochs=len(history),
        best_epoch=int(np.nanargmin(losses)) + 1 if has_best else None,
        steps=len(history) * -(-start.rows["train"] // min(settings.batch_size, start.rows["train"])),
        seconds_training=0.0,
        lenses=read_lenses(folder),
    )
