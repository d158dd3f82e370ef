"""The elementwise functions of the op table as vector code, for float and double, of any number of lanes.

No library calls, and no branches but for the rare large argument of sin and cos. Every function holds over
the whole range of its argument: NaN gives NaN, infinities and signed zeros give what C99 says, denormal
arguments and results are neither flushed nor less exact. A scalar gives the same bits as a lane.
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

# The largest error in units in the last place, (float, double), whether or not the machine fuses a * b + c.
# These are the largest found among tens of millions of float and a million double arguments of all sizes,
# rounded up; what is missing here is exact, or for sqrt correctly rounded.
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
