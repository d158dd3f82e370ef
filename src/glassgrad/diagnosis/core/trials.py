"""Trials: the network trained with a change and without it, on the same fresh seeds.

Both sides share their seeds, and so their splits and, where shapes agree, their initial weights: only the change
differs. Scores are those of validation rows; test rows are held out from the beginning.
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
from glassgrad.diagnosis.core.outcomes import Outcome, Outcomes, is_close, is_uninformative, scored_trial
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
"""A trial uses ``SEEDS`` seeds if one side costs at most this share of the budget, else ``FEWEST_SEEDS``."""

FIRST_SEED = 1001
"""First seed of trials; the examined run and most users use smaller seeds."""

VALIDATION_ROWS = 2000
LARGEST_VALIDATION = 0.25
"""Trials validate on at least ``VALIDATION_ROWS`` rows, or ``LARGEST_VALIDATION`` of the rows if that is fewer."""

COMPILING = 0.7
"""Initial estimate of the seconds to compile a network; replaced by the measured time."""

STEP_WORK = 100_000
SWEEPS = 3
"""A step costs ``STEP_WORK`` multiplications, plus ``SWEEPS`` passes over its rows: forward, backward to the weights,
and backward to the inputs."""

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
"""A robust configuration that learns from any learnable table, independent of the user's settings."""

NEEDS_COMPILING = {item for item in SOUND if item not in ("keep", "init", "learning_rate", "schedule")} | {
    "momentum",
    "weight_decay",
    "dropout",
    "dtype",
    "drop_inputs",
    "drop_uninformative",
    "task",
    "class_weight",
}
"""Changes of these names compile a new program."""


FINE = 0.1
MOST_SHUFFLES = 40
"""The permutation test shuffles the targets up to ``MOST_SHUFFLES`` times, until the noise is at most the share
``FINE`` of the baseline's loss."""


