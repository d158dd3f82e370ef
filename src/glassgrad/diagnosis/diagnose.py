"""The five questions, answered by experiment: measure, judge, prescribe, try, rank."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from glassgrad.common.errors import InputError
from glassgrad.data.dataset import Dataset
from glassgrad.data.sources import BUILT_IN, load_source
from glassgrad.diagnosis.chain_rule import question as chain_rule
from glassgrad.diagnosis.core.budget import Clock, seconds_of
from glassgrad.diagnosis.core.examination import Examination, Phase, Question
from glassgrad.diagnosis.core.findings import Diagnosis
from glassgrad.diagnosis.core.subject import examine
from glassgrad.diagnosis.core.variants import apply
from glassgrad.diagnosis.initialization import question as initialization
from glassgrad.diagnosis.kinds import KINDS
from glassgrad.diagnosis.learning_rate import question as learning_rate
from glassgrad.diagnosis.loss import question as loss
from glassgrad.diagnosis.neurons import question as neurons
from glassgrad.files.run_folder import CONFIG
from glassgrad.training.fit import Run
from glassgrad.training.given import Given, find_given
from glassgrad.training.replay import read_settings
from glassgrad.training.settings import Settings, make_settings

BUDGET = 30.0

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
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | str | None = None,
    budget: float | str = BUDGET,
    progress: Callable[[Phase], None] | None = None,
    **options: Any,
) -> Diagnosis:
    """Answer the five questions for a network: ``settings`` (or options, as ``train`` takes them) on ``data``.

    Of a ``Run``, or the folder of one, data and settings are taken, ``options`` replacing some of them. Networks
    that ``train`` refuses are taken too. ``target`` and ``task`` are those of ``load_source``, the weights those of
    ``train``. ``budget`` is in seconds, or a text such as "30s"; what there was no time for is listed in the answers.
    Raises InputError for data or options that cannot be used.
    """
    start = time.perf_counter()
    allowed = seconds_of(budget)
    clock = Clock((1 - RESERVE) * allowed)
    tell = progress or (lambda phase: None)
    weights = {"sample_weight": sample_weight, "class_weight": class_weight}
    before: Settings | None = None
    named = target is not None or task != "auto"
    if named and (isinstance(data, Run | Dataset) or is_run(data)):
        raise InputError("target and task are for sources; a run, or a Dataset, has its own")
    if isinstance(data, Run):
        assert data.given is not None
        given, before = data.given, data.settings
    elif not isinstance(data, Dataset) and is_run(data):
        before, document = read_settings(data)
        given = find_given(document, str(data), sample_weight=sample_weight)
    else:
        dataset = data if isinstance(data, Dataset) else load_source(data, target=target, task=task)
        given = Given(dataset)
    given = replace(given, **{name: value for name, value in weights.items() if value is not None})
    if settings is not None and options:
        raise InputError("give either settings or options, not both")
    if settings is None:
        settings = make_settings(options) if before is None else apply(before, options).settings
    tell(Phase("training the network, and watching it", 0.0))
    subject = examine(given, settings, clock)
    diagnosis = Examination(subject, QUESTION_MODULES, KINDS.values(), tell).run()
    return replace(diagnosis, seconds=time.perf_counter() - start, budget=allowed)


def is_run(path: str | Path) -> bool:
    """Whether ``path`` is the folder of a run."""
    return str(path) not in BUILT_IN and (Path(path) / CONFIG).is_file()
