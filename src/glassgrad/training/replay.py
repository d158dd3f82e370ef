"""``replay``: repeats a training, to the same bits or with some options changed."""

from __future__ import annotations

import dataclasses
import operator
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from glassgrad.common.errors import InputError
from glassgrad.common.unset import UNSET, Unset, given
from glassgrad.data.dataset import Dataset
from glassgrad.files.run_folder import CONFIG, read_config
from glassgrad.training.changes import changed_settings
from glassgrad.training.given import find_given
from glassgrad.training.run import Progress, Run
from glassgrad.training.settings import Settings, settings_of_document
from glassgrad.training.source import load
from glassgrad.training.state import Change
from glassgrad.training.task import Preparation
from glassgrad.training.trainer import Trainer


def replay(
    run: str | Path | Run,
    source: str | Path | Dataset | None = None,
    *,
    sample_weight: Any = UNSET,
    class_weight: Mapping[Any, float] | str | Unset | None = UNSET,
    progress: Callable[[Progress], None] | None = None,
    **changes: Any,
) -> Run:
    """Repeat the training of ``run``, a run or a run folder, with ``changes`` to its options, such as ``watch=True``.

    Without ``changes`` the weights are the same to the bit on a machine of the same kind. Hyperparameters that were
    changed during the training change at the same steps. A run that was stopped is now trained to its end.

    The data are those of the run. For a run folder they are read again from their source, which must be unchanged.
    ``source`` is other data with the same columns. ``sample_weight`` has the weights of the rows, which a folder does
    not store, and ``class_weight`` other weights of the classes; with None, all weights are equal. ``changes`` are
    those of ``changed_settings``. Raises InputError if the data are missing or have changed, for an option that does
    not exist or has no effect, and as ``train`` does.
    """
    start = time.perf_counter()
    if isinstance(run, Run):
        assert run.given is not None
        settings, data, planned_changes = run.settings, run.given, run.changes
        if source is not None:
            data = dataclasses.replace(data, dataset=load(source))
    else:
        settings, document = read_settings(run)
        data = find_given(document, str(run), source, sample_weight)
        planned_changes = read_changes(run)
    settings = changed_settings(settings, changes)
    weights = given({"sample_weight": sample_weight, "class_weight": class_weight})
    data = dataclasses.replace(data, **weights)
    task = Preparation(data.dataset, data.sample_weight, data.class_weight).task(settings)
    return Trainer.of(task, settings, progress=progress, changes=planned_changes).run(start)


def read_settings(run: str | Path) -> tuple[Settings, Mapping[str, Any] | None]:
    """The settings in a run folder, and its description of the data (see ``Given.document``).

    Raises InputError if the folder is missing, or has no valid configuration.
    """
    path = Path(run)
    config = read_config(path)
    document = config.pop("source", None)
    config.pop("changes", None)
    try:
        return settings_of_document(config), document
    except InputError as error:
        raise InputError(f"{path / CONFIG}: {error}") from None


def read_changes(run: str | Path) -> list[Change]:
    """The changes of hyperparameters during the training of a run folder; InputError if the list is damaged."""
    path = Path(run)
    changes = read_config(path).get("changes", [])
    try:
        return [(operator.index(step), str(name), float(value)) for step, name, value in changes]
    except (TypeError, ValueError):
        raise InputError(
            f"{path / CONFIG}: 'changes' is not a list of [step, name, value]; correct it, or train the run again"
        ) from None
