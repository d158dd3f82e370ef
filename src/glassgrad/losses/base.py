"""What all losses share: their interface, the average over a batch, and which combinations are refused.

A loss says how wrong each row is (``row_losses``); over a batch these are averaged with the rows' weights,
sum(w l) / sum(w), so that a padded row (weight 0) does not count and a weight of 2 is a row given twice.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

import glassgrad.ops.table as ops
from glassgrad.common.errors import InputError
from glassgrad.common.part import Part
from glassgrad.graph.node import Value
from glassgrad.nn.activations import Activation, Identity, LogSoftmax, Sigmoid, Softmax

Task = Literal["regression", "classification", "both"]
TargetKind = Literal["values", "counts", "class", "sign", "binary", "distribution"]
Expects = Literal["logits", "log_probabilities", "margins", "values", "log_rates"]

# How far a target may lie beyond an activation's range: scaling to 0..1 in float32 may end a little above 1.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Loss(Part, ABC):
    """How wrong a network's outputs are, one number per row.

    Outputs are always float ``[B, n]`` with n = ``units(...)``. A subclass without options inherits all it
    needs from this dataclass and is not decorated again.
    """

    name: ClassVar[str]
    """The name in the registry."""

    task: ClassVar[Task]

    target_kind: ClassVar[TargetKind]
    """What ``row_losses`` takes as targets.

    values: float [B, n], which may be standardised. counts: float [B, n], raw, none negative. class, sign,
    binary: the index of the class, int32 [B]; of two classes the loss itself reads sign as -1 or 1 and binary
    as 0 or 1. distribution: float [B, K], the probabilities of the classes; or int32 [B], a class.
    """

    expects: ClassVar[Expects]
    """What the network's outputs mean."""

    @abstractmethod
    def units(self, classes: int | None, targets: int) -> int:
        """How many outputs the network needs for ``classes`` (None: no classes) or ``targets`` numbers a row.

        Raises InputError for a loss of classes where there are none.
        """

    @abstractmethod
    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """The loss of each row: [B, n] and targets to [B]; the mean over a row's n numbers in regression."""

    def finish(self, mean: Value) -> Value:
        """The loss of a batch (a scalar), from the weighted mean of its rows' losses."""
        return mean

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        """The class decided for each row, int32 [B]: the largest output, or a single output's sign."""
        if outputs.shape[1] == 1:
            return (outputs[:, 0] > 0).astype(np.int32)
        winners: np.ndarray = np.argmax(outputs, axis=1)
        return winners.astype(np.int32)

    def probabilities(self, outputs: np.ndarray) -> np.ndarray | None:
        """The probability of each class, [B, K]; None where the loss gives its outputs no such meaning."""
        return None

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray | None:
        """The outputs [units] with the least loss among those that are the same for every row; None: not known.

        ``targets`` as ``row_losses`` takes them; ``weights`` float64 [B], at least 0, with a sum above 0. Where the
        least loss is only approached (the logit of a class that never occurs), the outputs come close to it.
        """
        return None

    def refusal(
        self,
        final_activation: Activation,
        *,
        classification: bool,
        classes: int | None,
        target_range: tuple[float, float] | None,
    ) -> str | None:
        """One line that says why this loss cannot be meant here and what to use instead; None: it can.

        ``final_activation`` is that of the network's last layer, ``classification`` whether the target is a
        class (of how many: ``classes``), ``target_range`` the least and the greatest target (of regression)
        as the network meets it, after any standardisation.
        """
        return self._wrong_target(classification, classes, target_range) or self._wrong_output(
            final_activation, classification, classes, target_range
        )

    def _wrong_target(
        self, classification: bool, classes: int | None, target_range: tuple[float, float] | None
    ) -> str | None:
        if classification and self.task == "regression":
            better = "binary_cross_entropy" if classes == 2 else "categorical_cross_entropy"
            return (
                f"loss {self.name!r} is for numbers and the target is a class: use {better}, or squared_error"
                " for the distance to one-hot codes"
            )
        if not classification and self.task == "classification":
            return f"loss {self.name!r} is for classes and the target is a number: use squared_error"
        if self.target_kind == "binary" and classes is not None and classes > 2:
            return f"loss {self.name!r} is for two classes, not {classes}: use categorical_cross_entropy"
        if classification or target_range is None:
            return None
        low, high = target_range
        if self.target_kind == "counts" and low < 0:
            return f"loss {self.name!r} is for counts and there are targets of {low:g}: use squared_error"
        if self.target_kind == "distribution" and (low < 0 or high > 1):
            return (
                f"loss {self.name!r} is for target probabilities and the targets reach from {low:g} to"
                f" {high:g}: use squared_error"
            )
        return None

    def _wrong_output(
        self,
        final: Activation,
        classification: bool,
        classes: int | None,
        target_range: tuple[float, float] | None,
    ) -> str | None:
        low, high = final.output_range()
        meaning = self.expects.replace("_", "-")
        takes = f"loss {self.name!r} takes {meaning} and activation {final.name!r} gives"
        if self.expects == "log_probabilities":
            if isinstance(final, LogSoftmax):
                return None
            logits = classification and isinstance(final, Identity)
            instead = ", or loss categorical_cross_entropy on these logits" if logits else ""
            return f"{takes} none: use activation log_softmax{instead}"
        if self.expects == "values":
            wanted = (0.0, 1.0) if classification else target_range
            if wanted is None or (low - ROUNDING <= wanted[0] and wanted[1] <= high + ROUNDING):
                return None
            what = "one-hot codes" if classification else "the targets"
            return (
                f"{what} reach from {wanted[0]:g} to {wanted[1]:g} and activation {final.name!r} gives only"
                f" {low:g} to {high:g}: use activation identity"
            )
        if isinstance(final, (Softmax, Sigmoid, LogSoftmax)):
            log = isinstance(final, LogSoftmax)
            instead = ", or loss negative_log_likelihood" if log and self.expects == "logits" else ""
            return f"{takes} {'log-' if log else ''}probabilities: use activation identity{instead}"
        # One output that decides by its sign, or a log-rate, must be able to be negative as well as positive.
        signed = self.expects == "log_rates" or (classes == 2 and self.units(2, 1) == 1)
        bounded = self.expects != "margins" and math.isfinite(low) and math.isfinite(high)
        if bounded or (signed and low >= 0):
            return f"{takes} only {low:g} to {high:g}: use activation identity"
        return None


