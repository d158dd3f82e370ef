"""Initializers: how weights are drawn."""

from glassgrad.common.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "glassgrad.init.initializers": (
            "Constant",
            "FanInUniform",
            "HeNormal",
            "HeUniform",
            "Initializer",
            "LSUV",
            "LecunNormal",
            "LecunUniform",
            "Normal",
            "Orthogonal",
            "TruncatedNormal",
            "Uniform",
            "XavierNormal",
            "XavierUniform",
            "Zeros",
        )
    },
)
