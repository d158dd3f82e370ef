"""All losses by name, and the construction of a loss from text or a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glassgrad.common.registry import Registry
from glassgrad.losses.base import Loss, batch_loss, weighted_mean
from glassgrad.losses.classification import (
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Hinge,
    KLDivergence,
    NegativeLogLikelihood,
    Perceptron,
)
from glassgrad.losses.regression import (
    AbsoluteError,
    Huber,
    LogCosh,
    Poisson,
    Quantile,
    RootMeanSquaredError,
    SquaredError,
)

__all__ = ["ALIASES", "LOSSES", "Loss", "batch_loss", "loss", "weighted_mean"]

LOSSES: Registry[Loss] = Registry("loss", Loss)  # type: ignore[type-abstract]


def loss(spec: str | Mapping[str, Any] | Loss) -> Loss:
    """The loss for a specification such as ``"mse"`` or ``"huber(0.5)"``; see ``Registry.make``."""
    return LOSSES.make(spec)


_CLASSES: tuple[type[Loss], ...] = (
    SquaredError,
    RootMeanSquaredError,
    AbsoluteError,
    Huber,
    LogCosh,
    Quantile,
    CategoricalCrossEntropy,
    BinaryCrossEntropy,
    NegativeLogLikelihood,
    Hinge,
    Perceptron,
    KLDivergence,
    Poisson,
)
ALIASES: dict[str, type[Loss]] = {
    "mean_squared_error": SquaredError,
    "mse": SquaredError,
    "rmse": RootMeanSquaredError,
    "mean_absolute_error": AbsoluteError,
    "mae": AbsoluteError,
    "pinball": Quantile,
    "cross_entropy": CategoricalCrossEntropy,
    "bce": BinaryCrossEntropy,
    "nll": NegativeLogLikelihood,
    "kl": KLDivergence,
}
for _class in _CLASSES:
    LOSSES.add(_class.name, _class)
# Aliases come last: a configuration uses the first registered name of a class.
for _alias, _class in ALIASES.items():
    LOSSES.add(_alias, _class)
