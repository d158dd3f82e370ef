"""What a diagnosis of a case was worth: the kinds it named, and whether its fix helps on rows it never saw."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

import glassgrad as gg
from glassgrad.common.errors import GlassgradError
from glassgrad.data.dataset import Dataset
from glassgrad.diagnosis.core.findings import Fault
from glassgrad.diagnosis.core.scores import further_scores, scores_as_labels
from glassgrad.diagnosis.core.variants import make_variant, transformed
from glassgrad.diagnosis.diagnose import diagnose
from glassgrad.diagnosis.kinds import KINDS
from glassgrad.training.settings import make_settings
from zoo.data import Sample
from zoo.recipes import Case

FRESH = (70_001, 70_002, 70_003)  # seeds that no diagnosis uses


def examine(case: Case, budget: float) -> dict[str, Any]:
    """One line of the results."""
    options = {name: value for name, value in case.options.items() if name != "force"}
    start = time.perf_counter()
    found = diagnose(case.sample.seen, budget=budget, **options)
    seconds = time.perf_counter() - start
    faults = [fault for fault in found.faults if fault.verdict == "fault"]
    named = found.named
    fix = None
    if (
        named is not None
        and KINDS[named.kind].effect in ("improves", "lowers")
        and named.prescription is not None
    ):
        fix = _fixed(case.sample, options, named)
    return {
        "case": case.name,
        "planted": case.planted,
        "recipe": case.recipe,
        "data": case.data,
        "seed": case.seed,
        "named": None if named is None else named.kind,
        "faults": [fault.kind for fault in faults],
        "warnings": [fault.kind for fault in found.faults if fault.verdict == "warning"],
        "suspected": [fault.kind for fault in found.faults],
        "cure": fix,
        "harm": None if case.planted is None else harm_of(case),
        "seconds": round(seconds, 2),
    }


def harm_of(case: Case) -> dict[str, Any] | None:
    """Mean test scores (less is better) on fresh seeds with what is planted, and without: ``harmful`` if it is worse.

    None where the network without it is not known. By this alone, whatever a diagnosis says, plants that do no harm
    are told apart.
    """
    if case.layers is None:
        return None
    planted = {name: value for name, value in case.options.items() if name != "force"}
    sides = [_scores(case.sample, options, {}, "") for options in (planted, {"layers": case.layers})]
    measure = _measure(sides)
    before, after = _means(sides, measure)
    return {"measure": measure, "planted": before, "without": after, "harmful": bool(after < before)}


def _fixed(sample: Sample, options: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """Mean test scores (less is better) on fresh seeds, without the fix and with it."""
    assert fault.prescription is not None
    assert fault.trial is not None
    sides = [
        _scores(sample, options, changes, fault.kind) for changes in ({}, dict(fault.prescription.options))
    ]
    wanted = KINDS[fault.kind].effect
    measure = "wrong" if fault.trial.measure == "accuracy" else _measure(sides)
    before, after = _means(sides, measure)
    helped = after < before if wanted == "improves" else after > before
    return {
        "changes": str(dict(fault.prescription.options)),
        "measure": measure,
        "before": before,
        "after": after,
        "helped": bool(helped),
    }


def _scores(
    sample: Sample, options: dict[str, Any], changes: dict[str, Any], kind: str
) -> list[dict[str, float]]:
    """The errors on the test rows, by fresh seed; none of a run that breaks off or is refused."""
    whole = _joined(sample)
    settings = make_settings(options | {"force": True})
    scores: list[dict[str, float]] = []
    for seed in FRESH:
        try:
            variant = make_variant(settings, changes)
            data = transformed(whole, variant.actions)
            data = _cut(data, len(sample.seen.targets))
            chosen = {item: getattr(variant.settings, item) for item in _NAMES} | {"seed": seed}
            weights = variant.actions.get("class_weight")
            run = gg.train(data, class_weight=weights, **chosen)
            scores.append(_errors(run, kind))
        except GlassgradError:
            scores.append({})
    return scores


def _means(sides: list[list[dict[str, float]]], measure: str) -> tuple[float, float]:
    before, after = (float(np.mean([score.get(measure, math.inf) for score in side])) for side in sides)
    return before, after


def _measure(sides: list[list[dict[str, float]]]) -> str:
    """The first score that both sides have, on every seed that did not break off."""
    ended = [[score for score in side if score] for side in sides]
    for side in ended[::-1]:
        for name in side[0] if side else ():
            if all(name in score for other in ended for score in other):
                return name
    return "none"


_NAMES = [name for name in gg.Settings.__dataclass_fields__ if name not in ("made", "seed")]


def _joined(sample: Sample) -> Dataset:
    """Both parts in one, so that a change of the data reaches both."""
    features = np.concatenate([np.asarray(sample.seen.features), np.asarray(sample.test.features)])
    targets = np.concatenate([sample.seen.targets, sample.test.targets])
    task = "classification" if sample.seen.classification else "regression"
    return gg.from_arrays(features, targets, name=sample.seen.name, task=task)


def _cut(data: Dataset, seen: int) -> Dataset:
    task = "classification" if data.classification else "regression"
    features = np.asarray(data.features)
    return gg.from_arrays(
        features[:seen],
        data.targets[:seen],
        name=data.name,
        task=task,
        test_features=features[seen:],
        test_targets=data.targets[seen:],
    )


def _errors(run: Any, kind: str) -> dict[str, float]:
    """Test scores of which less is better, the one to judge by first: the loss (of classes the negative
    log-likelihood, of probabilities), then the share of mistakes."""
    if run.status == "diverged":
        return {}
    found = run.metrics["test"]
    features, targets = run.task.parts.test
    if not run.dataset.classification:
        labels = scores_as_labels(run.model, features, targets)
        wrong = {"wrong": 1 - labels["accuracy"]} if labels else {}
        return (
            {"rmse": float(found["rmse"])} | {name: labels[name] for name in labels if name == "nll"} | wrong
        )
    further = further_scores(run.model, features, targets)
    if kind == "class_imbalance":
        return {"balanced": 1 - further["balanced_accuracy"]}
    return {name: further[name] for name in ("nll",) if name in further} | {"wrong": 1 - found["accuracy"]}
