"""Losses for numbers: how far a row's outputs y are from its targets t, averaged over the row's n numbers."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, final

import glassgrad.ops.table as ops
from glassgrad.common.constraints import Real
from glassgrad.common.errors import GraphError
from glassgrad.graph.node import Value
from glassgrad.nn.loss import Expects, Loss, TargetKind, Task

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


@final
class AbsoluteError(RegressionLoss):
    """|y - t|: fits the median, so it is robust to outliers (Laplace 1774)."""

    name = "absolute_error"

    def errors(self, outputs: Value, targets: Value) -> Value:
        """|y - t|."""
        return ops.absolute(outputs - targets)


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


def _square(x: Value) -> Value:
    return x * x
