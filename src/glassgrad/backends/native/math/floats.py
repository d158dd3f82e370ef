"""Building blocks of the elementwise functions: bits of floats, polynomials, scaling, unevaluated sums.

Every helper takes the function that it emits into, and works on scalars and on vectors of any number of lanes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.math.coefficients import FORMATS, Format

# An unevaluated sum of two floats: the rounded value and the rounding error.
Pair = tuple[Reg, Reg]


def format_of(x: Reg) -> Format:
    """The format of a register's element."""
    return FORMATS[x.element]


def bits(f: Function, x: Reg) -> Reg:
    """The bits of ``x`` as integers."""
    return f.cast("bitcast", x, format_of(x).integer)


def from_bits(f: Function, i: Reg, like: Reg) -> Reg:
    """The floats with the bits of the integers ``i``, in the format of ``like``."""
    return f.cast("bitcast", i, like.element)


def magnitude(f: Function, x: Reg) -> Reg:
    """|x|."""
    return f.intrinsic("fabs", x)


def with_sign(f: Function, x: Reg, sign: Reg) -> Reg:
    """|x| with the sign of ``sign``."""
    return f.intrinsic("copysign", x, sign)


def clamp(f: Function, x: Reg, low: float | None, high: float | None) -> Reg:
    """``x`` clamped to ``low`` ... ``high`` (None: no bound); NaN stays NaN."""
    if low is not None:
        x = f.select(f.compare("olt", x, low), f.number(x, low), x)
    if high is not None:
        x = f.select(f.compare("ogt", x, high), f.number(x, high), x)
    return x


def horner(f: Function, coefficients: Sequence[float], x: Reg) -> Reg:
    """The polynomial with these coefficients (constant term first) at ``x``, by Horner's rule."""
    *rest, last = coefficients
    total = f.number(x, last)
    for coefficient in reversed(rest):
        total = f.muladd(total, x, coefficient)
    return total


def split_exponent(f: Function, x: Reg) -> tuple[Reg, Reg]:
    """The integer k and the m in [sqrt(1/2), sqrt(2)) with x = m * 2**k, for a positive normal ``x``."""
    fmt = format_of(x)
    root = 0x3F3504F3 if x.element == "float" else 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
    offset_bits = f.sub(bits(f, x), root)
    m = f.add(f.and_(offset_bits, fmt.fraction_mask), root)
    return f.ashr(offset_bits, fmt.fraction), from_bits(f, m, x)


def to_float(f: Function, k: Reg, like: Reg) -> Reg:
    """Small integers as floats. For double it adds the magic number, since few machines have a conversion."""
    fmt = format_of(like)
    if like.element == "float":
        return f.cast("sitofp", k, "float")
    shifted = f.add(k, bits_of(fmt.magic))
    return f.fsub(from_bits(f, shifted, like), fmt.magic)


def bits_of(number: float) -> int:
    """The bits of a double."""
    return int.from_bytes(struct.pack(">d", number), "big")


# --- unevaluated sums: Dekker (1971), A floating-point technique for extending the available precision ---


def exact(f: Function, op: str, a: Reg, b: Reg | float) -> Reg:
    """``fadd``, ``fsub`` or ``fmul`` that is never fused: the error terms below rely on its rounding."""
    return f.binary(op, a, b)


def quick_sum(f: Function, a: Reg, b: Reg) -> Pair:
    """a + b exactly, where |a| >= |b| or a = 0."""
    total = exact(f, "fadd", a, b)
    return total, exact(f, "fsub", b, exact(f, "fsub", total, a))


def product(f: Function, a: Reg, b: Reg) -> Pair:
    """a * b of doubles, to about 2**-105; the factors are split by a mask, which cannot overflow."""

    def halves(x: Reg) -> Pair:
        high = from_bits(f, f.and_(bits(f, x), -(1 << 27)), x)
        return high, exact(f, "fsub", x, high)

    (ah, al), (bh, bl) = halves(a), halves(b)
    total = exact(f, "fmul", a, b)
    error = exact(f, "fsub", exact(f, "fmul", ah, bh), total)
    for left, right in ((ah, bl), (al, bh), (al, bl)):
        error = exact(f, "fadd", error, exact(f, "fmul", left, right))
    return total, error


# --- rounding ------------------------------------------------------------------------------------------


def floor(f: Function, x: Reg) -> Reg:
    """The largest integer not above ``x``. It uses a magic number, since SSE2 has no rounding instruction."""
    size, magic = magnitude(f, x), 2.0 ** format_of(x).fraction
    rounded = exact(f, "fsub", exact(f, "fadd", size, magic), magic)
    nearest = f.select(f.compare("olt", size, magic), rounded, size)
    nearest = with_sign(f, nearest, x)
    above = f.compare("ogt", nearest, x)
    return f.fsub(nearest, f.select(above, f.number(x, 1.0), 0.0))
