"""What a model's outputs are worth, in float64, on the host."""

from __future__ import annotations

import numpy as np

from glassgrad.backends.base import Array
from glassgrad.backends.reference import evaluate
from glassgrad.data.schema import Schema
from glassgrad.graph.node import Graph
from glassgrad.nn.loss import Loss
from glassgrad.ops.op import constant


def metrics_of(
    loss: Loss, schema: Schema, outputs: Array, row_losses: Array, targets: Array
) -> dict[str, float]:
    """``loss`` (as trained), and ``accuracy``, or ``rmse``, ``mae`` and ``r2`` in the targets' own units.

    outputs [rows, units], row_losses [rows], targets as the loss takes them. R^2 is against the mean of
    these rows; it is 0 where they do not vary.
    """
    with np.errstate(all="ignore"):
        mean = float(np.mean(row_losses, dtype=np.float64))
        result = {"loss": finished(loss, mean)}
        if schema.classes is not None:
            result["accuracy"] = float(np.mean(loss.scores(outputs) == targets))
            return result
        predicted = schema.decode_outputs(quantities(loss, outputs)).reshape(len(outputs), -1)
        true = schema.decode_outputs(targets).reshape(len(outputs), -1)
        error = predicted - true
        spread = float(np.mean((true - true.mean(axis=0)) ** 2))
        square = float(np.mean(error**2))
        return result | {
            "rmse": square**0.5,
            "mae": float(np.mean(np.abs(error))),
            "r2": 1 - square / spread if spread > 0 else 0.0,
        }


def finished(loss: Loss, mean: float) -> float:
    """The loss from the mean of the rows' losses."""
    if type(loss).finish is Loss.finish:
        return mean
    (found,) = evaluate(Graph((), (loss.finish(constant(mean, "float64")),)), [])
    return float(found)


def quantities(loss: Loss, outputs: Array) -> Array:
    """What the outputs of a regression predict, before any scaling is undone."""
    with np.errstate(over="ignore"):
        return np.exp(outputs) if loss.expects in ("log_rates", "log_probabilities") else outputs
