# Written by tools/write_stubs.py.

from glassgrad.init.initializers import (
    Constant as Constant,
    FanInUniform as FanInUniform,
    HeNormal as HeNormal,
    HeUniform as HeUniform,
    Initializer as Initializer,
    LSUV as LSUV,
    LecunNormal as LecunNormal,
    LecunUniform as LecunUniform,
    Normal as Normal,
    Orthogonal as Orthogonal,
    TruncatedNormal as TruncatedNormal,
    Uniform as Uniform,
    XavierNormal as XavierNormal,
    XavierUniform as XavierUniform,
    Zeros as Zeros,
)

__all__ = [
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
]
