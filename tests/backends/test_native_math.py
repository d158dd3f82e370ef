"""The elementwise functions of the native backend: their errors, on machines with and without FMA."""

from __future__ import annotations

import platform
import re
from functools import cache

import numpy as np
import pytest

from backends.math_errors import DTYPES, Compiled, listing, samples, truth, ulps
from glassgrad.backends.native.ir.compiler import compile_text
from glassgrad.backends.native.math.functions import FUNCTIONS, MAX_ULPS
from glassgrad.backends.native.runtime.machine import host, machine

INF, NAN = float("inf"), float("nan")
UNARY = sorted(set(MAX_ULPS) - {"power"})
EXACT = {"sqrt": np.sqrt, "absolute": np.abs, "floor": np.floor, "sign": np.sign}
VECTOR_BYTES = {"host": host().vector_bytes, "avx2": 32, "sse2": 16}
X86 = platform.machine().lower() in ("x86_64", "amd64")
WIDE = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="long double is no wider than double here"
)


def runnable(name: str) -> str:
    """``name``, or a skip where this processor cannot run its code."""
    if name != "host" and not X86:
        pytest.skip("x86-64 code does not run here")
    if name == "avx2" and VECTOR_BYTES["host"] < 32:
        pytest.skip("this processor has no AVX2")
    return name


def build(name: str, element: str, target: str, lanes: int | None = None) -> Compiled:
    lanes = lanes or VECTOR_BYTES[runnable(target)] // DTYPES[element].itemsize
    return Compiled(name, element, lanes, machine(target))


@cache
def float_cases(name: str) -> tuple[np.ndarray, np.ndarray]:
    x = samples("float", 1 << 20)
    return x, truth(name, x)


@cache
def double_cases(name: str) -> tuple[np.ndarray, np.ndarray]:
    x = samples("double", 2_000 if name == "erf" else 20_000)
    return x, truth(name, x)


def assert_close(name: str, got: np.ndarray, want: np.ndarray, *operands: np.ndarray) -> None:
    errors, allowed = ulps(got, want), MAX_ULPS[name][got.dtype == np.float64]
    worst = int(np.argmax(errors))
    where = ", ".join(repr(operand[worst]) for operand in operands)
    assert errors[worst] <= allowed, f"{name}({where}) is {errors[worst]} ulp off: {got[worst]!r}"


@pytest.mark.parametrize("target", VECTOR_BYTES)
@pytest.mark.parametrize("name", UNARY)
def test_float_errors(name: str, target: str) -> None:
    x, want = float_cases(name)
    assert_close(name, build(name, "float", target)(x), want, x)


@WIDE
@pytest.mark.parametrize("target", VECTOR_BYTES)
@pytest.mark.parametrize("name", UNARY)
def test_double_errors(name: str, target: str) -> None:
    x, want = double_cases(name)
    assert_close(name, build(name, "double", target)(x), want, x)


@pytest.mark.parametrize("element", [pytest.param("double", marks=WIDE), "float"])
@pytest.mark.parametrize(("name", "middle", "width"), [
    ("log", 1.0, 1e-3), ("log", 0.7071067811865476, 1e-5), ("log1p", -1.0, 1e-4), ("expm1", 0.0, 1e-3),
    ("log1p", 0.0, 1e-3), ("tanh", 0.0, 0.1), ("erf", 0.0, 0.1), ("sigmoid", -88.0, 20.0), ("exp", -95.0, 12.0),
    ("exp", 88.7, 0.1), ("expm1", 88.7, 0.1), ("exp", -727.0, 20.0), ("exp", 709.75, 0.1), ("expm1", 709.75, 0.1),
    ("tanh", 9.0, 1.0), ("erf", 3.9, 0.3), ("tanh", 19.0, 1.0), ("erf", 5.8, 0.3),
])  # fmt: skip
def test_errors_at_the_seams(name: str, middle: float, width: float, element: str) -> None:
    count = 500 if name == "erf" and element == "double" else 10_000
    x = (middle + width * np.random.default_rng(0).uniform(-1, 1, count)).astype(DTYPES[element])
    assert_close(name, build(name, element, "host")(x), truth(name, x), x)


@pytest.mark.parametrize("element", [pytest.param("double", marks=WIDE), "float"])
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_next_to_multiples_of_half_pi(name: str, element: str) -> None:
    rng = np.random.default_rng(0)
    counts = np.concatenate([np.arange(1, 5000), rng.integers(5000, 2**50, 5000)])
    # The last is the double nearest to a multiple of pi / 2 (Muller, Elementary Functions, section 11.2).
    x = np.append(
        counts * np.longdouble(np.pi) / 2, 6381956970095103.0 * 2.0 ** (797 if element == "double" else 60)
    )
    x = x.astype(DTYPES[element])
    for target in ("host", "sse2"):
        assert_close(name, build(name, element, target)(x), truth(name, x), x)