class Trials:
    """Trains variants of ``settings`` on ``given``, each variant and seed once."""

    def __init__(self, given: Given, settings: Settings, clock: Clock, seconds: float) -> None:
        """``given`` has no test rows; ``seconds`` is the expected duration of one run of ``settings``."""
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
        self._outcomes: dict[tuple[str, int], Outcome | None] = {}
        self._constants: dict[str, dict[str, float]] = {}

    @property
    def dataset(self) -> Dataset:
        """The dataset that trials train and score on."""
        return self.given.dataset

    def seeds(self, count: int | None = None) -> tuple[int, ...]:
        """The first ``count`` seeds of trials: by default five, or three if a run takes long."""
        if count is None:
            count = SEEDS if self.seconds_per_run * SEEDS <= CHEAP * self.clock.budget else FEWEST_SEEDS
        return tuple(range(self._first_seed, self._first_seed + count))

    def run(
        self, variants: Sequence[Mapping[str, Any]], seeds: Sequence[int] | None = None
    ) -> list[Outcomes]:
        """The outcomes of every variant on every seed; None where ``train`` refuses it.

        ``variants`` are options for ``variants.make_variant``. New runs are trained together, and variants that
        differ only in numbers share a compiled program.
        """
        seeds = self.seeds() if seeds is None else tuple(seeds)
        resolved = [self._variant(options) for options in variants]
        pending: dict[tuple[str, int], Variant] = {}
        for variant in resolved:
            if variant is not None:
                keys = [(variant.key, seed) for seed in seeds]
                pending |= {key: variant for key in keys if key not in self._outcomes}
        groups: dict[str, list[tuple[tuple[str, int], Variant]]] = {}
        for key, unresolved in pending.items():
            variant = self._resolved(unresolved, key[1])
            groups.setdefault(repr(sorted(variant.actions.items())), []).append((key, variant))
        for group in groups.values():
            self._train(group)
        return [tuple(None if v is None else self._outcomes[v.key, seed] for seed in seeds) for v in resolved]

    def known(self, options: Mapping[str, Any], seeds: Sequence[int]) -> list[Outcome]:
        """The outcomes of a variant on those of ``seeds`` that were trained already; trains nothing."""
        variant = self._variant(options)
        outcomes = [] if variant is None else [self._outcomes.get((variant.key, seed)) for seed in seeds]
        return [outcome for outcome in outcomes if outcome is not None]

    def seconds(self, options: Mapping[str, Any], count: int | None = None) -> float:
        """The expected seconds to train a variant on ``count`` seeds."""
        variant = self._variant(options)
        if variant is None:
            return 0.0
        count = len(self.seeds()) if count is None else count
        compiling = self.seconds_compiling if NEEDS_COMPILING & set(options) else 0.05
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
        """Try ``intervention`` as a fix: train without it and with it, on the same seeds.

        ``criterion`` (for example a ``Kind``) says what confirms the fix, see ``judging.judged``. ``onto`` is an
        intervention on both sides. ``refused`` means that the user's network cannot be trained at all; it counts as
        worse than any other. ``sure`` means that the mechanism was measured beyond doubt. If the result is close and
        time is left, the number of seeds is doubled, because the first fix that seems to help may do so by luck.
        """
        start = time.perf_counter()
        first = self.seeds() if seeds is None else tuple(seeds)
        base = {} if onto is None else dict(onto.options)
        trial = self._compared(base, intervention, criterion, first, refused, sure)
        if seeds is None and is_close(trial) and self.clock.allows(2 * self.seconds(intervention.tried)):
            trial = self._compared(base, intervention, criterion, self.seeds(2 * len(first)), refused, sure)
        return replace(trial, seconds=time.perf_counter() - start)

    def split_validation(self) -> Intervention:
        """The base change for a fix that selects by validation rows: half of them become test rows for scoring."""
        half = self.settings.validation / 2
        return Intervention({"validation": half, "test": half}, "")

    def permutation(self, seeds: Sequence[int] | None = None, epochs: int = 10) -> Trial:
        """Train the configuration ``SOUND`` on the original targets and on shuffled targets.

        ``before`` holds the losses on the original targets, ``after`` those on shuffled ones. The trial is confirmed
        if the former are no better (R. Ojala and G. Garriga, Permutation tests for studying classifier performance,
        2010) although the noise is small enough (``FINE``) to show a difference. Each seed shuffles the targets in
        its own way. Seeds are added until the noise is small enough or no time is left.
        """
        start = time.perf_counter()
        sound = {**SOUND, "epochs": min(epochs, max(self.settings.epochs, 1))}
        count = len(self.seeds() if seeds is None else seeds)
        while True:
            chosen = self.seeds(count) if seeds is None else tuple(seeds)
            original = self.run([sound], chosen)[0]
            shuffled = tuple(self.run([sound | {"shuffle_targets": seed}], [seed])[0][0] for seed in chosen)
            sides = [
                tuple(math.inf if o is None else o.score("loss") for o in side)
                for side in (original, shuffled)
            ]
            constant = next((o.constant["loss"] for o in original if o is not None), math.nan)
            differences = (np.asarray(sides[1]) - np.asarray(sides[0])) / constant
            noise, gain = chance(differences), float(differences.mean())
            fine = noise <= FINE or not math.isfinite(noise) or count >= MOST_SHUFFLES
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
            ("on the original targets", "on shuffled targets"),
        )

    # --- training ----------------------------------------------------------------------------------------

    def _variant(self, options: Mapping[str, Any]) -> Variant | None:
        """The variant of ``options``; None if they are invalid."""
        try:
            return make_variant(self.settings, options)
        except (InputError, GraphError):
            return None

    def _resolved(self, variant: Variant, seed: int) -> Variant:
        """``variant``, with ``drop_uninformative`` replaced by the names found in the training rows of ``seed``."""
        if "drop_uninformative" not in variant.actions:
            return variant
        actions = {name: value for name, value in variant.actions.items() if name != "drop_uninformative"}
        names = uninformative_in(self.dataset, replace(variant.settings, seed=seed))
        return replace(variant, actions=actions | {"drop_inputs": names})

    def _train(self, group: Sequence[tuple[tuple[str, int], Variant]]) -> None:
        actions = group[0][1].actions
        options = [_options(variant.settings) | {"seed": key[1]} for key, variant in group]
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
                self._outcomes[group[0][0]] = None
            else:  # Train one by one: only some members of the group may be invalid.
                for entry in group:
                    self._train([entry])
            return
        if len(runs) < len(group) or any(run.status == "interrupted" for run in runs):
            raise KeyboardInterrupt
        for (key, _), run in zip(group, runs, strict=True):
            self._outcomes[key] = self._outcome(run, dataset, repr(sorted(actions.items())))
        self.count += len(runs)
        compiling = sum(run.seconds_compiling for run in runs)
        if compiling > 0.05:
            self.seconds_compiling = compiling
        work = sum(self._work(variant) for _, variant in group)
        if work >= len(group) / 2:  # In much shorter runs, fixed costs dominate the time.
            measured = max(time.perf_counter() - start - compiling, 1e-3) / work
            change = measured / self.seconds_per_run if self.seconds_per_run > 0 else 1.0
            self.seconds_per_run *= math.sqrt(min(max(change, 0.25), 4.0))

    def _work(self, variant: Variant) -> float:
        """The work of a run of ``variant``, in units of a run of ``self.settings``."""
        base, changed = (
            max(settings.epochs, 1)
            * (STEP_WORK / settings.batch_size + SWEEPS * self._multiplications(settings))
            for settings in (self.settings, variant.settings)
        )
        return changed / base

    @cached_property
    def _outputs(self) -> int:
        return len(np.unique(self.dataset.targets)) if self.dataset.classification else 1

    def _multiplications(self, settings: Settings) -> int:
        """Approximate multiplications per row, forward; a custom network counts as the default layers."""
        layers = DEFAULTS["layers"] if settings.network is not None else settings.layers
        sizes = (math.prod(self.dataset.features.shape[1:]), *layers, self._outputs)
        return sum(fan_in * fan_out for fan_in, fan_out in pairwise(sizes))

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
        variants = [changed] if refused else [changed, base]
        after, *rest = self.run(variants, seeds)
        before: Outcomes = rest[0] if rest else (None,) * len(seeds)
        measures = self._measures(base, changed, criterion, refused)
        scored = (scored_trial(before, after, criterion, seeds, measure, sure) for measure in measures)
        trials = [trial for trial in scored if trial is not None]
        if measures == ("loss",) and is_uninformative(trials[0]) and self.dataset.classification:
            trials += [scored_trial(before, after, criterion, seeds, "accuracy", sure) or trials[0]]
        return next((trial for trial in trials if trial.confirmed), trials[0])

    def _measures(
        self, base: Mapping[str, Any], changed: Mapping[str, Any], criterion: Criterion, refused: bool
    ) -> tuple[str, ...]:
        """The measures that can compare both sides, the preferred one first. Different losses are not comparable."""
        if criterion.measure is not None:
            return (criterion.measure,)
        classification = changed.get("task", self.dataset.classification) in (True, "classification")
        sides = [self._variant(options) for options in (base, changed)]
        losses = {None if side is None else _loss_name(side.settings) for side in sides}
        same_loss = len(losses) == 1 and not {"task", "class_weight"} & set(changed)
        if same_loss and not refused:
            return ("loss",)
        return ("accuracy", "nll") if classification else ("rmse",)


def _options(settings: Settings) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings) if item.init}


def _loss_name(settings: Settings) -> str:
    return "auto" if settings.loss == "auto" else repr(LOSSES.make(settings.loss))
