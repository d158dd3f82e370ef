"""The elementwise functions of the op table as vector code, for float and double, with any number of lanes.

The code has no library calls, and no branches except for rare large arguments of sin and cos. Every function is valid
over the whole range of its argument: NaN gives NaN; infinities and signed zeros give the results of C99; denormal
arguments and results are neither flushed nor less accurate. A scalar gives the same bits as a lane of a vector.
"""

from __future__ import annotations

from collections.abc import Callable

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.math.exponential import erf, exp, expm1, log, log1p, sigmoid, tanh
from glassgrad.backends.native.math.floats import floor, magnitude
from glassgrad.backends.native.math.power import power
from glassgrad.backends.native.math.trigonometric import cos, sin

Elementwise = Callable[..., Reg]


def sqrt(f: Function, x: Reg) -> Reg:
    """The square root, correctly rounded."""
    return f.intrinsic("sqrt", x)


def sign(f: Function, x: Reg) -> Reg:
    """-1, 0 or 1; NaN stays NaN."""
    below = f.select(f.compare("olt", x, 0.0), f.number(x, -1.0), f.fadd(x, 0.0))
    return f.select(f.compare("ogt", x, 0.0), f.number(x, 1.0), below)


# Name -> emitter: (function, *operands) -> result. Operands are float or double, with any number of lanes.
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

# The largest error in units in the last place, (float, double), with or without fused multiply-add: the largest
# measured on tens of millions of float and a million double arguments of all sizes, rounded up. Functions that are
# not listed are exact, or (sqrt) correctly rounded.
MAX_ULPS: dict[str, tuple[float, float]] = {
    "exp": (1.1, 1.1),
    "log": (1.0, 1.0),
    "log1p": (1.6, 1.6),
    "expm1": (1.7, 2.3),
    "tanh": (2.6, 2.8),
    "sigmoid": (2.5, 2.5),
    "erf": (3.2, 3.6),
    "sin": (1.7, 2.6),
    "cos": (1.7, 2.8),
    "power": (0.6, 1.3),
}
