"""The baseline: the best constant prediction, which ignores the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.data.schema import Schema
from glassgrad.graph.node import Graph
from glassgrad.losses.base import Loss, class_shares
from glassgrad.ops.op import make_input
from glassgrad.training.metrics import finished, rmse

ROWS = 4000  # enough for a mean to 2 %


def constant_scores(loss: Loss, schema: Schema, targets: Array) -> dict[str, float]:
    """Scores of the baseline, by the names that trials use.

    ``targets`` are encoded for the loss (see ``Schema.encode_targets``). The result always has ``loss``. For classes
    it also has ``accuracy``, ``balanced_accuracy``, ``nll`` and ``brier``; otherwise ``rmse`` in the targets' own
    units, averaged over the targets. The loss is that of ``Loss.best_constant``. A loss without that method gets the
    lowest loss among a few constants: class frequencies, mean, median, and their logarithms.
    """
    scores = {"loss": _least_loss(loss, schema, targets)}
    if schema.classes is None:
        true = schema.decode_outputs(targets)
        return scores | {"rmse": rmse(true.mean(axis=0), true)}
    p = _frequencies(schema, targets)
    return scores | {
        "accuracy": float(p.max()),
        "balanced_accuracy": 1 / len(p),
        "nll": float(-(p[p > 0] * np.log(p[p > 0])).sum()),
        "brier": float(1 - (p**2).sum()),
    }


def remaining_share(metrics: Mapping[str, float], baseline: Mapping[str, float]) -> float:
    """The share of the baseline's mistakes, or of the variance (1 - R^2), that remains; NaN if unknown."""
    if "accuracy" in metrics and "accuracy" in baseline:
        return (1 - metrics["accuracy"]) / max(1 - baseline["accuracy"], 1e-12)
    return 1 - metrics.get("r2", math.nan)


def _frequencies(schema: Schema, targets: Array) -> Array:
    assert schema.classes is not None
    shares: Array = np.bincount(targets, minlength=len(schema.classes)) / len(targets)
    return shares


def _least_loss(loss: Loss, schema: Schema, targets: Array) -> float:
    sample = np.ascontiguousarray(targets[:: -(-len(targets) // ROWS)])
    n = loss.units(None if schema.classes is None else len(schema.classes), schema.outputs)
    outputs = make_input("outputs", (len(sample), n), "float64")
    truth = make_input("targets", sample.shape, "int32" if sample.dtype.kind == "i" else "float64")
    graph = Graph((outputs, truth), (loss.row_losses(outputs, truth),))
    best = loss.best_constant(sample, np.ones(len(sample)), n)
    losses = []
    for constant in [best] if best is not None else _candidates(schema, sample, n):
        rows = np.tile(np.asarray(constant, np.float64), (len(sample), 1))
        value = finished(loss, float(np.mean(evaluate(graph, [rows, sample])[0])))
        if np.isfinite(value):
            losses.append(value)
    return min(losses, default=float("nan"))


def _candidates(schema: Schema, targets: Array, n: int) -> Iterator[Array]:
    """Candidate constant outputs [n] for a loss without ``best_constant``."""
    yield np.zeros(n)
    if schema.classes is None:
        columns = targets.astype(np.float64)
        mean = columns.mean(axis=0)
        yield mean
        yield np.median(columns, axis=0)
        if (mean > 0).all():
            yield np.log(mean)
        return
    p = class_shares(targets, np.ones(len(targets)), len(schema.classes))
    if n == 1:
        positive = p[1:].sum()
        yield np.array([np.log(positive / p[0])])
        yield np.array([positive])
        yield np.array([1.0 if positive > 0.5 else -1.0])
    if n == len(p):
        yield p
        yield np.log(p)
        yield np.where(np.arange(n) == p.argmax(), 1.0, 0.0)
