"""Replay: the same training once more, to the same bits, or with one thing changed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from glassgrad.common.errors import InputError
from glassgrad.common.unset import UNSET, Unset, given
from glassgrad.data.dataset import Dataset
from glassgrad.files.run_folder import CONFIG, read_config
from glassgrad.training.changes import changed_settings
from glassgrad.training.fit import Progress, Run, _Fit, load
from glassgrad.training.given import find_given
from glassgrad.training.settings import Settings, settings_of_document
from glassgrad.training.task import Preparation


def replay(
    run: str | Path | Run,
    source: str | Path | Dataset | None = None,
    *,
    sample_weight: Any = UNSET,
    class_weight: Mapping[Any, float] | str | Unset | None = UNSET,
    progress: Callable[[Progress], None] | None = None,
    **changes: Any,
) -> Run:
    """Train ``run``, a run or a run folder, once more, with ``changes`` to its options, such as ``watch=True``.

    Without changes the weights come out the same to the bit, on a machine like the first (a run that was stopped is
    not stopped this time). The data are those of the run; of a run folder they are read again where they lay, and
    must be as they were. ``source`` takes others, with the same columns; ``sample_weight`` those of the rows, which a
    folder does not hold; ``class_weight`` other weights of the classes; None takes none of them. ``changes`` are
    those of ``changed_settings``. Raises InputError where the data are gone or have changed, for an option that does
    not exist or is not used, and as ``train`` does.
    """
    start = time.perf_counter()
    if isinstance(run, Run):
        assert run.given is not None
        settings, data = run.settings, run.given
        if source is not None:
            data = dataclasses.replace(data, dataset=load(source))
    else:
        settings, document = read_settings(run)
        data = find_given(document, str(run), source, sample_weight)
    settings = changed_settings(settings, changes)
    weights = given({"sample_weight": sample_weight, "class_weight": class_weight})
    data = dataclasses.replace(data, **weights)
    task = Preparation(data.dataset, data.sample_weight, data.class_weight).task(settings)
    return _Fit(task, settings, progress).run(start)


def read_settings(run: str | Path) -> tuple[Settings, Mapping[str, Any] | None]:
    """The settings in a run folder, and what it says of the data (see ``Given.document``).

    Raises InputError for a folder that is missing or has no such configuration.
    """
    path = Path(run)
    config = read_config(path)
    document = config.pop("source", None)
    try:
        return settings_of_document(config), document
    except InputError as error:
        raise InputError(f"{path / CONFIG}: {error}") from None
