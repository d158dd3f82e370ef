"""The metrics of a model, computed from its outputs on the host, in float64."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.data.schema import Schema
from glassgrad.graph.node import Graph
from glassgrad.losses.base import Loss
from glassgrad.ops.op import constant

PARTS = ("train", "validation", "test")

LISTED_TARGETS = 20
"""A regression with more targets than this has only the averages over them."""


def metrics_of(
    loss: Loss, schema: Schema, outputs: Array, row_losses: Array, targets: Array
) -> dict[str, float]:
    """``loss`` (as trained), and ``accuracy``, or ``rmse``, ``mae`` and ``r2`` in the units of the targets.

    ``outputs`` are [rows, units], ``row_losses`` [rows], ``targets`` encoded as the loss takes them. All rows have
    equal weight, whatever their weights in training.

    With several targets, ``rmse``, ``mae`` and ``r2`` are means over the targets (scikit-learn's
    ``multioutput="uniform_average"``). The values of each target follow as ``r2[price]``, or as ``r2[0]`` if targets
    have no names. They are omitted for more than ``LISTED_TARGETS`` targets.

    R^2 is 1 - (squared error) / (squared distance from the mean of these rows). For a target that is constant in
    these rows, R^2 is 1 if all predictions are exact, else 0.
    """
    with np.errstate(all="ignore"):
        mean = float(np.mean(row_losses, dtype=np.float64))
        result = {"loss": finished(loss, mean)}
        if schema.classes is not None:
            result["accuracy"] = float(np.mean(loss.predicted_classes(outputs) == targets))
            return result
        predicted = schema.decode_outputs(quantities(loss, outputs)).reshape(len(outputs), -1)
        true = schema.decode_outputs(targets).reshape(len(outputs), -1)
        error = predicted - true
        square = np.mean(error**2, axis=0)
        by_name = {"rmse": np.sqrt(square), "mae": np.mean(np.abs(error), axis=0), "r2": _r2(true, square)}
        result |= {name: float(np.mean(values)) for name, values in by_name.items()}
        if 1 < len(square) <= LISTED_TARGETS:
            for number, target in enumerate(schema.output_names):
                result |= {f"{name}[{target}]": float(values[number]) for name, values in by_name.items()}
        return result


def rmse(predicted: Array, true: Array) -> float:
    """The root mean squared error of each target, averaged over the targets.

    ``true`` is [rows] or [rows, targets]; ``predicted`` has the same shape, or [targets] for a constant prediction.
    """
    error = (predicted - true).reshape(len(true), -1)
    return float(np.mean(np.sqrt(np.mean(error**2, axis=0))))


def _r2(true: Array, square: Array) -> Array:
    """R^2 of every target, from ``true`` [rows, targets] and the mean squared errors ``square`` [targets]."""
    spread = np.mean((true - true.mean(axis=0)) ** 2, axis=0)
    varies = true.max(axis=0) > true.min(
        axis=0
    )  # spread > 0 would be wrong: the mean of equal numbers can be inexact
    constant_target = np.where(square == 0, 1.0, 0.0)
    r2: Array = np.where(varies, 1 - square / np.where(varies, spread, 1.0), constant_target)
    return np.where(np.isnan(square), np.nan, r2)


def by_target(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """``metrics`` split into those over all targets, and those of each target by name."""
    overall: dict[str, float] = {}
    targets: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        name, bracket, target = key.partition("[")
        if bracket:
            targets.setdefault(target.removesuffix("]"), {})[name] = value
        else:
            overall[key] = value
    return overall, targets


def metrics_rows(
    metrics: Mapping[str, Mapping[str, Any]], rows: Mapping[str, int]
) -> list[tuple[list[str], list[list[Any]]]]:
    """``metrics`` by part as tables, each a header and lines. The first table has a line for each part.

    ``rows`` is the number of rows by part. With several targets, a second table has a line for each part and target.
    """
    parts = sorted(metrics, key=lambda part: PARTS.index(part) if part in PARTS else len(PARTS))
    overall: dict[str, dict[str, Any]] = {}
    targets: dict[str, dict[str, dict[str, Any]]] = {}
    for part in parts:
        overall[part], targets[part] = by_target(metrics[part])
    names = _all_keys(overall.values())
    tables = [
        (
            ["part", "rows", *names],
            [[part, rows.get(part), *(overall[part].get(name) for name in names)] for part in parts],
        )
    ]
    names = _all_keys(values for part in parts for values in targets[part].values())
    if names:
        lines = [
            [part, target, *(values.get(name) for name in names)]
            for part in parts
            for target, values in targets[part].items()
        ]
        tables.append((["part", "target", *names], lines))
    return tables


def _all_keys(dictionaries: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for dictionary in dictionaries for key in dictionary))


def finished(loss: Loss, mean: float) -> float:
    """The loss as a number, from the mean of the row losses (see ``Loss.finish``)."""
    if type(loss).finish is Loss.finish:
        return mean
    (value,) = evaluate(Graph((), (loss.finish(constant(mean, "float64")),)), [])
    return float(value)


def quantities(loss: Loss, outputs: Array) -> Array:
    """The predictions of a regression from its raw outputs, still scaled as the targets were."""
    with np.errstate(over="ignore"):
        return np.exp(outputs) if loss.expects in ("log_rates", "log_probabilities") else outputs
