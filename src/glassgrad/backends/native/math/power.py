"""x**y as vector code: exp(y log x), computed with more digits than the result has.

Float is computed in double. For double, log is an unevaluated sum of two doubles (Dekker, 1971) with a relative error
of about 2**-64, as exponents of up to 745 require.
"""

from __future__ import annotations

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.math.coefficients import ATANH2, DOUBLE, TWO_THIRDS
from glassgrad.backends.native.math.exponential import exponential, log, split_any
from glassgrad.backends.native.math.floats import (
    Pair,
    clamp,
    exact,
    floor,
    horner,
    magnitude,
    product,
    quick_sum,
    with_sign,
)


def _log_pair(f: Function, x: Reg) -> Pair:
    """log(x) of positive finite doubles as a pair.

    With m = 1 + v and s = v / (2 + v): log m = 2 s + 2/3 s**3 + ...; the first two terms are computed as pairs.
    """
    k, m = split_any(f, x)
    v = exact(f, "fsub", m, 1.0)
    divisor, divisor_rest = quick_sum(f, f.number(v, 2.0), v)
    s = f.fdiv(v, divisor)
    back, back_rest = product(f, s, divisor)
    left = exact(f, "fsub", exact(f, "fsub", v, back), back_rest)
    s_rest = f.fdiv(f.fsub(left, f.fmul(s, divisor_rest)), divisor)

    z, z_rest = product(f, s, s)
    z_rest = f.muladd(f.fadd(s, s), s_rest, z_rest)
    c, c_rest = quick_sum(f, f.number(z, TWO_THIRDS[0]), f.fmul(z, horner(f, ATANH2, z)))
    c_rest = f.fadd(c_rest, TWO_THIRDS[1])
    cube, cube_rest = product(f, s, z)
    cube_rest = f.fadd(cube_rest, f.muladd(s, z_rest, f.fmul(s_rest, z)))
    second, second_rest = product(f, cube, c)
    second_rest = f.fadd(second_rest, f.muladd(cube, c_rest, f.fmul(cube_rest, c)))

    total, rest = quick_sum(f, exact(f, "fmul", k, DOUBLE.ln2[0]), f.fadd(s, s))
    total, rest2 = quick_sum(f, total, second)
    small = f.fadd(f.fadd(s_rest, s_rest), f.muladd(k, DOUBLE.ln2[1], second_rest))
    return quick_sum(f, total, f.fadd(f.fadd(rest, rest2), small))


def _power_of_size(f: Function, size: Reg, y: Reg) -> Reg:
    """size**y for size >= 0; NaN if log(size) or its product with y is NaN."""
    if size.element == "float":
        wide = f.fmul(f.cast("fpext", y, "double"), log(f, f.cast("fpext", size, "double")))
        return f.cast("fptrunc", exponential(f, wide), "float")
    high, low = _log_pair(f, size)
    high = f.select(f.compare("olt", size, float("inf")), high, size)
    high = f.select(f.compare("oeq", size, 0.0), f.number(size, float("-inf")), high)
    y = clamp(f, y, -(2.0**64), 2.0**64)  # beyond, the power of any number but 1 is 0 or inf
    wide, tail = product(f, y, high)
    tail = f.muladd(y, low, tail)
    tail = f.select(f.compare("olt", magnitude(f, wide), 1000.0), tail, 0.0)
    return exponential(f, wide, tail=tail)


def power(f: Function, x: Reg, y: Reg) -> Reg:
    """x**y, with the special values of C's ``pow``."""
    size = magnitude(f, x)
    result = _power_of_size(f, size, y)
    one = f.number(x, 1.0)
    is_number = f.compare("ord", y, y)
    result = f.select(f.and_(f.compare("oeq", size, 1.0), is_number), one, result)
    half_y = f.fmul(y, 0.5)
    is_integer = f.compare("oeq", floor(f, y), y)
    is_odd = f.and_(is_integer, f.compare("une", floor(f, half_y), half_y))
    undefined = f.and_(f.compare("olt", x, 0.0), f.compare("one", size, float("inf")))
    undefined = f.and_(undefined, f.xor(is_integer, 1))
    result = f.select(undefined, f.number(x, float("nan")), result)
    result = with_sign(f, result, f.select(is_odd, x, 1.0))
    is_one = f.or_(f.compare("oeq", y, 0.0), f.compare("oeq", x, 1.0))
    return f.select(is_one, one, result)