RARE = 1e-12
"""The share that a class without rows counts as having: its logarithm is finite."""


def class_shares(targets: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """The share of the total weight that each class has, float64 [classes], at least ``RARE``."""
    totals = np.bincount(targets, weights, minlength=classes)
    shares: np.ndarray = np.maximum(totals / weights.sum(), RARE)
    return shares


def weighted_mean(row_losses: Value, weights: Value) -> Value:
    """sum(w l) / sum(w): [B] and [B] to a scalar; 0 where all weights are 0.

    A row of weight 0 adds exactly 0, even if its loss is infinite or not a number.
    """
    losses = ops.select(ops.equal(weights, 0.0), 0.0, row_losses)
    total = ops.reduce_sum(weights)
    return ops.reduce_sum(weights * losses) / ops.select(ops.equal(total, 0.0), 1.0, total)


def batch_loss(loss: Loss, outputs: Value, targets: Value, weights: Value) -> Value:
    """The loss of a batch, a scalar: outputs [B, n], targets as ``loss`` takes them, weights [B].

    The outputs and targets of rows of weight 0 are replaced by 0 first: otherwise the gradient of an infinite
    loss, times a weight of 0, would not be a number.
    """
    unused = ops.equal(weights, 0.0)
    outputs, targets = _zero_rows(unused, outputs), _zero_rows(unused, targets)
    return loss.finish(weighted_mean(loss.row_losses(outputs, targets), weights))


def _zero_rows(where: Value, rows: Value) -> Value:
    return ops.select(ops.reshape(where, (-1,) + (1,) * (len(rows.shape) - 1)), 0, rows)


def require_classes(loss: Loss, classes: int | None) -> int:
    """``classes``, or InputError where there are none."""
    if classes is None:
        raise InputError(f"loss {loss.name!r} is for classes and the target is a number: use squared_error")
    return classes
