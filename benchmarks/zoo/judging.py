"""What a diagnosis of a case was worth: the kinds it named, and whether its cure helps on rows it never saw."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

import glassgrad as gg
from glassgrad.common.errors import GlassgradError
from glassgrad.data.dataset import Dataset
from glassgrad.diagnosis.diagnose import diagnose
from glassgrad.diagnosis.findings import Fault
from glassgrad.diagnosis.kinds import KINDS
from glassgrad.diagnosis.variants import apply, transformed
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
    cure = None
    if (
        named is not None
        and KINDS[named.kind].effect in ("improves", "lowers")
        and named.prescription is not None
    ):
        cure = _cured(case.sample, options, named)
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
        "cure": cure,
        "seconds": round(seconds, 2),
    }


def _cured(sample: Sample, options: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """Mean test scores (an error: less is better) on fresh seeds, without the cure and with it."""
    assert fault.prescription is not None
    whole = _joined(sample)
    settings = make_settings(options | {"force": True})
    sides = []
    for changes in ({}, dict(fault.prescription.options)):
        scores = []
        for seed in FRESH:
            try:
                variant = apply(settings, changes)
                data = transformed(whole, variant.actions)
                data = _cut(data, len(sample.seen.targets))
                chosen = {item: getattr(variant.settings, item) for item in _NAMES} | {"seed": seed}
                weights = variant.actions.get("class_weight")
                run = gg.train(data, class_weight=weights, **chosen)
                scores.append(_error(run, fault.kind))
            except GlassgradError:
                scores.append(math.inf)
        sides.append(float(np.mean(scores)))
    wanted = KINDS[fault.kind].effect
    before, after = sides
    helped = after < before if wanted == "improves" else after > before
    return {
        "changes": str(dict(fault.prescription.options)),
        "before": before,
        "after": after,
        "helped": bool(helped),
    }


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


def _error(run: Any, kind: str) -> float:
    if run.status == "diverged":
        return math.inf
    found = run.metrics["test"]
    if kind == "class_imbalance":
        wrong = []
        predicted = run.model.predict(np.asarray(run.dataset.test_features))
        for label in np.unique(run.dataset.test_targets):
            rows = run.dataset.test_targets == label
            wrong.append(float(np.mean(predicted[rows] != label)))
        return float(np.mean(wrong))
    if "accuracy" in found:
        return float(1 - found["accuracy"]) + 1e-3 * min(float(found["loss"]), 1e3)  # the loss breaks ties
    value = float(found["rmse"])
    return value if math.isfinite(value) else math.inf
