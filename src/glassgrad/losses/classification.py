"""Classification losses.

The cross-entropies take logits, so that log and exp cancel in the formula and cannot overflow. Targets are class
indices, int32 [B]. The range of an index is not checked: an index outside 0 to K - 1 belongs to no class.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import numpy as np

import glassgrad.ops.table as ops
from glassgrad.common.constraints import SHARE
from glassgrad.graph.node import Value
from glassgrad.losses.base import MINIMUM_SHARE, Loss, class_shares, require_classes
from glassgrad.nn.activations import softplus


@final
@dataclass(frozen=True, eq=False)
class CategoricalCrossEntropy(Loss):
    """-log p of the row's class, with p = softmax(outputs): maximum likelihood (Bridle 1990).

    With label smoothing e, the target is 1 - e for the class, plus e / K for each of the K classes (Szegedy et
    al. 2016).
    """

    name = "categorical_cross_entropy"
    task = "classification"
    target_kind = "class"
    expects = "logits"
    label_smoothing: float = 0.0

    constraints = MappingProxyType({"label_smoothing": SHARE})

    def units(self, classes: int | None, targets: int) -> int:
        """One logit per class."""
        return require_classes(self, classes)

    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """[B, K] and int32 [B] to [B]."""
        logs = ops.log_softmax(outputs)
        losses = -_value_of_class(logs, targets)
        if not self.label_smoothing:
            return losses
        smoothing = self.label_smoothing
        return (1 - smoothing) * losses - smoothing * ops.reduce_mean(logs, 1)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The logarithms of the smoothed class shares."""
        shares = class_shares(targets, weights, units)
        logs: np.ndarray = np.log((1 - self.label_smoothing) * shares + self.label_smoothing / units)
        return logs

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """softmax(outputs), [B, K]."""
        exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        probabilities: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities


