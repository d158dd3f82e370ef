"""sin and cos as vector code, for every argument.

Up to a million, multiples of pi / 2 are subtracted in pieces (Cody and Waite, 1980). Larger arguments are reduced
lane by lane with Payne and Hanek's method (Radian reduction for trigonometric functions, SIGNUM Newsletter 18, 1983):
only the fraction of x / (2 pi) matters, so only its bits are computed.
"""

from __future__ import annotations

from itertools import pairwise
from math import pi

from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg
from glassgrad.backends.native.math.coefficients import DOUBLE
from glassgrad.backends.native.math.floats import bits, format_of, from_bits, horner, magnitude

LIMIT = 1e6  # largest argument of the fast reduction: below 2**20 multiples of pi / 2

# 64 zero bits, then the first bits of 1 / (2 pi): enough for the largest double.
TURNS = (
    0x0000000000000000, 0x28BE60DB9391054A, 0x7F09D5F47D4D3770, 0x36D8A5664F10E410, 0x7F9458EAF7AEF158,
    0x6DC91B8E909374B8, 0x01924BBA82746487, 0x3F877AC72C4A69CF, 0xBA208D7D4BAED121, 0x3A671C09AD17DF90,
    0x4E64758E60D4CE7D, 0x272117E2EF7E4A0E, 0xC7FE25FFF7816603, 0xFBCBC462D6829B47, 0xDB4D9FB3C9F2C26D,
    0xD3D18FD9A797FA8B, 0x5D49EEB1FAF97C5E, 0xCF41CE7DE294A4BA, 0x9AFED7EC47E35742, 0x1580CC11BF1EDAEA,
)  # fmt: skip


def _reduce_far(f: Function, x: Reg, table: Reg) -> tuple[Reg, Reg]:
    """One positive double of 2**19 or more as (remainder, quadrant); the remainder is NaN for inf."""
    pattern = bits(f, x)
    mantissa = f.or_(f.and_(pattern, DOUBLE.fraction_mask), 1 << 52)
    # x = mantissa * 2**e: the bits of 1 / (2 pi) before the e-th contribute only whole turns.
    start = f.sub(f.lshr(pattern, 52), 1023 + 52 - 64)
    word, shift = f.lshr(start, 6), f.and_(start, 63)
    words = [f.load("i64", f.at(table, "i64", f.add(word, i)), align=8) for i in range(4)]
    window = [f.intrinsic("fshl", a, b, shift) for a, b in pairwise(words)]
    products = [f.mul(f.cast("zext", w, "i128"), f.cast("zext", mantissa, "i128")) for w in window]
    fraction = f.add(f.shl(products[0], 64), f.add(products[1], f.lshr(products[2], 64)))
    # The fraction of a turn, times 2**128. Its nearest quarter is the quadrant; the rest is the remainder.
    rounded = f.add(fraction, 1 << 125)
    quadrant = f.cast("trunc", f.lshr(rounded, 126), "i64")
    rest = f.sub(f.and_(rounded, (1 << 126) - 1), 1 << 125)
    negative = f.compare("slt", rest, 0)
    rest = f.select(negative, f.sub(f.number(rest, 0), rest), rest)
    high = f.cast("sitofp", f.cast("trunc", f.lshr(rest, 64), "i64"), "double")
    low = f.cast("sitofp", f.lshr(f.cast("trunc", rest, "i64"), 1), "double")
    r = f.fmul(f.muladd(low, 2.0**-63, high), 2 * pi * 2.0**-64)
    r = f.select(negative, f.fneg(r), r)
    return f.fadd(r, f.fsub(x, x)), quadrant


def _reduce(f: Function, x: Reg) -> tuple[Reg, Reg]:
    """(r, q) with x = r + q pi / 2, |r| <= pi / 4, for x >= 0; only the last two bits of q are valid."""
    kind, fmt = x.element, format_of(x)
    x = f.cast("fpext", x, "double") if kind == "float" else x
    shifted = f.muladd(x, 2 / pi, DOUBLE.magic)
    n, r = f.fsub(shifted, DOUBLE.magic), x
    for part in fmt.half_pi:
        r = f.muladd(n, -part, r)
    result, quadrants = f.alloca(x.type), f.alloca(x.of("i64"))
    f.store(r, result, align=8)
    f.store(bits(f, shifted), quadrants, align=8)
    with f.when(_any(f, f.compare("ogt", x, LIMIT))):
        _reduce_far_lanes(f, x, result, quadrants)
    r = f.load(x.type, result, align=8)
    q = f.load(x.of("i64"), quadrants, align=8)
    return (f.cast("fptrunc", r, "float"), f.cast("trunc", q, "i32")) if kind == "float" else (r, q)


def _any(f: Function, condition: Reg) -> Reg:
    """Whether ``condition`` is true in any lane."""
    if condition.lanes == 1:
        return condition
    mask = f.emit(f"i{condition.lanes}", f"bitcast {condition.type} {condition.text} to i{condition.lanes}")
    return f.compare("ne", mask, 0)


def _reduce_far_lanes(f: Function, x: Reg, result: Reg, quadrants: Reg) -> None:
    """Correct the lanes of ``x`` beyond the limit in the vectors at ``result`` and ``quadrants``."""
    # Uses slots of its own, since a slot that is indexed by lane cannot be promoted to a register.
    arguments, rs, qs = (f.alloca(element, x.lanes) for element in ("double", "double", "i64"))
    table = f.alloca("i64", len(TURNS))
    for i, word in enumerate(TURNS):
        f.store(f.number("i64", word), f.at(table, "i64", i), align=8)
    f.store(x, arguments, align=8)
    f.store(f.load(x.type, result, align=8), rs, align=8)
    f.store(f.load(x.of("i64"), quadrants, align=8), qs, align=8)
    with f.loop(x.lanes) as lane:
        argument = f.load("double", f.at(arguments, "double", lane), align=8)
        with f.when(f.compare("ogt", argument, LIMIT)):
            r, q = _reduce_far(f, argument, table)
            f.store(r, f.at(rs, "double", lane), align=8)
            f.store(q, f.at(qs, "i64", lane), align=8)
    f.store(f.load(x.type, rs, align=8), result, align=8)
    f.store(f.load(x.of("i64"), qs, align=8), quadrants, align=8)


def _wave(f: Function, r: Reg, q: Reg, sign: Reg | None = None) -> Reg:
    """sin(r + q pi / 2), its sign flipped by the sign bit of ``sign``."""
    fmt, z = format_of(r), f.fmul(r, r)
    sine = f.muladd(f.fmul(r, z), horner(f, fmt.sin, z), r)
    cosine = f.muladd(z, f.muladd(z, horner(f, fmt.cos, z), -0.5), 1.0)
    wave = f.select(f.compare("eq", f.and_(q, 1), 0), sine, cosine)
    flip = f.shl(q, fmt.width - 2)
    flip = f.and_(flip if sign is None else f.xor(flip, sign), fmt.sign)
    return from_bits(f, f.xor(bits(f, wave), flip), r)


def sin(f: Function, x: Reg) -> Reg:
    """The sine of radians."""
    return _wave(f, *_reduce(f, magnitude(f, x)), sign=bits(f, x))


def cos(f: Function, x: Reg) -> Reg:
    """The cosine of radians."""
    r, q = _reduce(f, magnitude(f, x))
    return _wave(f, r, f.add(q, 1))
