"""The interface of losses, the weighted mean over a batch, and the check for invalid combinations.

A loss computes one number per row (``row_losses``). The loss of a batch is the weighted mean of its rows,
sum(w l) / sum(w): a padded row has weight 0 and does not count; a row of weight 2 counts like two equal rows.
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

# Tolerance for targets outside an activation's range: scaling to 0..1 in float32 may give values just above 1.
RANGE_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Loss(Part, ABC):
    """Base of all losses: one number per row of a network's outputs.

    Outputs are always float ``[B, n]`` with n = ``units(...)``. A subclass without options needs no
    ``@dataclass`` of its own.
    """

    name: ClassVar[str]
    """The name in the registry."""

    task: ClassVar[Task]

    target_kind: ClassVar[TargetKind]
    """The targets of ``row_losses``.

    - values: float [B, n], possibly standardized.
    - counts: float [B, n], at least 0, not standardized.
    - class, sign, binary: class indices, int32 [B]. With two classes, a loss of kind sign uses the values -1 and
      1, a loss of kind binary the values 0 and 1.
    - distribution: float [B, K], class probabilities; or int32 [B], class indices.
    """

    expects: ClassVar[Expects]
    """The meaning of the network's outputs."""

    @abstractmethod
    def units(self, classes: int | None, targets: int) -> int:
        """The number of network outputs for ``classes`` classes, or for ``targets`` numbers per row.

        ``classes`` is None for regression. Raises InputError for a classification loss without classes.
        """

    @abstractmethod
    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """The loss of each row: outputs [B, n] and targets to [B]. In regression, the mean over a row's n numbers."""

    def finish(self, mean: Value) -> Value:
        """The loss of a batch (a scalar) from the weighted mean of its row losses."""
        return mean

    def predicted_classes(self, outputs: np.ndarray) -> np.ndarray:
        """The predicted class of each row, int32 [B]: the largest output, or the sign of a single output."""
        if outputs.shape[1] == 1:
            return (outputs[:, 0] > 0).astype(np.int32)
        classes: np.ndarray = np.argmax(outputs, axis=1)
        return classes.astype(np.int32)

    def probabilities(self, outputs: np.ndarray) -> np.ndarray | None:
        """The probability of each class, [B, K]; None if the outputs of this loss have no probabilities."""
        return None

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray | None:
        """The constant outputs [units], the same for every row, with the lowest loss; None if unknown.

        ``targets`` are those of ``row_losses``. ``weights`` are float64 [B], at least 0, with a sum above 0. If the
        loss has no minimum (the logit of a class that never occurs), the outputs are close to its infimum.
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
        """One line that says why this loss is invalid here and what to use instead; None if it is valid.

        ``final_activation`` is the activation of the network's last layer. ``classification`` says whether the
        target is a class, and ``classes`` is the number of classes. ``target_range`` is the minimum and the maximum
        of a regression target after any standardization.
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
            return f"loss {self.name!r} is for counts and the lowest target is {low:g}: use squared_error"
        if self.target_kind == "distribution" and (low < 0 or high > 1):
            return (
                f"loss {self.name!r} is for target probabilities and the targets range from {low:g} to"
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
            required = (0.0, 1.0) if classification else target_range
            if required is None:
                return None
            if low - RANGE_TOLERANCE <= required[0] and required[1] <= high + RANGE_TOLERANCE:
                return None
            targets = "one-hot codes" if classification else "the targets"
            return (
                f"{targets} range from {required[0]:g} to {required[1]:g} and activation {final.name!r} gives only"
                f" {low:g} to {high:g}: use activation identity"
            )
        if isinstance(final, (Softmax, Sigmoid, LogSoftmax)):
            log = isinstance(final, LogSoftmax)
            instead = ", or loss negative_log_likelihood" if log and self.expects == "logits" else ""
            return f"{takes} {'log-' if log else ''}probabilities: use activation identity{instead}"
        # A log-rate, or a single output whose sign decides the class, needs both signs.
        signed = self.expects == "log_rates" or (classes == 2 and self.units(2, 1) == 1)
        bounded = self.expects != "margins" and math.isfinite(low) and math.isfinite(high)
        if bounded or (signed and low >= 0):
            return f"{takes} only {low:g} to {high:g}: use activation identity"
        return None


MINIMUM_SHARE = 1e-12
"""The share of a class without rows, above 0 so that its logarithm is finite."""


def class_shares(targets: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Each class's share of the total weight, float64 [classes], at least ``MINIMUM_SHARE``."""
    totals = np.bincount(targets, weights, minlength=classes)
    shares: np.ndarray = np.maximum(totals / weights.sum(), MINIMUM_SHARE)
    return shares


def weighted_mean(row_losses: Value, weights: Value) -> Value:
    """sum(w l) / sum(w): [B] and [B] to a scalar; 0 if all weights are 0.

    A row of weight 0 adds exactly 0, even if its loss is infinite or NaN.
    """
    losses = ops.select(ops.equal(weights, 0.0), 0.0, row_losses)
    total = ops.reduce_sum(weights)
    return ops.reduce_sum(weights * losses) / ops.select(ops.equal(total, 0.0), 1.0, total)


def batch_loss(loss: Loss, outputs: Value, targets: Value, weights: Value) -> Value:
    """The loss of a batch, a scalar, from outputs [B, n], the targets of ``loss``, and weights [B].

    The outputs and targets of rows with weight 0 are first replaced by 0. Otherwise the gradient of an infinite
    loss times a weight of 0 would be NaN.
    """
    ignored = ops.equal(weights, 0.0)
    outputs, targets = _zero_rows(ignored, outputs), _zero_rows(ignored, targets)
    return loss.finish(weighted_mean(loss.row_losses(outputs, targets), weights))


def _zero_rows(mask: Value, rows: Value) -> Value:
    return ops.select(ops.reshape(mask, (-1,) + (1,) * (len(rows.shape) - 1)), 0, rows)


def require_classes(loss: Loss, classes: int | None) -> int:
    """``classes``; raises InputError if it is None."""
    if classes is None:
        raise InputError(f"loss {loss.name!r} is for classes and the target is a number: use squared_error")
    return classes
