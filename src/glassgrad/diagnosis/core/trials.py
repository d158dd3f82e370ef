"""Trials: the network trained again with a change, on fresh seeds, against the network without it.

Both sides share their seeds, and with them the rows and, as far as they have the same shapes, the first weights:
what differs is the change. Scores are those of validation rows; test rows are held out before anything begins.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from glassgrad.common.cached import cached_property
from glassgrad.common.errors import GraphError, InputError
from glassgrad.data.dataset import Dataset
from glassgrad.diagnosis.core.baseline import constant_scores
from glassgrad.diagnosis.core.budget import Clock
from glassgrad.diagnosis.core.evidence import Intervention, Trial
from glassgrad.diagnosis.core.judging import Criterion, chance
from glassgrad.diagnosis.core.outcomes import Outcome, Outcomes, is_close, says_nothing, scored_trial
from glassgrad.diagnosis.core.scores import further_scores, scored_rows, scores_as_labels
from glassgrad.diagnosis.core.uninformative_inputs import uninformative_in
from glassgrad.diagnosis.core.variants import Variant, make_variant, transformed
from glassgrad.losses.table import LOSSES
from glassgrad.training.defaults import DEFAULTS
from glassgrad.training.given import Given
from glassgrad.training.many import train_many
from glassgrad.training.run import Run
from glassgrad.training.settings import Settings

SEEDS = 5
FEWEST_SEEDS = 3
CHEAP = 0.03
"""A trial takes five seeds while one side of it costs no more than this share of the budget, else three."""

FIRST_SEED = 1001
"""Trials use seeds that the examined run, and most people, do not."""

VALIDATION_ROWS = 2000
LARGEST_VALIDATION = 0.25
"""Trials take up to a quarter of the rows for validation, while that is fewer than 2000 of them."""

COMPILING = 0.7
"""Seconds that a network of usual size takes to compile; corrected as soon as it is known."""

STEP_WORK = 100_000
SWEEPS = 3
"""A step costs as much as this many multiplications, besides those of its rows in three sweeps: forward, and backward
to weights and to inputs."""

SOUND: Mapping[str, Any] = {
    "network": None,
    "layers": (64, 32),
    "activation": "relu",
    "init": "he_normal",
    "output_activation": "auto",
    "loss": "auto",
    "optimizer": "adam",
    "learning_rate": 0.001,
    "scaling": "standard",
    "schedule": "constant",
    "clip_norm": None,
    "clip_value": None,
    "freeze": (),
    "init_from": None,
    "init_layers": None,
    "batch_size": 32,
    "keep": "best",
}
"""A configuration that learns something from any table that holds something, whatever the one given does."""

COMPILED = {item for item in SOUND if item not in ("keep", "init", "learning_rate", "schedule")} | {
    "momentum",
    "weight_decay",
    "dropout",
    "dtype",
    "drop_inputs",
    "drop_uninformative",
    "task",
    "class_weight",
}


FINE = 0.1
MOST_DEALS = 40
"""Targets are dealt anew up to so many times, until chance may be no more than this share of the constant loss."""


class Trials:
    """Runs variants of ``settings`` on ``given``; the same run is never done twice."""

    def __init__(self, given: Given, settings: Settings, clock: Clock, seconds: float) -> None:
        """``given`` has no test rows; ``seconds`` is what one run of ``settings`` takes."""
        self.given = given
        share = min(LARGEST_VALIDATION, VALIDATION_ROWS / len(given.dataset.targets))
        self.settings = replace(
            settings, force=True, watch=False, test=0.0, validation=max(settings.validation, share)
        )
        self.clock = clock
        self.seconds_per_run = seconds
        self.seconds_compiling = COMPILING
        self.count = 0
        self._first_seed = FIRST_SEED if settings.seed < FIRST_SEED else settings.seed + 1
        self._known: dict[tuple[str, int], Outcome | None] = {}
        self._constants: dict[str, dict[str, float]] = {}

    @property
    def dataset(self) -> Dataset:
        """The rows that trials are trained and scored on."""
        return self.given.dataset

    def seeds(self, count: int | None = None) -> tuple[int, ...]:
        """The first ``count`` fresh seeds: by default five, or three where a run takes long."""
        if count is None:
            count = SEEDS if self.seconds_per_run * SEEDS <= CHEAP * self.clock.budget else FEWEST_SEEDS
        return tuple(range(self._first_seed, self._first_seed + count))

    def run(
        self, variants: Sequence[Mapping[str, Any]], seeds: Sequence[int] | None = None
    ) -> list[Outcomes]:
        """Every variant (options, see ``variants.make_variant``) on every seed; None where ``train`` refuses it.

        All that is not known yet is trained at once; variants that differ only in numbers share a compilation.
        """
        seeds = self.seeds() if seeds is None else tuple(seeds)
        made = [self._made(options) for options in variants]
        wanted: dict[tuple[str, int], Variant] = {}
        for variant in made:
            if variant is not None:
                names = [(variant.key, seed) for seed in seeds]
                wanted |= {name: variant for name in names if name not in self._known}
        groups: dict[str, list[tuple[tuple[str, int], Variant]]] = {}
        for name, unresolved in wanted.items():
            variant = self._resolved(unresolved, name[1])
            groups.setdefault(repr(sorted(variant.actions.items())), []).append((name, variant))
        for group in groups.values():
            self._train(group)
        return [tuple(None if v is None else self._known[v.key, seed] for seed in seeds) for v in made]

    def known(self, options: Mapping[str, Any], seeds: Sequence[int]) -> list[Outcome]:
        """What is known of a variant on ``seeds`` already, without training anything."""
        variant = self._made(options)
        found = [] if variant is None else [self._known.get((variant.key, seed)) for seed in seeds]
        return [outcome for outcome in found if outcome is not None]

    def seconds(self, options: Mapping[str, Any], count: int | None = None) -> float:
        """What a variant is likely to take on ``count`` seeds."""
        variant = self._made(options)
        if variant is None:
            return 0.0
        count = len(self.seeds()) if count is None else count
        compiling = self.seconds_compiling if COMPILED & set(options) else 0.05
        return self._work(variant) * self.seconds_per_run * count + compiling

    def compare(
        self,
        intervention: Intervention,
        criterion: Criterion,
        seeds: Sequence[int] | None = None,
        *,
        onto: Intervention | None = None,
        refused: bool = False,
        sure: bool = False,
    ) -> Trial:
        """Try ``intervention`` as a fix: the same seeds without it and with it.

        ``criterion`` (a ``Kind`` is one) says what confirms it, see ``judging.judged``. ``onto`` is an intervention
        that both sides have; ``refused``: the network as given cannot be trained at all, and counts as worse than
        anything; ``sure``: the mechanism was measured beyond doubt. Where it is a close thing, as many seeds again
        are added, if there is time: the first fix of several that seems to help may do so by luck.
        """
        start = time.perf_counter()
        first = self.seeds() if seeds is None else tuple(seeds)
        base = {} if onto is None else dict(onto.options)
        trial = self._compared(base, intervention, criterion, first, refused, sure)
        if seeds is None and is_close(trial) and self.clock.allows(2 * self.seconds(intervention.tried)):
            trial = self._compared(base, intervention, criterion, self.seeds(2 * len(first)), refused, sure)
        return replace(trial, seconds=time.perf_counter() - start)

    def unseen(self) -> Intervention:
        """What both sides of a trial have where the fix chooses by validation rows: other rows to be scored on."""
        half = self.settings.validation / 2
        return Intervention({"validation": half, "test": half}, "")

    def permutation(self, seeds: Sequence[int] | None = None, epochs: int = 10) -> Trial:
        """Train a sound network on the targets as they are, and on the same targets dealt out anew.

        ``before`` are the losses on the targets as they are. Confirmed: they are no better than those on shuffled
        targets (R. Ojala and G. Garriga, Permutation tests for studying classifier performance, 2010), although
        the experiment is fine enough (``FINE``) to have shown a difference. The targets are dealt anew for every
        seed, and seeds are added until it is that fine, or there is no time.
        """
        start = time.perf_counter()
        sound = {**SOUND, "epochs": min(epochs, max(self.settings.epochs, 1))}
        count = len(self.seeds() if seeds is None else seeds)
        while True:
            chosen = self.seeds(count) if seeds is None else tuple(seeds)
            real = self.run([sound], chosen)[0]
            dealt = tuple(self.run([sound | {"shuffle_targets": seed}], [seed])[0][0] for seed in chosen)
            sides = [
                tuple(math.inf if o is None else o.score("loss") for o in side) for side in (real, dealt)
            ]
            constant = next((o.constant["loss"] for o in real if o is not None), math.nan)
            differences = (np.asarray(sides[1]) - np.asarray(sides[0])) / constant
            noise, gain = chance(differences), float(differences.mean())
            fine = noise <= FINE or not math.isfinite(noise) or count >= MOST_DEALS
            if fine or seeds is not None or not self.clock.allows(self.seconds(sound, 2 * count)):
                break
            count *= 2
        alike = gain <= max(noise, 0.01) and noise <= FINE
        seeds, seconds = chosen, time.perf_counter() - start
        return Trial(
            seeds,
            "loss",
            sides[0],
            sides[1],
            alike,
            seconds,
            "lower",
            "proof",
            constant,
            gain,
            noise,
            ("on the targets as they are", "on targets dealt anew"),
        )

    # --- training ----------------------------------------------------------------------------------------

    def _made(self, options: Mapping[str, Any]) -> Variant | None:
        try:
            return make_variant(self.settings, options)
        except (InputError, GraphError):
            return None

    def _resolved(self, variant: Variant, seed: int) -> Variant:
        """``variant`` with the names of the inputs that are uninformative by the training rows of ``seed``."""
        if "drop_uninformative" not in variant.actions:
            return variant
        actions = {name: value for name, value in variant.actions.items() if name != "drop_uninformative"}
        names = uninformative_in(self.dataset, replace(variant.settings, seed=seed))
        return replace(variant, actions=actions | {"drop_inputs": names})

    def _train(self, group: Sequence[tuple[tuple[str, int], Variant]]) -> None:
        actions = group[0][1].actions
        options = [_options(variant.settings) | {"seed": name[1]} for name, variant in group]
        start = time.perf_counter()
        try:
            dataset = transformed(self.dataset, actions)
            runs = train_many(
                dataset,
                options,
                sample_weight=self.given.sample_weight,
                class_weight=actions.get("class_weight", self.given.class_weight),
            )
        except (InputError, GraphError):
            if len(group) == 1:
                self._known[group[0][0]] = None
            else:  # the others may be fine
                for entry in group:
                    self._train([entry])
            return
        if len(runs) < len(group) or any(run.status == "interrupted" for run in runs):
            raise KeyboardInterrupt
        for (name, _), run in zip(group, runs, strict=True):
            self._known[name] = self._outcome(run, dataset, repr(sorted(actions.items())))
        self.count += len(runs)
        compiling = sum(run.seconds_compiling for run in runs)
        if compiling > 0.05:
            self.seconds_compiling = compiling
        work = sum(self._work(variant) for _, variant in group)
        if work >= len(group) / 2:  # much shorter runs say little: what is the same in all of them outweighs
            found = max(time.perf_counter() - start - compiling, 1e-3) / work
            change = found / self.seconds_per_run if self.seconds_per_run > 0 else 1.0
            self.seconds_per_run *= math.sqrt(min(max(change, 0.25), 4.0))

    def _work(self, variant: Variant) -> float:
        """The work of a run of ``variant``, in runs of the settings."""
        one, other = (
            max(settings.epochs, 1)
            * (STEP_WORK / settings.batch_size + SWEEPS * self._multiplications(settings))
            for settings in (self.settings, variant.settings)
        )
        return other / one

    @cached_property
    def _outputs(self) -> int:
        return len(np.unique(self.dataset.targets)) if self.dataset.classification else 1

    def _multiplications(self, settings: Settings) -> int:
        """About so many for a row, forward; of networks given layer by layer what the usual layers would take."""
        layers = DEFAULTS["layers"] if settings.network is not None else settings.layers
        sizes = (math.prod(self.dataset.features.shape[1:]), *layers, self._outputs)
        return sum(before * after for before, after in pairwise(sizes))

    def _outcome(self, run: Run, dataset: Dataset, actions: str) -> Outcome:
        validation = dict(run.metrics["test" if run.settings.test else "validation"])
        features, encoded = scored_rows(run, dataset)
        if run.model.schema.classes is not None:
            validation |= further_scores(run.model, features, encoded)
        else:
            validation |= scores_as_labels(run.model, features, encoded)
        key = f"{run.model.loss!r} {actions}"
        if key not in self._constants:
            self._constants[key] = constant_scores(run.model.loss, run.model.schema, encoded)
        return Outcome(
            run.settings.seed,
            run.status,
            run.metrics["train"],
            validation,
            self._constants[key],
            tuple(run.history),
            run.steps,
        )

    # --- comparing ---------------------------------------------------------------------------------------

    def _compared(
        self,
        base: Mapping[str, Any],
        intervention: Intervention,
        criterion: Criterion,
        seeds: tuple[int, ...],
        refused: bool,
        sure: bool,
    ) -> Trial:
        changed = {**base, **intervention.tried}
        wanted = [changed] if refused else [changed, base]
        after, *rest = self.run(wanted, seeds)
        before: Outcomes = rest[0] if rest else (None,) * len(seeds)
        measures = self._measures(base, changed, criterion, refused)
        scored = (scored_trial(before, after, criterion, seeds, measure, sure) for measure in measures)
        trials = [trial for trial in scored if trial is not None]
        if measures == ("loss",) and says_nothing(trials[0]) and self.dataset.classification:
            trials += [scored_trial(before, after, criterion, seeds, "accuracy", sure) or trials[0]]
        return next((trial for trial in trials if trial.confirmed), trials[0])

    def _measures(
        self, base: Mapping[str, Any], changed: Mapping[str, Any], criterion: Criterion, refused: bool
    ) -> tuple[str, ...]:
        """What both sides can be compared by, the first one first: losses of two kinds are not comparable."""
        if criterion.measure is not None:
            return (criterion.measure,)
        classification = changed.get("task", self.dataset.classification) in (True, "classification")
        sides = [self._made(options) for options in (base, changed)]
        losses = {None if side is None else _loss_name(side.settings) for side in sides}
        same = len(losses) == 1 and not {"task", "class_weight"} & set(changed)
        if same and not refused:
            return ("loss",)
        return ("accuracy", "nll") if classification else ("rmse",)


def _options(settings: Settings) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings) if item.init}


def _loss_name(settings: Settings) -> str:
    return "auto" if settings.loss == "auto" else repr(LOSSES.make(settings.loss))
