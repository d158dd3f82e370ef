"""Losses for numbers: how far a row's outputs y are from its targets t, averaged over the row's n numbers."""

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
from glassgrad.losses.base import RARE, Expects, Loss, TargetKind, Task, class_shares

OVERFLOW = 1000.0
"""A log-rate whose exponential is infinite in both float formats."""


@dataclass(frozen=True, eq=False)
class RegressionLoss(Loss):
    """A loss that compares output and target number by number."""

    task: ClassVar[Task] = "regression"
    target_kind: ClassVar[TargetKind] = "values"
    expects: ClassVar[Expects] = "values"

    @abstractmethod
    def errors(self, outputs: Value, targets: Value) -> Value:
        """The loss of each number: [B, n] and [B, n] to [B, n]."""

    def units(self, classes: int | None, targets: int) -> int:
        """One output per number."""
        return targets

    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """The mean over the row; raises GraphError unless targets are of the outputs' shape and dtype."""
        if outputs.type != targets.type:
            raise GraphError(f"loss {self.name}: outputs of {outputs.type} and targets of {targets.type}")
        return ops.reduce_mean(self.errors(outputs, targets), 1)


@final
class SquaredError(RegressionLoss):
    """(y - t)^2, least squares (Legendre 1805). On classes: to one-hot codes, as in Brier's score (1950)."""

    name = "squared_error"
    task = "both"

    def errors(self, outputs: Value, targets: Value) -> Value:
        """(y - t)^2."""
        return _square(outputs - targets)

    def units(self, classes: int | None, targets: int) -> int:
        """One output per number, or per class."""
        return targets if classes is None else classes

    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """The mean over the row; targets are float [B, n], or classes int32 [B]."""
        if targets.dtype == "int32":
            targets = ops.one_hot(targets, outputs.shape[1], outputs.dtype)
        return super().row_losses(outputs, targets)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The mean; of classes their shares."""
        return class_shares(targets, weights, units) if targets.ndim == 1 else _mean(targets, weights)


@final
class RootMeanSquaredError(RegressionLoss):
    """sqrt(mean((y - t)^2)) over rows and numbers: in the units of the target."""

    name = "root_mean_squared_error"

    def errors(self, outputs: Value, targets: Value) -> Value:
        """(y - t)^2."""
        return _square(outputs - targets)

    def finish(self, mean: Value) -> Value:
        """The square root; its gradient at a perfect fit, infinite by the formula, is 0."""
        perfect = ops.equal(mean, 0.0)
        return ops.select(perfect, 0.0, ops.sqrt(ops.select(perfect, 1.0, mean)))

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The mean."""
        return _mean(targets, weights)


@final
class AbsoluteError(RegressionLoss):
    """|y - t|: fits the median, so it is robust to outliers (Laplace 1774)."""

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

    With d = |y - t|: d^2 / 2 where d <= delta, else delta * (d - delta / 2). ``delta`` is in units of the
    target as the loss meets it.
    """

    name = "huber"
    delta: float = 1.0

    constraints = MappingProxyType({"delta": Real(above=0)})

    def errors(self, outputs: Value, targets: Value) -> Value:
        """d^2 / 2, or delta * (d - delta / 2)."""
        difference = outputs - targets
        distance = ops.absolute(difference)
        far = distance > self.delta
        # The square is of the difference: that of `absolute` has the second derivative 0 at a perfect fit, not 1.
        near = 0.5 * _square(ops.select(far, 0.0, difference))
        return ops.select(far, self.delta * (distance - 0.5 * self.delta), near)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """Where the slopes, the differences clipped to [-delta, delta], add up to 0."""
        return _root(targets, weights, lambda differences: np.clip(differences, -self.delta, self.delta))


@final
class LogCosh(RegressionLoss):
    """log(cosh(y - t)): like half a squared error near 0 and like an absolute error far off (Green 1990)."""

    name = "log_cosh"

    def errors(self, outputs: Value, targets: Value) -> Value:
        """|d| - log(1 + tanh|d|), since cosh d = exp|d| / (1 + tanh|d|): no overflow, and exact near 0."""
        difference = outputs - targets
        # Not `absolute`, whose derivative at 0 is 0: the second derivative at a perfect fit is 1.
        distance = ops.select(difference > 0, difference, -difference)
        return distance - ops.log1p(ops.tanh(distance))

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """Where the slopes tanh(y - t) add up to 0."""
        return _root(targets, weights, np.tanh)


@final
@dataclass(frozen=True, eq=False)
class Quantile(RegressionLoss):
    """The pinball loss, whose minimum is the quantile ``level`` of t (Koenker and Bassett 1978).

    level * (t - y) where t is above y, else (1 - level) * (y - t). Level 0.5 is half the absolute error.
    """

    name = "quantile"
    level: float = 0.5

    constraints = MappingProxyType({"level": Real(above=0, below=1)})

    def errors(self, outputs: Value, targets: Value) -> Value:
        """max(level * d, (level - 1) * d) of d = t - y."""
        difference = targets - outputs
        return ops.maximum(self.level * difference, (self.level - 1) * difference)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The quantile ``level``."""
        return _quantile(targets, weights, self.level)


@final
class Poisson(RegressionLoss):
    """exp(o) - t * o: minus the log-likelihood of the count t at the rate exp(o), less log(t!).

    Poisson regression (Nelder and Wedderburn 1972). May be negative. A log-rate above 88 overflows float32.
    """

    name = "poisson"
    target_kind = "counts"
    expects = "log_rates"

    def errors(self, outputs: Value, targets: Value) -> Value:
        """exp(o) - t * o."""
        # At a rate of 0 a count of 0 adds 0, and beyond OVERFLOW the exponential is infinite and decides alone.
        negligible = ops.logical_or(ops.equal(targets, 0.0), outputs > OVERFLOW)
        return ops.exp(outputs) - ops.select(negligible, 0.0, targets * outputs)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The logarithm of the mean count."""
        logs: np.ndarray = np.log(np.maximum(_mean(targets, weights), RARE))
        return logs


def _square(x: Value) -> Value:
    return x * x


def _mean(targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of every column: [B, n] and [B] to [n]."""
    mean: np.ndarray = np.average(targets.astype(np.float64), axis=0, weights=weights)
    return mean


def _quantile(targets: np.ndarray, weights: np.ndarray, level: float) -> np.ndarray:
    """The least target of every column that, with those below it, has the share ``level`` of the weight."""
    order = np.argsort(targets, axis=0)
    below = np.cumsum(weights[order], axis=0)
    # In floats the sum may end a little below the total, and the last row is reached all the same.
    rows = np.minimum((below < level * below[-1]).sum(axis=0), len(targets) - 1)
    sorted_targets = np.take_along_axis(targets, order, axis=0)
    found: np.ndarray = sorted_targets[rows, np.arange(targets.shape[1])].astype(np.float64)
    return found


def _root(targets: np.ndarray, weights: np.ndarray, slope: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The constant y of every column, [n], where sum(w * slope(y - t)) is 0; by bisection, as slope never falls."""
    low, high = targets.min(axis=0).astype(np.float64), targets.max(axis=0).astype(np.float64)
    for _ in range(np.finfo(np.float64).nmant):
        middle = (low + high) / 2
        falling = weights @ slope(middle - targets) < 0
        low, high = np.where(falling, middle, low), np.where(falling, high, middle)
    root: np.ndarray = (low + high) / 2
    return root
