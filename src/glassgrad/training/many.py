"""``train_many``: each distinct program is compiled once, and the runs are distributed over the cores."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glassgrad.backends.base import THREADS
from glassgrad.common import interrupts
from glassgrad.common.constraints import Optional, check
from glassgrad.common.errors import InputError
from glassgrad.common.workers import Workers
from glassgrad.training.backends import backend, cores
from glassgrad.training.compiled import Compiled, Programs
from glassgrad.training.run import Run
from glassgrad.training.settings import Settings, make_settings
from glassgrad.training.source import load
from glassgrad.training.task import Preparation, Task
from glassgrad.training.trainer import Trainer


def train_many(
    data: Any,
    variants: Sequence[Mapping[str, Any]],
    *,
    target: str | None = None,
    task: str = "auto",
    threads: int | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | str | None = None,
    progress: Callable[[int, Run], None] | None = None,
    **common: Any,
) -> list[Run]:
    """Train one network per entry of ``variants`` on ``data``, each to the same bits as ``train`` alone.

    ``data``, ``target`` and ``task`` are as in ``train``. A variant is a mapping of options of ``Settings``;
    ``common`` are options of all variants, which a variant may override. Variants that differ only in run-time inputs
    of the compiled program (learning rate, schedule, seed, initialization, any hyperparameter) share one compilation,
    whose time counts for the first of them. Up to ``threads`` runs train at the same time (default:
    GLASSGRAD_THREADS, or the cores that this process may use). ``progress`` is called in the caller's thread after
    each run, with the index of the variant and the run.

    The runs are returned in the order of ``variants``. If a run diverges, the others continue. Ctrl-C ends all runs:
    those in progress end with their last good weights, and those without a completed epoch are left out. If no run is
    left, KeyboardInterrupt is raised. Raises InputError as ``train`` does, before any run begins, and names the
    variant.
    """
    if isinstance(variants, Mapping) or not all(isinstance(item, Mapping) for item in variants):
        raise InputError("variants must be a list of mappings of options, such as [{'learning_rate': 0.1}]")
    threads = check("threads", threads, Optional(THREADS))
    jobs = [_Job(number, settings) for number, settings in enumerate(_settings(variants, common))]
    if not jobs:
        return []
    available = threads or cores()
    workers = min(available, len(jobs))
    preparation = Preparation(load(data, target=target, task=task), sample_weight, class_weight)
    programs = Programs()
    for job in jobs:
        with _NamesVariant(job.number, len(jobs)):
            job.prepare(preparation, programs, available // workers)
    return _run(jobs, workers, progress)


@dataclass(eq=False)
class _Job:
    """One variant: its settings, its prepared data and its programs."""

    number: int
    settings: Settings
    task: Task | None = None
    compiled: Compiled | None = None

    def prepare(self, preparation: Preparation, programs: Programs, threads: int) -> None:
        """Prepare the data and compile the programs, unless another variant has done so."""
        self.task = preparation.task(self.settings)
        self.compiled = programs.compiled(
            self.task, self.settings, backend(self.settings.backend, threads=threads)
        )

    def run(self, check: Callable[[], None]) -> Run | None:
        """Train; returns None if ``check`` stopped the run before its first epoch was complete."""
        assert self.task is not None
        start = time.perf_counter()
        try:
            check()
            run = Trainer.of(self.task, self.settings, check=check, compiled=self.compiled).run(start)
        except KeyboardInterrupt:
            return None
        return None if run.status == "interrupted" and run.epochs == 0 else run


def _run(jobs: Sequence[_Job], workers: int, progress: Callable[[int, Run], None] | None) -> list[Run]:
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    done: dict[int, Run | None] = {}
    with Workers(workers) as pool:
        numbers = {pool.submit(job.run, check): job.number for job in jobs}
        try:
            for future in pool.each(numbers):
                run = done[numbers[future]] = future.result()
                if progress is not None and run is not None:
                    progress(numbers[future], run)
        except KeyboardInterrupt:
            stop.set()
            # Runs that have not begun end at once, runs in progress after their call of the compiled step.
            with interrupts.held():
                for future in pool.each(numbers):
                    done[numbers[future]] = future.result()
            interrupts.settle()
        except BaseException:
            stop.set()
            raise
    runs = [run for _, run in sorted(done.items()) if run is not None]
    if not runs:
        raise KeyboardInterrupt
    return runs


def _settings(variants: Sequence[Mapping[str, Any]], common: Mapping[str, Any]) -> Iterator[Settings]:
    for number, variant in enumerate(variants):
        with _NamesVariant(number, len(variants)):
            yield make_settings({**common, **variant})


class _NamesVariant:
    """A context in which an InputError names the variant that it is about."""

    def __init__(self, number: int, count: int) -> None:
        self.number, self.count = number, count

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError):
            raise InputError(f"variant {self.number + 1} of {self.count}: {error}") from None