SPECIAL: dict[str, dict[float, float]] = {
    "exp": {-INF: 0.0, INF: INF, 0.0: 1.0, 1e30: INF, -1e30: 0.0},
    "log": {0.0: -INF, 1.0: 0.0, -1.0: NAN, INF: INF, -INF: NAN, -1e-40: NAN},
    "log1p": {0.0: 0.0, -1.0: -INF, -1.5: NAN, INF: INF, -INF: NAN, 1e-40: 1e-40, -1e-40: -1e-40},
    "expm1": {0.0: 0.0, INF: INF, -INF: -1.0, 1e30: INF, -1e30: -1.0, 1e-40: 1e-40, -1e-40: -1e-40},
    "tanh": {0.0: 0.0, INF: 1.0, -INF: -1.0, 1e30: 1.0, -25.0: -1.0, 1e-40: 1e-40, -1e-40: -1e-40},
    "sigmoid": {0.0: 0.5, INF: 1.0, -INF: 0.0, 1e30: 1.0, -1e30: 0.0},
    "erf": {0.0: 0.0, INF: 1.0, -INF: -1.0, 1e30: 1.0, -7.0: -1.0},
    "sin": {0.0: 0.0, INF: NAN, -INF: NAN, 1e-40: 1e-40, -1e-40: -1e-40},
    "cos": {0.0: 1.0, INF: NAN, -INF: NAN},
    "sqrt": {0.0: 0.0, INF: INF, -1.0: NAN, -INF: NAN},
    "absolute": {0.0: 0.0, -INF: INF, -1e-40: 1e-40},
    "floor": {0.0: 0.0, -0.3: -1.0, 0.9: 0.0, -1.0: -1.0, 1e30: 1e30, -INF: -INF, -1e-40: -1.0},
    "sign": {0.0: 0.0, 1e-40: 1.0, -1e-40: -1.0, INF: 1.0, -INF: -1.0},
}
ODD = ("log1p", "expm1", "tanh", "erf", "sin", "sqrt", "floor")  # -0 gives -0


@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("target", VECTOR_BYTES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str, target: str, element: str) -> None:
    pairs = [*SPECIAL[name].items(), (NAN, NAN), (-0.0, -0.0 if name in ODD else SPECIAL[name][0.0])]
    x, want = np.array(pairs, DTYPES[element]).T
    got = build(name, element, target)(x)
    np.testing.assert_array_equal(got, want)
    known = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(want)[known])


def test_every_function_has_special_values() -> None:
    assert set(SPECIAL) | {"power"} == set(FUNCTIONS)
    assert set(MAX_ULPS) | set(EXACT) == set(FUNCTIONS)


@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("target", VECTOR_BYTES)
@pytest.mark.parametrize("name", EXACT)
def test_exact_functions(name: str, target: str, element: str) -> None:
    x = np.concatenate([samples(element, 20_000), np.arange(-40, 40).astype(DTYPES[element]) / 8])
    with np.errstate(invalid="ignore"):
        want = EXACT[name](x)
    np.testing.assert_array_equal(build(name, element, target)(x), want)


@pytest.mark.parametrize("name", ["tanh", "erf", "sigmoid", "sin", "cos"])
def test_results_never_exceed_one(name: str) -> None:
    x, _ = float_cases(name)
    for target in ("host", "sse2"):
        got = build(name, "float", target)(x)
        assert np.nanmax(np.abs(got)) == 1.0


@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("target", ["host", "sse2"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_scalar_gives_the_same_bits_as_a_lane(name: str, target: str, element: str) -> None:
    x, y = samples(element, 4_000), samples(element, 4_000, seed=1)
    scalar, vector = (build(name, element, target, lanes)(x, y) for lanes in (1, 16))
    np.testing.assert_array_equal(scalar, vector)
    np.testing.assert_array_equal(np.signbit(scalar[scalar == 0]), np.signbit(vector[vector == 0]))


@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2", "aarch64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_library_call(name: str, target: str, element: str) -> None:
    code = compile_text(listing(name, element, 8), machine(target), assembly=True).decode()
    assert not re.findall(r"^\s+(?:callq?|bl|blr)\s.*", code, re.MULTILINE)


@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("target", VECTOR_BYTES)
def test_power_of_special_values(target: str, element: str) -> None:
    values = [0.0, 1.0, 2.0, 0.5, 3.0, INF, 1e-40, 1e30, 2.0**24, 2.0**53 - 1]
    grid = np.array([*values, *(-v for v in values), NAN], DTYPES[element])
    x, y = (axis.ravel() for axis in np.meshgrid(grid, grid))
    with np.errstate(all="ignore"):
        want = np.power(x, y)
    got = build("power", element, target)(x, y)
    known = ~np.isnan(want)
    np.testing.assert_array_equal(np.isnan(got), ~known)
    np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(want)[known])
    np.testing.assert_allclose(
        got, want, rtol=4 * np.finfo(want.dtype).eps, atol=np.finfo(want.dtype).smallest_subnormal
    )


@pytest.mark.parametrize("target", VECTOR_BYTES)
@pytest.mark.parametrize("element", [pytest.param("double", marks=WIDE), "float"])
@pytest.mark.parametrize("kind", ["any", "in range", "near one", "whole"])
def test_power_errors(kind: str, element: str, target: str) -> None:
    count = 100_000 if element == "float" else 10_000
    x, rng, dtype = samples(element, count), np.random.default_rng(1), DTYPES[element]
    y = rng.permutation(x)
    if kind == "near one":
        x = (1 + rng.standard_normal(x.size) * 10.0 ** -rng.uniform(0, 16, x.size)).astype(dtype)
    if kind in ("in range", "near one"):  # of all results that can be represented
        x = np.abs(x)
        with np.errstate(all="ignore"):
            y = (rng.uniform(-1, 1, x.size) * (105 if element == "float" else 750) / np.log(x)).astype(dtype)
    if kind == "whole":
        y = np.round(8 * rng.standard_normal(x.size)).astype(dtype)
    assert_close("power", build("power", element, target)(x, y), truth("power", x, y), x, y)


def test_ulps_measures_known_errors() -> None:
    got = np.array([1.0, 1.0 + 2**-23, 0.0, INF, 1.0, NAN], np.float32)
    want = np.array([1.0, 1.0, 2.0**-149, INF, NAN, NAN])
    np.testing.assert_array_equal(ulps(got, want), [0, 1, 1, 0, INF, 0])
