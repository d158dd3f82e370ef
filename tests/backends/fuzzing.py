"""One recipe through the native backend and the reference: used by ``test_fuzz.py`` and ``benchmarks/fuzz.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import numpy as np

from backends.random_networks import Recipe, Task, evaluation_task, training_task
from backends.rounding import compare, run, same_bits
from glassgrad.backends.base import Feed, Result
from glassgrad.backends.native.backend import NativeBackend, NativeExecutable
from glassgrad.backends.native.plan import products, row_layout, sharing, tiling
from glassgrad.backends.native.runtime.machine import host, machine

FEW, MANY = 3, 24  # runs with random rounding errors: at first, and where these say that something is wrong
_WIDTHS = {"avx512": 64, "avx2": 32, "sse2": 16}


@dataclass
class Verdict:
    """What one recipe gave: complaints (none: it agrees), and how much of it was compared."""

    complaints: list[str] = field(default_factory=list)
    compared: int = 0
    chaotic: int = 0
    worst: float = 0.0  # in spreads, among the tensors that are not chaotic


def check(recipe: Recipe) -> Verdict:
    """Train (and, where the recipe says so, evaluate) on both backends, and compare everything."""
    verdict = Verdict()
    tasks = {"training": training_task(recipe)}
    if recipe["evaluates"]:
        tasks["evaluation"] = evaluation_task(recipe)
    for name, task in tasks.items():
        _check(task, recipe, name, verdict)
    return verdict


def _check(task: Task, recipe: Recipe, name: str, verdict: Verdict) -> None:
    program, feed = task.program, task.feed
    name_of_target = recipe["machine"]
    can_run = name_of_target == "host" or host().vector_bytes >= _WIDTHS[name_of_target]
    target = machine(name_of_target if can_run else "host")
    with small_units(recipe["small_units"]), patch.object(tiling, "SKIPPING", 0):
        executable = NativeBackend(target, 1, cached=False).compile(program)
    assert isinstance(executable, NativeExecutable)
    found = executable.run(feed)
    wanted = run(program, feed)
    seen = compare(program, feed, found, samples=FEW, wanted=wanted)
    if seen.wrong:
        seen = compare(program, feed, found, samples=MANY, seed=1, wanted=wanted)
    verdict.complaints += [f"{name}: {key} is {value:.3g} spreads off" for key, value in seen.wrong.items()]
    verdict.compared += seen.compared
    verdict.chaotic += len(seen.chaotic)
    verdict.worst = max(verdict.worst, seen.worst)
    for what, other in _again(executable, feed):
        verdict.complaints += [f"{name}: {what}, {key} has other bits" for key in same_bits(found, other)]


def _again(executable: NativeExecutable, feed: Feed) -> Iterator[tuple[str, Result]]:
    """The same in two chunks, and on three threads where the code is for several."""
    batch = executable.program.batch
    if len(feed.order) > batch:
        first = executable.run(_part(feed, batch, 0, 1))
        rest = _part(replace(feed, params=first.params, state=first.state), batch, 1, None)
        second = executable.run(rest)
        outputs = {key: np.concatenate([first.outputs[key], second.outputs[key]]) for key in first.outputs}
        yield "in two chunks", Result(second.params, second.state, outputs)
    if executable.code.parallel:
        yield "on three threads", NativeExecutable(executable.program, executable.code, 3).run(feed)


def _part(feed: Feed, batch: int, start: int, stop: int | None) -> Feed:
    """Steps ``start`` to ``stop`` of ``feed``."""
    return replace(
        feed,
        order=feed.order[start * batch : None if stop is None else stop * batch],
        hyper={key: v if np.ndim(v) == 0 else np.asarray(v)[start:stop] for key, v in feed.hyper.items()},
        first_step=feed.first_step + start,
    )


@contextmanager
def small_units(wanted: bool = True) -> Iterator[None]:
    """Cut even small kernels into units, share them among threads, and lay their weights in panels."""
    before = row_layout.BLOCK, sharing.ROWS_WORK, sharing.PRODUCT_WORK, products.UNIT
    if wanted:
        row_layout.BLOCK, sharing.ROWS_WORK, sharing.PRODUCT_WORK, products.UNIT = 48, 0, 0, 0
    try:
        yield
    finally:
        row_layout.BLOCK, sharing.ROWS_WORK, sharing.PRODUCT_WORK, products.UNIT = before
