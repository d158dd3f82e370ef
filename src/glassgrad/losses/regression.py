"""Regression losses of outputs y and targets t. The loss of a row is the mean over its n numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

import glassgrad.ops.table as ops
from glassgrad.common.constraints import Real
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Value
from glassgrad.losses.base import MINIMUM_SHARE, Expects, Loss, TargetKind, Task, class_shares

OVERFLOWING_LOG_RATE = 1000.0
"""A log-rate whose exponential is infinite in float32 and float64."""


@dataclass(frozen=True, eq=False)
class RegressionLoss(Loss):
    """A loss that compares outputs and targets element by element."""

    task: ClassVar[Task] = "regression"
    target_kind: ClassVar[TargetKind] = "values"
    expects: ClassVar[Expects] = "values"

    @abstractmethod
    def errors(self, outputs: Value, targets: Value) -> Value:
        """The loss of each element: [B, n] and [B, n] to [B, n]."""

    def units(self, classes: int | None, targets: int) -> int:
        """One output per target."""
        return targets

    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """The mean over the row; raises GraphError if targets and outputs differ in shape or dtype."""
        if outputs.type != targets.type:
            raise GraphError(f"loss {self.name}: outputs of {outputs.type} and targets of {targets.type}")
        return ops.reduce_mean(self.errors(outputs, targets), 1)


@final
class SquaredError(RegressionLoss):
    """(y - t)^2: least squares (Legendre 1805). For classes, t is the one-hot code (Brier 1950)."""

    name = "squared_error"
    task = "both"

    def errors(self, outputs: Value, targets: Value) -> Value:
        """(y - t)^2."""
        return _square(outputs - targets)

    def units(self, classes: int | None, targets: int) -> int:
        """One output per target, or per class."""
        return targets if classes is None else classes

    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """The mean over the row. Targets are float [B, n], or class indices int32 [B]."""
        if targets.dtype == "int32":
            targets = ops.one_hot(targets, outputs.shape[1], outputs.dtype)
        return super().row_losses(outputs, targets)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The mean; for classes, their shares."""
        return class_shares(targets, weights, units) if targets.ndim == 1 else _mean(targets, weights)


@final
class RootMeanSquaredError(RegressionLoss):
    """sqrt(mean((y - t)^2)) over all rows and elements, in the units of the target."""

    name = "root_mean_squared_error"

    def errors(self, outputs: Value, targets: Value) -> Value:
        """(y - t)^2."""
        return _square(outputs - targets)

    def finish(self, mean: Value) -> Value:
        """The square root. Its gradient at a perfect fit is set to 0; by the formula it is infinite."""
        perfect = ops.equal(mean, 0.0)
        return ops.select(perfect, 0.0, ops.sqrt(ops.select(perfect, 1.0, mean)))

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The mean."""
        return _mean(targets, weights)


@final
class AbsoluteError(RegressionLoss):
    """|y - t|: the minimum is at the median, so the loss is robust to outliers (Laplace 1774)."""

    name = "absolute_error"

    def errors(self, outputs: Value, targets: Value) -> Value:
        """|y - t|."""
        return ops.absolute(outputs - targets)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The median."""
        return _quantile(targets, weights, 0.5)


