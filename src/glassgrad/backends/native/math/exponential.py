"""exp, log and related functions as vector code.

Arguments are reduced to a small interval (Cody and Waite, Software Manual for the Elementary Functions, 1980). Then a
minimax polynomial or rational function is evaluated (Muller, Elementary Functions, 3rd ed., 2016). The code has no
branches: special values are selected at the end, so that every lane costs the same.
"""

from __future__ import annotations

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.math.coefficients import ATANH, LOG_FLOAT
from glassgrad.backends.native.math.floats import (
    bits,
    clamp,
    format_of,
    from_bits,
    horner,
    magnitude,
    split_exponent,
    to_float,
    with_sign,
)

LOG2_E = 1.4426950408889634


def _reduce(f: Function, x: Reg, tail: Reg | None = None) -> tuple[Reg, Reg]:
    """The bits of n = round(x / ln 2), shifted to the position of the exponent, and exp(x - n ln 2) - 1."""
    fmt = format_of(x)
    shifted = f.muladd(x, LOG2_E, fmt.magic)
    n = f.fsub(shifted, fmt.magic)
    r = f.muladd(n, -fmt.ln2[0], x)
    r = f.muladd(n, -fmt.ln2[1], r if tail is None else f.fadd(r, tail))
    exp_minus_1 = f.muladd(f.fmul(r, r), horner(f, fmt.exp, r), r)
    return f.shl(bits(f, shifted), fmt.fraction), exp_minus_1


def exponential(f: Function, x: Reg, *, tail: Reg | None = None, positive: bool = True) -> Reg:
    """exp(x + tail) for a tail far smaller than x; ``positive``: whether x may be positive."""
    fmt = format_of(x)
    x = clamp(f, x, fmt.exp_range[0], fmt.exp_range[1] if positive else None)
    exponent_bits, exp_minus_1 = _reduce(f, x, tail)
    # 2**n as two factors: it may be out of range although the result is in range.
    half = f.and_(f.ashr(exponent_bits, 1), ~fmt.fraction_mask)
    first = from_bits(f, f.add(half, fmt.one), x)
    second = from_bits(f, f.add(f.sub(exponent_bits, half), fmt.one), x)
    return f.fmul(f.fmul(f.fadd(exp_minus_1, 1.0), first), second)


def exp(f: Function, x: Reg) -> Reg:
    """e**x."""
    return exponential(f, x)


def expm1(f: Function, x: Reg) -> Reg:
    """exp(x) - 1, accurate near 0."""
    fmt = format_of(x)
    exponent_bits, exp_minus_1 = _reduce(f, clamp(f, x, -50.0, fmt.exp_range[1]))
    # Half of the result, since 2**n may overflow although the result does not.
    half = from_bits(f, f.add(exponent_bits, fmt.one - (1 << fmt.fraction)), x)
    result = f.muladd(half, exp_minus_1, f.fsub(half, 0.5))
    tiny = f.compare("olt", magnitude(f, x), 2.0 ** -(fmt.fraction + 2))  # also keeps -0
    return f.select(tiny, x, f.fadd(result, result))


def sigmoid(f: Function, x: Reg) -> Reg:
    """1 / (1 + exp(-x)), accurate down to its smallest values."""
    fmt = format_of(x)
    minus_size = from_bits(f, f.or_(bits(f, x), fmt.sign), x)
    exp_minus_size = exponential(f, minus_size, positive=False)
    numerator = f.select(f.compare("olt", x, 0.0), exp_minus_size, f.number(x, 1.0))
    return f.fdiv(numerator, f.fadd(exp_minus_size, 1.0))


def _log_near_one(f: Function, k: Reg, v: Reg) -> Reg:
    """k ln 2 + log(1 + v) for 1 + v in [sqrt(1/2), sqrt(2))."""
    fmt = format_of(v)
    half_square = f.fmul(f.fmul(v, v), 0.5)
    if v.element == "float":
        tail = f.fmul(f.fmul(f.fmul(v, v), v), horner(f, LOG_FLOAT, v))
    else:
        s = f.fdiv(v, f.fadd(v, 2.0))
        z = f.fmul(s, s)
        tail = f.fmul(s, f.muladd(z, horner(f, ATANH, z), half_square))
    small = f.fsub(f.muladd(k, fmt.ln2[1], tail), half_square)
    return f.muladd(k, fmt.ln2[0], f.fadd(v, small))


def _log_special(f: Function, x: Reg, result: Reg) -> Reg:
    """``result`` where x is positive and finite; elsewhere the special values of log."""
    result = f.select(f.compare("olt", x, float("inf")), result, x)
    special = f.select(f.compare("oeq", x, 0.0), f.number(x, float("-inf")), f.number(x, float("nan")))
    return f.select(f.compare("ogt", x, 0.0), result, special)


def split_any(f: Function, x: Reg) -> tuple[Reg, Reg]:
    """k (as a float) and m with x = m * 2**k as ``split_exponent``, for denormal x too."""
    fmt = format_of(x)
    tiny = f.compare("olt", x, 2.0 ** (1 - fmt.bias))
    k, m = split_exponent(f, f.select(tiny, f.fmul(x, 2.0 ** (fmt.fraction + 1)), x))
    k = f.sub(k, f.select(tiny, f.number(k, fmt.fraction + 1), 0))
    return to_float(f, k, x), m


def log(f: Function, x: Reg) -> Reg:
    """The natural logarithm."""
    k, m = split_any(f, x)
    return _log_special(f, x, _log_near_one(f, k, f.fsub(m, 1.0)))


def log1p(f: Function, x: Reg) -> Reg:
    """log(1 + x), accurate near 0."""
    fmt = format_of(x)
    total = f.fadd(x, 1.0)
    k, _ = split_exponent(f, total)
    # v = (1 + x) / 2**k - 1, computed from x itself: the sum 1 + x has lost low bits of x. Scaled by a quarter, since
    # 2**-k may be denormal.
    scale = from_bits(f, f.sub(f.number(k, fmt.one + (2 << fmt.fraction)), f.shl(k, fmt.fraction)), x)
    v = f.muladd(f.fmul(x, scale), 0.25, f.muladd(scale, 0.25, -1.0))
    result = _log_special(f, total, _log_near_one(f, to_float(f, k, x), v))
    return with_sign(f, result, x)


def _expm1_bounded(f: Function, x: Reg) -> Reg:
    """exp(x) - 1, accurate near 0, for x so small that 2**n is a normal number."""
    fmt = format_of(x)
    exponent_bits, exp_minus_1 = _reduce(f, x)
    scale = from_bits(f, f.add(exponent_bits, fmt.one), x)
    return f.muladd(scale, exp_minus_1, f.fsub(scale, 1.0))


def tanh(f: Function, x: Reg) -> Reg:
    """The hyperbolic tangent: g / (g + 2) with g = exp(2 |x|) - 1."""
    size = clamp(f, magnitude(f, x), None, format_of(x).tanh_limit)
    g = _expm1_bounded(f, f.fadd(size, size))
    return with_sign(f, f.fdiv(g, f.fadd(g, 2.0)), x)


def erf(f: Function, x: Reg) -> Reg:
    """The error function: 1 - exp(log(erfc(x))), with a fit of the smooth function log(erfc(x)) / x."""
    fmt = format_of(x)
    size = clamp(f, magnitude(f, x), None, fmt.erf_limit)
    exponent = f.fmul(size, horner(f, fmt.erf, size))
    if fmt.erf_below:
        exponent = f.fdiv(exponent, horner(f, fmt.erf_below, size))
    return with_sign(f, _expm1_bounded(f, exponent), x)
