"""``train``: a complete training run in one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glassgrad.nn.network import Network
from glassgrad.training.callbacks import Callback
from glassgrad.training.run import Progress, Run
from glassgrad.training.settings import Settings
from glassgrad.training.source import load
from glassgrad.training.task import Preparation, Task
from glassgrad.training.trainer import Trainer, settings_from


def train(
    data: Any,
    settings: Settings | None = None,
    *,
    target: str | None = None,
    task: str = "auto",
    network: Network | Mapping[str, Any] | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | str | None = None,
    prepared: Callable[[Task], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> Run:
    """Train a network on ``data`` and return the run.

    ``data`` is a source as on the command line, a DataFrame or dict of columns (see ``from_table``), or a ``Dataset``
    (see ``from_arrays``). For a table, ``target`` is the name of the column to predict (default: the last one), and
    ``task`` says whether it is a class. Options are those of ``Settings``; ``network`` replaces ``layers``.
    ``sample_weight`` has one number >= 0 per row of the data, except for rows of a separate test part.
    ``class_weight`` maps labels to numbers, or is "balanced". ``prepared`` is called with the prepared task before
    the training. ``callbacks`` run between calls of the compiled step (see ``Callback``). NaN, Inf and Ctrl-C end the
    run with its last good weights (see ``Run.status``). To train step by step, see ``Trainer``. Raises InputError for
    invalid data, options or combinations of them.
    """
    start = time.perf_counter()
    settings = settings_from(settings, options, network)
    prepared_task = Preparation(load(data, target=target, task=task), sample_weight, class_weight).task(
        settings
    )
    if prepared is not None:
        prepared(prepared_task)
    return Trainer.of(prepared_task, settings, progress=progress, callbacks=callbacks).run(start)
