"""Short runs: the subject's network trained from its start for some steps, at many learning rates and seeds.

All runs share one compiled step, because the rate is a run-time input. They evaluate nothing in between and return
the loss of every training batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from glassgrad.backends.base import Array, Feed
from glassgrad.common.cached import cached_property
from glassgrad.common.orders import Epochs
from glassgrad.common.workers import Workers
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.training import background
from glassgrad.training.backends import backend, cores
from glassgrad.training.compiled import gradient_transformation, step_program
from glassgrad.training.programs import FEATURES, TARGETS, WEIGHTS
from glassgrad.training.start import fit_to_data, initial_statistics, initial_weights

Floats = npt.NDArray[np.float64]

MOST_AT_ONCE = 400
"""Maximum number of steps in one call, so that Ctrl-C and divergence end a run early."""


class ShortRuns:
    """Short runs of ``subject`` at a constant rate, with batches of ``batch`` rows (default: as in the subject)."""

    def __init__(self, subject: Subject, batch: int | None = None) -> None:
        self.subject = subject
        self.task, self.settings = subject.task, subject.settings
        self.rows = len(self.task.parts.train[0])
        self.batch = min(batch or self.task.batch, self.rows)
        self.workers = cores()
        self.seconds_per_step = 0.0
        self._starts: dict[int, tuple[dict[str, Array], dict[str, Array]]] = {}
        self._compile()

    def _compile(self) -> None:
        task, settings = self.task, self.settings
        self.program = step_program(task, settings, batch=self.batch)
        self._executable = backend(settings.backend, threads=1).compile(self.program)
        self.hyper = (
            settings.resolved_optimizer.hyperparameters()
            | gradient_transformation(settings).hyperparameters()
        )
        self.hyper |= background.hyperparameter(task.parts.background)
        for steps in (2, 20):  # The first call is slower.
            start = time.perf_counter()
            self.losses([self.hyper["learning_rate"]], [self.settings.seed], steps)
            self.seconds_per_step = (time.perf_counter() - start) / steps

    def affordable(self, seconds: float, runs: int) -> int:
        """The number of steps per run if ``runs`` runs take ``seconds`` in total."""
        parallel = min(self.workers, runs)
        return int(seconds * parallel / max(runs * self.seconds_per_step, 1e-12))

    def losses(self, rates: Sequence[float], seeds: Sequence[int], steps: int) -> Floats:
        """The loss of every batch, float64 [rates, seeds, steps]; Inf from the step where a run met NaN or Inf."""
        pairs = [(float(rate), seed) for rate in rates for seed in seeds]
        return self.runs(pairs, steps).reshape(len(rates), len(seeds), steps)

    def runs(self, pairs: Sequence[tuple[float, int]], steps: int) -> Floats:
        """The loss of every batch for pairs (rate, seed): float64 [pairs, steps]."""
        for _, seed in pairs:
            self._start(seed)
        if len(pairs) == 1:
            ((rate, seed),) = pairs
            return self._run(rate, seed, steps)[np.newaxis]
        with Workers(min(self.workers, len(pairs))) as workers:
            futures = [workers.submit(self._run, rate, seed, steps) for rate, seed in pairs]
            return np.array([workers.result(future) for future in futures])

    def _run(self, rate: float, seed: int, steps: int) -> Floats:
        weights, statistics = self._start(seed)
        slots, order = self._slots, self._order(seed, steps)
        losses = np.full(steps, np.inf)
        for begin in range(0, steps, MOST_AT_ONCE):
            end = min(begin + MOST_AT_ONCE, steps)
            result = self._executable.run(
                Feed(
                    self._data,
                    order[begin * self.batch : end * self.batch],
                    weights,
                    statistics | slots,
                    self.hyper | {"learning_rate": rate},
                    seed,
                    begin,
                )
            )
            batch_losses = result.outputs["loss"].astype(np.float64)
            not_finite = np.flatnonzero(~np.isfinite(batch_losses))
            losses[begin:end] = batch_losses
            if len(not_finite):
                losses[begin + not_finite[0] :] = np.inf
                break
            weights = result.params
            statistics = {key: result.state[key] for key in statistics}
            slots = {key: result.state[key] for key in slots}
        return losses

    @cached_property
    def _data(self) -> dict[str, Array]:
        features, targets = self.task.parts.train
        weights = self.task.parts.weights
        return {FEATURES: features, TARGETS: targets} | ({} if weights is None else {WEIGHTS: weights})

    @cached_property
    def _slots(self) -> dict[str, Array]:
        fills = self.settings.resolved_optimizer.slots()
        return {
            item.name: np.full(item.type.shape, fills[item.name.split("/")[0]], item.type.dtype)
            for item in self.program.state
            if "/" in item.name
        }

    def _start(self, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """Initial weights and statistics for ``seed``; with ``init_from``, those of the model for every seed."""
        if seed not in self._starts:
            network, settings = self.task.resolved.network, self.settings
            shape, dtype = self.task.parts.schema.feature_shape, settings.dtype
            if settings.init_from is not None:
                model = self.subject.start
                self._starts[seed] = model.weights, model.statistics
            else:
                weights = initial_weights(network, shape, seed=seed, dtype=dtype)
                statistics = initial_statistics(network, shape, dtype=dtype)
                weights = fit_to_data(network, weights, statistics, self.task.parts.train[0])
                self._starts[seed] = weights, statistics
        return self._starts[seed]

    def _order(self, seed: int, steps: int) -> Epochs:
        epochs = Epochs(self.rows, self.batch, seed)
        return replace(epochs, count=-(-steps // epochs.steps_per_epoch), end=steps)
