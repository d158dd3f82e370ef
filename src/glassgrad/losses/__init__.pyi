# Written by tools/write_stubs.py.

from glassgrad.losses.base import Loss as Loss
from glassgrad.losses.classification import (
    BinaryCrossEntropy as BinaryCrossEntropy,
    CategoricalCrossEntropy as CategoricalCrossEntropy,
    Hinge as Hinge,
    KLDivergence as KLDivergence,
    NegativeLogLikelihood as NegativeLogLikelihood,
    Perceptron as Perceptron,
)
from glassgrad.losses.regression import (
    AbsoluteError as AbsoluteError,
    Huber as Huber,
    LogCosh as LogCosh,
    Poisson as Poisson,
    Quantile as Quantile,
    RootMeanSquaredError as RootMeanSquaredError,
    SquaredError as SquaredError,
)

__all__ = [
    "AbsoluteError",
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "NegativeLogLikelihood",
    "Perceptron",
    "Poisson",
    "Quantile",
    "RootMeanSquaredError",
    "SquaredError",
]