@final
@dataclass(frozen=True, eq=False)
class Huber(RegressionLoss):
    """Half a squared error up to ``delta``, linear beyond it (Huber 1964).

    With d = |y - t|: d^2 / 2 if d <= delta, else delta * (d - delta / 2). ``delta`` is in units of the target
    after any standardization.
    """

    name = "huber"
    delta: float = 1.0

    constraints = MappingProxyType({"delta": Real(above=0)})

    def errors(self, outputs: Value, targets: Value) -> Value:
        """d^2 / 2, or delta * (d - delta / 2)."""
        difference = outputs - targets
        distance = ops.absolute(difference)
        far = distance > self.delta
        # Square the difference, not `distance`: at 0, `absolute` would make the second derivative 0 instead of 1.
        near = 0.5 * _square(ops.select(far, 0.0, difference))
        return ops.select(far, self.delta * (distance - 0.5 * self.delta), near)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The root of the sum of slopes: differences clipped to [-delta, delta]."""
        return _root(targets, weights, lambda differences: np.clip(differences, -self.delta, self.delta))


@final
class LogCosh(RegressionLoss):
    """log(cosh(y - t)): close to half the squared error near 0 and to the absolute error elsewhere (Green 1990)."""

    name = "log_cosh"

    def errors(self, outputs: Value, targets: Value) -> Value:
        """|d| - log(1 + tanh|d|), because cosh d = exp|d| / (1 + tanh|d|). No overflow, and accurate near 0."""
        difference = outputs - targets
        # Not `absolute`: its derivative at 0 is 0, and the second derivative of the loss there must be 1.
        distance = ops.select(difference > 0, difference, -difference)
        return distance - ops.log1p(ops.tanh(distance))

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The root of the sum of the slopes tanh(y - t)."""
        return _root(targets, weights, np.tanh)


@final
@dataclass(frozen=True, eq=False)
class Quantile(RegressionLoss):
    """The pinball loss, whose minimum is the quantile ``level`` of t (Koenker and Bassett 1978).

    level * (t - y) if t is above y, else (1 - level) * (y - t). Level 0.5 is half the absolute error.
    """

    name = "quantile"
    level: float = 0.5

    constraints = MappingProxyType({"level": Real(above=0, below=1)})

    def errors(self, outputs: Value, targets: Value) -> Value:
        """max(level * d, (level - 1) * d) with d = t - y."""
        difference = targets - outputs
        return ops.maximum(self.level * difference, (self.level - 1) * difference)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The quantile ``level``."""
        return _quantile(targets, weights, self.level)


@final
class Poisson(RegressionLoss):
    """exp(o) - t * o: the negative log-likelihood of the count t at the rate exp(o), without the term log(t!).

    Poisson regression (Nelder and Wedderburn 1972). The loss may be negative. A log-rate above 88 overflows
    float32.
    """

    name = "poisson"
    target_kind = "counts"
    expects = "log_rates"

    def errors(self, outputs: Value, targets: Value) -> Value:
        """exp(o) - t * o."""
        # t * o is 0 if t is 0, also for o = -inf. If exp(o) overflows, the loss is infinite whatever t * o is.
        negligible = ops.logical_or(ops.equal(targets, 0.0), outputs > OVERFLOWING_LOG_RATE)
        return ops.exp(outputs) - ops.select(negligible, 0.0, targets * outputs)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The logarithm of the mean count."""
        logs: np.ndarray = np.log(np.maximum(_mean(targets, weights), MINIMUM_SHARE))
        return logs


def _square(x: Value) -> Value:
    return x * x


def _mean(targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of each column: [B, n] and [B] to [n]."""
    mean: np.ndarray = np.average(targets.astype(np.float64), axis=0, weights=weights)
    return mean


def _quantile(targets: np.ndarray, weights: np.ndarray, level: float) -> np.ndarray:
    """Per column, the smallest target whose cumulative weight reaches ``level`` of the total: float64 [n]."""
    order = np.argsort(targets, axis=0)
    cumulative = np.cumsum(weights[order], axis=0)
    rows = (cumulative < level * cumulative[-1]).sum(axis=0)
    sorted_targets = np.take_along_axis(targets, order, axis=0)
    quantiles: np.ndarray = sorted_targets[rows, np.arange(targets.shape[1])].astype(np.float64)
    return quantiles


def _root(targets: np.ndarray, weights: np.ndarray, slope: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Per column, the constant y with sum(w * slope(y - t)) = 0: float64 [n]. By bisection; slope never decreases."""
    low, high = targets.min(axis=0).astype(np.float64), targets.max(axis=0).astype(np.float64)
    for _ in range(np.finfo(np.float64).nmant):
        middle = (low + high) / 2
        below_root = weights @ slope(middle - targets) < 0
        low, high = np.where(below_root, middle, low), np.where(below_root, high, middle)
    root: np.ndarray = (low + high) / 2
    return root
