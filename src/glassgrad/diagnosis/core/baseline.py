"""The best that can be done without looking at the inputs: one constant prediction for all rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.data.schema import Schema
from glassgrad.graph.node import Graph
from glassgrad.nn.loss import Loss
from glassgrad.ops.op import make_input
from glassgrad.training.metrics import finished

ROWS = 4000  # enough for a mean to 2 %


def constant_scores(loss: Loss, schema: Schema, targets: Array) -> dict[str, float]:
    """Scores of the best constant prediction, by the names that trials use.

    ``targets`` as the loss takes them (see ``Schema.encode_targets``). Gives ``loss`` always;
    ``accuracy``, ``balanced_accuracy``, ``nll`` and ``brier`` for classes; ``rmse`` in the targets' own units else.
    The loss is the least that any of a few constants reaches: class frequencies, mean, median, or what the loss's
    outputs mean (see ``_constants``).
    """
    scores = {"loss": _least_loss(loss, schema, targets)}
    if schema.classes is None:
        spread = np.sqrt(np.mean(np.var(schema.decode_outputs(targets).reshape(len(targets), -1), axis=0)))
        return scores | {"rmse": float(spread)}
    p = _frequencies(schema, targets)
    return scores | {
        "accuracy": float(p.max()),
        "balanced_accuracy": 1 / len(p),
        "nll": float(-(p[p > 0] * np.log(p[p > 0])).sum()),
        "brier": float(1 - (p**2).sum()),
    }


def left_of(metrics: Mapping[str, float], constant: Mapping[str, float]) -> float:
    """The share of the constant predictor's mistakes, or variance, that is left; NaN where it cannot be told."""
    if "accuracy" in metrics and "accuracy" in constant:
        return (1 - metrics["accuracy"]) / max(1 - constant["accuracy"], 1e-12)
    if "rmse" in metrics and constant.get("rmse", 0.0) > 0:
        return float((metrics["rmse"] / constant["rmse"]) ** 2)
    return math.nan


def _frequencies(schema: Schema, targets: Array) -> Array:
    assert schema.classes is not None
    shares: Array = np.bincount(targets, minlength=len(schema.classes)) / len(targets)
    return shares


def _least_loss(loss: Loss, schema: Schema, targets: Array) -> float:
    some = np.ascontiguousarray(targets[:: -(-len(targets) // ROWS)])
    n = loss.units(None if schema.classes is None else len(schema.classes), schema.outputs)
    outputs = make_input("outputs", (len(some), n), "float64")
    kind = make_input("targets", some.shape, "int32" if some.dtype.kind == "i" else "float64")
    graph = Graph((outputs, kind), (loss.row_losses(outputs, kind),))
    found = []
    for constant in _constants(loss, schema, targets, n):
        rows = np.tile(np.asarray(constant, np.float64), (len(some), 1))
        value = finished(loss, float(np.mean(evaluate(graph, [rows, some])[0])))
        if np.isfinite(value):
            found.append(value)
    return min(found, default=float("nan"))


def _constants(loss: Loss, schema: Schema, targets: Array, n: int) -> Iterator[Array]:
    """Constant outputs [n] worth trying: one of them is the best, or near it, for every loss there is."""
    yield np.zeros(n)
    if schema.classes is None:
        columns = targets.astype(np.float64)
        mean = columns.mean(axis=0)
        yield mean
        yield np.median(columns, axis=0)
        yield np.quantile(columns, getattr(loss, "quantile", 0.5), axis=0)
        if (mean > 0).all():
            yield np.log(mean)
        return
    p = np.maximum(_frequencies(schema, targets), 1e-12)
    if n == 1:
        one = p[1:].sum()
        yield np.array([np.log(one / p[0])])
        yield np.array([one])
        yield np.array([1.0 if one > 0.5 else -1.0])
    if n == len(p):
        yield p
        yield np.log(p)
        yield np.where(np.arange(n) == p.argmax(), 1.0, -1.0)
