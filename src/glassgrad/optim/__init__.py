"""Optimizers, learning-rate schedules, and gradient transformations."""

from glassgrad.common.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "glassgrad.optim.gradients": (
            "GradientTransformation",
            "clip_by_global_norm",
            "clip_by_value",
            "global_norm",
        ),
        "glassgrad.optim.optimizers": ("Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "SGD"),
        "glassgrad.optim.schedules": (
            "Constant",
            "Cosine",
            "ExponentialDecay",
            "OneCycle",
            "ReduceOnPlateau",
            "Schedule",
            "StepDecay",
            "Warmup",
        ),
    },
)