@final
@dataclass(frozen=True, eq=False)
class BinaryCrossEntropy(Loss):
    """-log p of the row's class for two classes, with p(1) = sigmoid(output): logistic regression (Cox 1958).

    With label smoothing e, the target is 1 - e / 2 for the class and e / 2 for the other class.
    """

    name = "binary_cross_entropy"
    task = "classification"
    target_kind = "binary"
    expects = "logits"
    label_smoothing: float = 0.0

    constraints = MappingProxyType({"label_smoothing": SHARE})

    def units(self, classes: int | None, targets: int) -> int:
        """One: the logit of class 1."""
        require_classes(self, classes)
        return 1

    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """[B, 1] and int32 [B] to [B]."""
        margins = _margins(outputs, targets)
        losses = softplus(-margins)
        # softplus(m) = softplus(-m) + m, so the other class adds only label_smoothing / 2 times m.
        return losses + 0.5 * self.label_smoothing * margins if self.label_smoothing else losses

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The logit of the smoothed share of class 1."""
        shares = (1 - self.label_smoothing) * class_shares(targets, weights, 2) + self.label_smoothing / 2
        return np.array([np.log(shares[1] / shares[0])])

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """[1 - p, p] with p = sigmoid(outputs), [B, 2]. Both are accurate even if they are close to 0."""
        logit = outputs[:, 0]
        probabilities: np.ndarray = np.exp(-np.logaddexp(0, np.stack([logit, -logit], axis=1)))
        return probabilities


@dataclass(frozen=True, eq=False)
class _LogProbabilityLoss(Loss):
    """A loss whose outputs are log-probabilities, [B, K]."""

    expects = "log_probabilities"

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """exp(outputs), [B, K]."""
        probabilities: np.ndarray = np.exp(outputs)
        return probabilities


@final
class NegativeLogLikelihood(_LogProbabilityLoss):
    """Minus the log-probability of the row's class; the last layer has the activation ``log_softmax``."""

    name = "negative_log_likelihood"
    task = "classification"
    target_kind = "class"

    def units(self, classes: int | None, targets: int) -> int:
        """One log-probability per class."""
        return require_classes(self, classes)

    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """[B, K] and int32 [B] to [B]."""
        return -_value_of_class(outputs, targets)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The logarithms of the class shares."""
        logs: np.ndarray = np.log(class_shares(targets, weights, units))
        return logs


@final
class KLDivergence(_LogProbabilityLoss):
    """sum_k t_k (log t_k - o_k): the divergence of a target distribution t from exp(o).

    A target probability of 0 adds 0. A class index as target means probability 1 for that class. Source:
    Kullback and Leibler 1951.
    """

    name = "kl_divergence"
    task = "both"
    target_kind = "distribution"

    def units(self, classes: int | None, targets: int) -> int:
        """One log-probability per class, or per number of the target distribution."""
        return targets if classes is None else classes

    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """[B, K] and float [B, K], or int32 [B], to [B]."""
        if targets.dtype == "int32":
            return -_value_of_class(outputs, targets)
        present = targets > 0
        logs = ops.log(ops.select(present, targets, 1.0))
        return ops.reduce_sum(ops.select(present, targets * (logs - outputs), 0.0), 1)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """The logarithms of the mean distribution."""
        if targets.ndim == 1:
            shares = class_shares(targets, weights, units)
        else:
            mean = np.maximum(weights @ targets, 0.0)
            shares = np.maximum(mean / mean.sum(), MINIMUM_SHARE)
        logs: np.ndarray = np.log(shares)
        return logs


@dataclass(frozen=True, eq=False)
class _MarginLoss(Loss):
    """A loss of scores: one output whose sign decides between two classes, or one output per class."""

    task = "classification"
    target_kind = "sign"
    expects = "margins"

    @abstractmethod
    def margin_losses(self, margins: Value) -> Value:
        """Two classes: the loss of the margins s * y, [B] to [B]. s is -1 for class 0 and 1 for class 1."""

    @abstractmethod
    def score_losses(self, scores: Value, targets: Value) -> Value:
        """K classes: the loss of the scores, [B, K] and int32 [B] to [B]."""

    def units(self, classes: int | None, targets: int) -> int:
        """One score for two classes; else one per class."""
        count = require_classes(self, classes)
        return 1 if count == 2 else count

    def row_losses(self, outputs: Value, targets: Value) -> Value:
        """[B, 1] or [B, K], and int32 [B], to [B]."""
        if outputs.shape[1] == 1:
            return self.margin_losses(_margins(outputs, targets))
        return self.score_losses(outputs, targets)


@final
class Hinge(_MarginLoss):
    """max(0, 1 - s * y): the loss of support vector machines (Cortes and Vapnik 1995).

    For K classes: max(0, 1 + the largest score of another class - the score of the row's class) (Crammer and
    Singer 2001).
    """

    name = "hinge"

    def margin_losses(self, margins: Value) -> Value:
        """max(0, 1 - s * y)."""
        return ops.maximum(1 - margins, 0.0)

    def score_losses(self, scores: Value, targets: Value) -> Value:
        """The largest score, with 1 added for all other classes, minus the score of the row's class."""
        raised = scores + (1 - ops.one_hot(targets, scores.shape[1], scores.dtype))
        return ops.reduce_max(raised, 1) - _value_of_class(scores, targets)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """A margin of 1 for the most frequent class; with K classes, only if its share p is above 1/2.

        With a lead of d in [0, 1] over the other classes the loss is 1 + d - 2 p d, which is linear in d.
        """
        shares = class_shares(targets, weights, max(units, 2))
        if units == 1:
            return np.array([1.0 if shares[1] > shares[0] else -1.0])
        leads: np.ndarray = np.where(shares > 0.5, 1.0, 0.0)
        return leads


@final
class Perceptron(_MarginLoss):
    """max(0, -s * y): zero for a correctly classified row (Rosenblatt 1958).

    Gradient descent on this loss is Rosenblatt's rule. For K classes, the loss is the largest score minus the
    score of the row's class (Collins 2002). A row on the boundary counts as wrong: its gradient is not 0, so that
    training can start from weights of zero.
    """

    name = "perceptron"

    def margin_losses(self, margins: Value) -> Value:
        """0 where s * y > 0, else -s * y."""
        return ops.select(margins > 0, 0.0, -margins)

    def score_losses(self, scores: Value, targets: Value) -> Value:
        """max_j o_j - o_target."""
        return ops.reduce_max(scores, 1) - _value_of_class(scores, targets)

    def best_constant(self, targets: np.ndarray, weights: np.ndarray, units: int) -> np.ndarray:
        """Zero: the loss is 0 if all scores are 0."""
        return np.zeros(units)


def _value_of_class(values: Value, targets: Value) -> Value:
    """The value of each row's class: [B, K] and int32 [B] to [B]. Values of other classes may be infinite."""
    chosen = ops.one_hot(targets, values.shape[1], "bool")
    return ops.reduce_sum(ops.select(chosen, values, 0.0), 1)


def _margins(outputs: Value, targets: Value) -> Value:
    """The margins s * y, [B], of outputs [B, 1]: y for class 1, -y for class 0."""
    output = ops.reshape(outputs, targets.shape)
    return ops.select(targets > 0, output, -output)
