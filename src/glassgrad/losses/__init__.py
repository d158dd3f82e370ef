"""Loss functions."""

from glassgrad.common.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "glassgrad.losses.base": ("Loss",),
        "glassgrad.losses.classification": (
            "BinaryCrossEntropy",
            "CategoricalCrossEntropy",
            "Hinge",
            "KLDivergence",
            "NegativeLogLikelihood",
            "Perceptron",
        ),
        "glassgrad.losses.regression": (
            "AbsoluteError",
            "Huber",
            "LogCosh",
            "Poisson",
            "Quantile",
            "RootMeanSquaredError",
            "SquaredError",
        ),
    },
)
