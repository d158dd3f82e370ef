"""The elementwise functions of the op table as vector code: no library calls, and no branches but in sin.

The largest errors, in units in the last place, with and without fused multiply-add (``tests`` hold them):

TABLE
"""

from __future__ import annotations

from collections.abc import Callable

from glassgrad.backends.native.ir import Function, Reg
from glassgrad.backends.native.math_exp import erf, exp, expm1, log, log1p, sigmoid, tanh
from glassgrad.backends.native.math_parts import floor, magnitude
from glassgrad.backends.native.math_power import power
from glassgrad.backends.native.math_trig import cos, sin

Elementwise = Callable[..., Reg]


def sqrt(f: Function, x: Reg) -> Reg:
    """The square root, correctly rounded."""
    return f.intrinsic("sqrt", x)


def sign(f: Function, x: Reg) -> Reg:
    """-1, 0 or 1; NaN stays NaN."""
    below = f.select(f.compare("olt", x, 0.0), f.number(x, -1.0), f.fadd(x, 0.0))
    return f.select(f.compare("ogt", x, 0.0), f.number(x, 1.0), below)


# Name -> (function in the making, *operands) -> result; operands are float or double, of any lanes.
FUNCTIONS: dict[str, Elementwise] = {
    "exp": exp,
    "log": log,
    "log1p": log1p,
    "expm1": expm1,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "erf": erf,
    "sin": sin,
    "cos": cos,
    "power": power,
    "sqrt": sqrt,
    "absolute": magnitude,
    "floor": floor,
    "sign": sign,
}
