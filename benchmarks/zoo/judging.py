"""Judge the diagnosis of a case: the kinds that it named, and whether its fix helps on unseen rows."""

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

NEW_SEEDS = (70_001, 70_002, 70_003)  # seeds that no diagnosis uses


def examine(case: Case, budget: float) -> dict[str, Any]:
    """Diagnose ``case`` within ``budget`` seconds. Returns one line of the results."""
    options = {name: value for name, value in case.options.items() if name != "force"}
    start = time.perf_counter()
    diagnosis = diagnose(case.sample.seen, budget=budget, **options)
    seconds = time.perf_counter() - start
    faults = [fault for fault in diagnosis.faults if fault.verdict == "fault"]
    named = diagnosis.named
    fix = None
    if (
        named is not None
        and KINDS[named.kind].effect in ("improves", "lowers")
        and named.prescription is not None
    ):
        fix = _judge_fix(case.sample, options, named)
    return {
        "case": case.name,
        "planted": case.planted,
        "recipe": case.recipe,
        "data": case.data,
        "seed": case.seed,
        "named": None if named is None else named.kind,
        "faults": [fault.kind for fault in faults],
        "warnings": [fault.kind for fault in diagnosis.faults if fault.verdict == "warning"],
        "suspected": [fault.kind for fault in diagnosis.faults],
        "cure": fix,
        "harm": None if case.planted is None else harm_of(case),
        "seconds": round(seconds, 2),
    }


def harm_of(case: Case) -> dict[str, Any] | None:
    """Mean test scores (lower is better) with and without the planted fault, on new seeds.

    The fault is ``harmful`` if the score is better without it; the diagnosis plays no part in this. None if the
    network without the fault is not known.
    """
    if case.layers is None:
        return None
    planted = {name: value for name, value in case.options.items() if name != "force"}
    sides = [_scores(case.sample, options, {}, "") for options in (planted, {"layers": case.layers})]
    measure = _measure(sides)
    before, after = _means(sides, measure)
    return {"measure": measure, "planted": before, "without": after, "harmful": bool(after < before)}


def _judge_fix(sample: Sample, options: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """Mean test scores (lower is better) without and with the fix, on new seeds."""
    assert fault.prescription is not None
    assert fault.trial is not None
    sides = [
        _scores(sample, options, changes, fault.kind) for changes in ({}, dict(fault.prescription.options))
    ]
    effect = KINDS[fault.kind].effect
    measure = "wrong" if fault.trial.measure == "accuracy" else _measure(sides)
    before, after = _means(sides, measure)
    helped = after < before if effect == "improves" else after > before
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
    """The errors on the test rows for each new seed; an empty entry if the run diverges or is refused."""
    all_rows = _joined(sample)
    settings = make_settings(options | {"force": True})
    scores: list[dict[str, float]] = []
    for seed in NEW_SEEDS:
        try:
            variant = make_variant(settings, changes)
            data = transformed(all_rows, variant.actions)
            data = _split(data, len(sample.seen.targets))
            train_options = {item: getattr(variant.settings, item) for item in _NAMES} | {"seed": seed}
            weights = variant.actions.get("class_weight")
            run = gg.train(data, class_weight=weights, **train_options)
            scores.append(_errors(run, kind))
        except GlassgradError:
            scores.append({})
    return scores


def _means(sides: list[list[dict[str, float]]], measure: str) -> tuple[float, float]:
    before, after = (float(np.mean([score.get(measure, math.inf) for score in side])) for side in sides)
    return before, after


def _measure(sides: list[list[dict[str, float]]]) -> str:
    """The first score that both sides have, on every seed that did not diverge."""
    finished = [[score for score in side if score] for side in sides]
    for side in finished[::-1]:
        for name in side[0] if side else ():
            if all(name in score for other_side in finished for score in other_side):
                return name
    return "none"


_NAMES = [name for name in gg.Settings.__dataclass_fields__ if name not in ("made", "seed")]


def _joined(sample: Sample) -> Dataset:
    """Seen and test rows in one data set, so that a change of the data applies to both."""
    features = np.concatenate([np.asarray(sample.seen.features), np.asarray(sample.test.features)])
    targets = np.concatenate([sample.seen.targets, sample.test.targets])
    task = "classification" if sample.seen.classification else "regression"
    return gg.from_arrays(features, targets, name=sample.seen.name, task=task)


def _split(data: Dataset, seen: int) -> Dataset:
    """``data`` with the rows after the first ``seen`` as its test rows."""
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
    """Test scores (lower is better), the preferred one first: the error or negative log-likelihood, then the
    share of mistakes. Empty if the run diverged."""
    if run.status == "diverged":
        return {}
    metrics = run.metrics["test"]
    features, targets = run.task.parts.test
    if not run.dataset.classification:
        labels = scores_as_labels(run.model, features, targets)
        wrong = {"wrong": 1 - labels["accuracy"]} if labels else {}
        return (
            {"rmse": float(metrics["rmse"])}
            | {name: labels[name] for name in labels if name == "nll"}
            | wrong
        )
    further = further_scores(run.model, features, targets)
    if kind == "class_imbalance":
        return {"balanced": 1 - further["balanced_accuracy"]}
    return {name: further[name] for name in ("nll",) if name in further} | {"wrong": 1 - metrics["accuracy"]}
