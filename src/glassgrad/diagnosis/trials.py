"""Trials: the network trained again with a change, on fresh seeds, against the network without it.

Both sides share their seeds, and with them the rows and, as far as they have the same shapes, the first weights:
what differs is the change. Scores are those of validation rows; test rows are held out before anything begins.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from glassgrad.common.cached import cached_property
from glassgrad.common.errors import GraphError, InputError
from glassgrad.data.dataset import Dataset
from glassgrad.diagnosis.baseline import constant_scores
from glassgrad.diagnosis.budget import Clock
from glassgrad.diagnosis.findings import Better, Change, Trial
from glassgrad.diagnosis.idle_inputs import idle_of
from glassgrad.diagnosis.judging import HIGHER, chance, judged
from glassgrad.diagnosis.kinds import GAIN, KINDS, Effect
from glassgrad.diagnosis.scores import further_scores, scored_rows, scores_as_labels
from glassgrad.diagnosis.variants import Variant, apply, transformed
from glassgrad.nn.losses import LOSSES
from glassgrad.training.fit import Run
from glassgrad.training.given import Given
from glassgrad.training.many import train_many
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
    "drop_idle",
    "task",
    "class_weight",
}


@dataclass(frozen=True)
class Outcome:
    """What a run of a trial came to. ``validation`` and ``training`` hold its scores by name; of a run that has test
    rows, ``validation`` are those of these.

    ``constant`` holds the scores of the best constant prediction.
    """

    seed: int
    status: str
    training: Mapping[str, float]
    validation: Mapping[str, float]
    constant: Mapping[str, float] = field(repr=False)
    history: Sequence[Mapping[str, float | int]] = field(repr=False)
    steps: int

    @property
    def diverged(self) -> bool:
        """Whether it met NaN or Inf."""
        return self.status == "diverged"

    def score(self, measure: str) -> float:
        """The validation score; the worst there is where the run diverged."""
        value = self.validation.get(measure, math.nan)
        if self.diverged or not math.isfinite(value):
            return -math.inf if measure in HIGHER else math.inf
        return value


Outcomes = tuple[Outcome | None, ...]

FINE = 0.1
MOST_DEALS = 40
"""Targets are dealt anew up to so many times, until chance may be no more than this share of the constant loss."""

WILD = 0.5
"""Of a loss that varies by this share of the gap with the seed, accuracy is asked besides."""


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
        """Every variant (options, see ``variants.apply``) on every seed; None where ``train`` refuses it.

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
        change: Change,
        kind: str,
        seeds: Sequence[int] | None = None,
        *,
        onto: Change | None = None,
        refused: bool = False,
        sure: bool = False,
    ) -> Trial:
        """Try ``change`` as the cure of ``kind``: the same seeds without it and with it.

        ``onto`` is a change that both sides have; ``refused``: the network as given cannot be trained at all, and
        counts as worse than anything; ``sure``: the mechanism was measured beyond doubt. See ``judging.judged`` for
        what confirms it. Where that is a close thing, as many seeds again are added, if there is time: the first cure
        of several that seems to help may do so by luck.
        """
        start = time.perf_counter()
        first = self.seeds() if seeds is None else tuple(seeds)
        base = {} if onto is None else dict(onto.options)
        trial = self._compared(base, change, kind, first, refused, sure)
        if seeds is None and _close(trial) and self.clock.allows(2 * self.seconds(change.tried)):
            trial = self._compared(base, change, kind, self.seeds(2 * len(first)), refused, sure)
        return replace(trial, seconds=time.perf_counter() - start)

    def unseen(self) -> Change:
        """What both sides of a trial have where the change chooses by validation rows: other rows to be scored on."""
        half = self.settings.validation / 2
        return Change({"validation": half, "test": half}, "")

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
            return apply(self.settings, options)
        except (InputError, GraphError):
            return None

    def _resolved(self, variant: Variant, seed: int) -> Variant:
        """``variant`` with the idle inputs by name that a run with ``seed`` finds in its own training rows."""
        if "drop_idle" not in variant.actions:
            return variant
        actions = {name: value for name, value in variant.actions.items() if name != "drop_idle"}
        idle = idle_of(self.dataset, replace(variant.settings, seed=seed))
        return replace(variant, actions=actions | {"drop_inputs": idle})

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
        sizes = (math.prod(self.dataset.features.shape[1:]), *settings.layers, self._outputs)
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
        change: Change,
        kind: str,
        seeds: tuple[int, ...],
        refused: bool,
        sure: bool,
    ) -> Trial:
        changed = {**base, **change.tried}
        wanted = [changed] if refused else [changed, base]
        after, *rest = self.run(wanted, seeds)
        before: Outcomes = rest[0] if rest else (None,) * len(seeds)
        measures = self._measures(base, changed, kind, refused)
        scored = (_scored(before, after, kind, seeds, measure, sure) for measure in measures)
        found = [trial for trial in scored if trial is not None]
        if measures == ("loss",) and _says_nothing(found[0]) and self.dataset.classification:
            found += [_scored(before, after, kind, seeds, "accuracy", sure) or found[0]]
        return next((trial for trial in found if trial.confirmed), found[0])

    def _measures(
        self, base: Mapping[str, Any], changed: Mapping[str, Any], kind: str, refused: bool
    ) -> tuple[str, ...]:
        """What both sides can be compared by, the first one first: losses of two kinds are not comparable."""
        wanted = KINDS[kind].measure
        if wanted is not None:
            return (wanted,)
        classification = changed.get("task", self.dataset.classification) in (True, "classification")
        sides = [self._made(options) for options in (base, changed)]
        losses = {None if side is None else _loss_name(side.settings) for side in sides}
        same = len(losses) == 1 and not {"task", "class_weight"} & set(changed)
        if same and not refused:
            return ("loss",)
        return ("accuracy", "nll") if classification else ("rmse",)


def _scored(
    before: Outcomes, after: Outcomes, kind: str, seeds: tuple[int, ...], measure: str, sure: bool
) -> Trial | None:
    """The trial by one measure; None for probabilities that one side does not have."""
    better: Better = "higher" if measure in HIGHER else "lower"
    bad = -math.inf if better == "higher" else math.inf
    one, other = (tuple(bad if o is None else o.score(measure) for o in side) for side in (before, after))
    if measure == "nll" and not np.isfinite((*one, *other)).all():
        return None
    known = [o.constant[measure] for o in (*after, *before) if o is not None and measure in o.constant]
    constant = known[0] if known else math.nan
    effect: Effect = KINDS[kind].effect
    options: dict[str, Any] = {"least": KINDS[kind].gain, "relief": KINDS[kind].relief, "sure": sure}
    gain, noise, confirmed = judged(one, other, constant, better=better, effect=effect, **options)
    return Trial(seeds, measure, one, other, confirmed, 0.0, better, effect, constant, gain, noise)


def _says_nothing(trial: Trial) -> bool:
    """Whether the score is no measure here: neither side beats a constant guess, or chance may be half of the gap.

    A few rows that a network is sure of and wrong about make a loss that hides what it gets right.
    """
    return not trial.noise < WILD


def _close(trial: Trial) -> bool:
    """Whether more seeds could still confirm it, or refute it."""
    return (
        trial.effect == "improves" and trial.gain >= GAIN and trial.noise / 3 < trial.gain < 3 * trial.noise
    )


def _options(settings: Settings) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings) if item.init}


def _loss_name(settings: Settings) -> str:
    return "auto" if settings.loss == "auto" else repr(LOSSES.make(settings.loss))
