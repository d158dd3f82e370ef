# Written by tools/write_stubs.py.

from glassgrad.optim.gradients import (
    GradientTransformation as GradientTransformation,
    clip_by_global_norm as clip_by_global_norm,
    clip_by_value as clip_by_value,
    global_norm as global_norm,
)
from glassgrad.optim.optimizers import (
    Adagrad as Adagrad,
    Adam as Adam,
    AdamW as AdamW,
    Optimizer as Optimizer,
    RMSprop as RMSprop,
    SGD as SGD,
)
from glassgrad.optim.schedules import (
    Constant as Constant,
    Cosine as Cosine,
    ExponentialDecay as ExponentialDecay,
    OneCycle as OneCycle,
    ReduceOnPlateau as ReduceOnPlateau,
    Schedule as Schedule,
    StepDecay as StepDecay,
    Warmup as Warmup,
)

__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "ExponentialDecay",
    "GradientTransformation",
    "OneCycle",
    "Optimizer",
    "RMSprop",
    "ReduceOnPlateau",
    "SGD",
    "Schedule",
    "StepDecay",
    "Warmup",
    "clip_by_global_norm",
    "clip_by_value",
    "global_norm",
]
