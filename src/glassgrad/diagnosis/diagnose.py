"""The five questions, answered by experiment: measure, judge, prescribe, try, rank."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from glassgrad.common.constraints import Real, check
from glassgrad.common.durations import seconds_of
from glassgrad.common.errors import InputError
from glassgrad.common.unset import UNSET, Unset, given
from glassgrad.data.dataset import Dataset
from glassgrad.data.sources import BUILT_IN, load_source
from glassgrad.diagnosis.chain_rule import question as chain_rule
from glassgrad.diagnosis.core.budget import Clock
from glassgrad.diagnosis.core.examination import Examination, Phase, Question
from glassgrad.diagnosis.core.findings import Diagnosis
from glassgrad.diagnosis.core.subject import examine
from glassgrad.diagnosis.initialization import question as initialization
from glassgrad.diagnosis.kinds import KINDS
from glassgrad.diagnosis.learning_rate import question as learning_rate
from glassgrad.diagnosis.loss import question as loss
from glassgrad.diagnosis.neurons import question as neurons
from glassgrad.files.run_folder import CONFIG
from glassgrad.training.changes import changed_settings
from glassgrad.training.given import Given, find_given
from glassgrad.training.replay import read_settings
from glassgrad.training.run import Run
from glassgrad.training.settings import Settings, make_settings

BUDGET = 30.0

UNUSED = ("force", "watch")
"""Options of ``train`` that change nothing in a diagnosis."""

RESERVE = 0.08
"""The share of the budget that is left alone: predictions of what a trial takes are not exact."""

QUESTION_MODULES: Mapping[str, Question] = {
    "loss": loss,
    "initialization": initialization,
    "neurons": neurons,
    "chain_rule": chain_rule,
    "learning_rate": learning_rate,
}
"""In the order in which they are asked: the cheap and telling ones first."""


def diagnose(
    data: str | Path | Dataset | Run,
    settings: Settings | None = None,
    *,
    target: str | None = None,
    task: str = "auto",
    sample_weight: Any = UNSET,
    class_weight: Mapping[Any, float] | str | Unset | None = UNSET,
    budget: float | str = BUDGET,
    progress: Callable[[Phase], None] | None = None,
    **options: Any,
) -> Diagnosis:
    """Answer the five questions for a network: ``settings`` (or options, as ``train`` takes them) on ``data``.

    Of a ``Run``, or the folder of one, data and settings are taken, ``options`` replacing some of them (see
    ``changed_settings``). Networks that ``train`` refuses are taken too, and the run is always watched: ``force`` and
    ``watch`` are no options here. ``target`` and ``task`` are those of ``load_source``, the weights those of
    ``train``; weights of None replace those of a run by none. ``budget`` is in seconds, or a text such as "30s"; what
    there was no time for is listed in the answers. Raises InputError for data or options that cannot be used.
    """
    start = time.perf_counter()
    allowed = seconds_of(budget if isinstance(budget, str) else check("budget", budget, Real(above=0)))
    clock = Clock((1 - RESERVE) * allowed)
    tell = progress or (lambda phase: None)
    for name in UNUSED:
        if name in options:
            raise InputError(f"a diagnosis does not use the option {name}; leave it out")
    before: Settings | None = None
    named = target is not None or task != "auto"
    if named and (isinstance(data, Run | Dataset) or is_run(data)):
        raise InputError("target and task are for sources; a run, or a Dataset, has its own")
    if isinstance(data, Run):
        assert data.given is not None
        examined, before = data.given, data.settings
    elif not isinstance(data, Dataset) and is_run(data):
        before, document = read_settings(data)
        examined = find_given(document, str(data), sample_weight=sample_weight)
    else:
        dataset = data if isinstance(data, Dataset) else load_source(data, target=target, task=task)
        examined = Given(dataset)
    examined = replace(examined, **given({"sample_weight": sample_weight, "class_weight": class_weight}))
    if settings is not None and options:
        raise InputError("give either settings or options, not both")
    if settings is None:
        settings = make_settings(options) if before is None else changed_settings(before, options)
    tell(Phase("training the network, and watching it", 0.0))
    subject = examine(examined, settings, clock)
    diagnosis = Examination(subject, QUESTION_MODULES, KINDS.values(), tell).run()
    return replace(diagnosis, seconds=time.perf_counter() - start, budget=allowed)


def is_run(path: str | Path) -> bool:
    """Whether ``path`` is the folder of a run."""
    return str(path) not in BUILT_IN and (Path(path) / CONFIG).is_file()
