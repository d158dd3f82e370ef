"""The errors of the native elementwise functions, in units in the last place (ulp)."""

from __future__ import annotations

import math

import numpy as np

from glassgrad.backends.native.ir.compiler import compile_text
from glassgrad.backends.native.ir.function import Function
from glassgrad.backends.native.ir.types import Reg, vector
from glassgrad.backends.native.math.functions import FUNCTIONS
from glassgrad.backends.native.runtime.machine import Library, Machine
from glassgrad.ops.table import TABLE

Array = np.ndarray
DTYPES = {"float": np.dtype(np.float32), "double": np.dtype(np.float64)}


def listing(name: str, element: str, lanes: int) -> str:
    """LLVM IR of a function (x, y, out, count) that applies ``name``; ``count`` is a multiple of ``lanes``."""
    f = Function("apply", [("ptr", "x"), ("ptr", "y"), ("ptr", "out"), ("i64", "count")])
    kind = vector(element, lanes)
    with f.loop(Reg("%count", "i64"), step=lanes) as i:
        x, y = (f.load(kind, f.at(Reg(p, "ptr"), element, i)) for p in ("%x", "%y"))
        operands = (x, y) if name == "power" else (x,)
        f.store(FUNCTIONS[name](f, *operands), f.at(Reg("%out", "ptr"), element, i))
    return f.text() + "\n".join(sorted(f.declared))


class Compiled:
    """The function ``name`` as machine code, on arrays of any length."""

    def __init__(self, name: str, element: str, lanes: int, target: Machine) -> None:
        self.dtype, self.lanes = DTYPES[element], lanes
        self.library = Library(compile_text(listing(name, element, lanes), target))
        self.call = self.library.function("apply", 4)  # addresses of x, y, out; their length

    def __call__(self, *operands: Array) -> Array:
        size = operands[0].size
        padded = [np.ones(-(-size // self.lanes) * self.lanes, self.dtype) for _ in range(3)]
        for room, operand in zip(padded, operands, strict=False):
            room[:size] = operand
        self.call(*(room.ctypes.data for room in padded), padded[0].size)
        return padded[2][:size]


def _erf_digits(x: float) -> np.longdouble:
    """erf to 64 bits, by its Taylor series in integers scaled by 2**200."""
    if not abs(x) < 7:
        return np.longdouble(math.erf(x))
    root = np.sqrt(np.longdouble(math.pi) + np.longdouble(1.2246467991473532e-16))  # of pi to 64 bits
    if abs(x) < 1e-10:
        return np.longdouble(x) * 2 / root
    numerator, denominator = abs(x).as_integer_ratio()
    term = (numerator << 200) // denominator
    square, total, k = term * term >> 200, 0, 0
    while term:
        total += term // (2 * k + 1)
        k += 1
        term = -(term * square >> 200) // k
    high, low = divmod(total, 1 << 140)
    size = np.ldexp(np.longdouble(high), -60) + np.ldexp(np.longdouble(low >> 80), -120)
    return np.copysign(size * 2 / root, x)


def truth(name: str, *operands: Array) -> Array:
    """The function in the next wider format: float64 for float32, long double for float64."""
    narrow = operands[0].dtype == np.float32
    with np.errstate(all="ignore"):
        wide = [operand.astype(np.float64 if narrow else np.longdouble) for operand in operands]
        if name == "erf":
            one = math.erf if narrow else _erf_digits
            return np.array([one(float(x)) for x in wide[0]], wide[0].dtype)
        if name == "sigmoid":
            return 1 / (1 + np.exp(-wide[0]))
        return TABLE[name].reference(*wide)


def ulps(got: Array, want: Array) -> Array:
    """|got - want| in units in the last place of ``want``; inf where one is NaN or they differ in infinity."""
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        exponent = np.frexp(want)[1].astype(np.int64) - 1
        unit = np.ldexp(want.dtype.type(1), np.maximum(exponent, info.minexp) - info.nmant)
        apart = np.abs(got.astype(want.dtype) - want) / unit
        rounded = want.astype(got.dtype)
    same = (rounded == got) | (np.isnan(rounded) & np.isnan(got))
    special = ~np.isfinite(rounded) | ~np.isfinite(got)
    # Rounding to inf where the largest finite number is nearer, or the reverse, is an error of that size.
    border = special & ~np.isnan(got) & ~np.isnan(want) & (np.abs(apart) < 8)
    return np.where(same & special, 0.0, np.where(special & ~border, np.inf, apart)).astype(np.float64)


def samples(element: str, count: int, seed: int = 0) -> Array:
    """Random bit patterns (every exponent, denormals, inf, NaN), and as many of everyday size."""
    rng, dtype = np.random.default_rng(seed), DTYPES[element]
    patterns = rng.integers(0, 2 ** (8 * dtype.itemsize), count // 2, f"u{dtype.itemsize}").view(dtype)
    spread = np.concatenate([scale * rng.standard_normal(count // 8) for scale in (0.3, 3.0, 40.0, 300.0)])
    return np.concatenate([patterns, spread.astype(dtype)])
