"""Compute the coefficients of ``backends/native/math/coefficients.py``: ``python tools/minimax.py`` prints them.

Remez's exchange algorithm for rational functions P/Q (Muller, Elementary Functions, 3rd ed., chapter 3). Newton's
method finds the P and Q whose weighted error alternates on the reference points; the extrema of that error are the
next reference points. The script needs mpmath, which Glassgrad itself does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from mpmath import mp, mpf

mp.dps = 60
Real = Callable[[mpf], mpf]


def horner(coefficients: Sequence[mpf], x: mpf) -> mpf:
    """The value at ``x`` of the polynomial with these coefficients, constant term first."""
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def weighted_error(goal: Real, weight: Real, p: Sequence[mpf], q: Sequence[mpf], x: mpf) -> mpf:
    """The weighted difference between P/Q and ``goal`` at ``x``."""
    return weight(x) * (horner(p, x) / horner(q, x) - goal(x))


def extrema(error: Real, low: mpf, high: mpf, count: int) -> list[mpf]:
    """The points of largest error between consecutive sign changes.

    Returns ``count`` points; raises ValueError if the error changes sign too rarely.
    """
    grid = [
        (low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / (40 * count)) for i in range(40 * count + 1)
    ]
    runs: list[list[tuple[mpf, mpf]]] = []
    for x in grid:
        e = error(x)
        if runs and (runs[-1][-1][1] > 0) == (e > 0):
            runs[-1].append((x, e))
        else:
            runs.append([(x, e)])
    if len(runs) < count:
        raise ValueError(f"the error changes sign {len(runs) - 1} times, not {count - 1}")
    peaks = [max(run, key=lambda item: abs(item[1])) for run in runs]
    while len(peaks) > count:
        peaks.pop(0 if abs(peaks[0][1]) < abs(peaks[-1][1]) else -1)
    return [x for x, _ in peaks]


def minimax(
    goal: Real, weight: Real, low: float, high: float, degree: int, below: int = 0
) -> tuple[list[mpf], list[mpf], mpf]:
    """P of ``degree`` and Q of degree ``below`` with Q(0) = 1 that minimize max |weight * (P/Q - goal)|.

    Returns the coefficients of P and Q, constant term first, and the largest weighted error.
    """
    low, high, count = mpf(low), mpf(high), degree + below + 2
    points = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]
    p, q, level = [mpf(0)] * (degree + 1), [mpf(0)] * below, mpf(0)
    for _ in range(30):
        for _ in range(40):  # Newton steps on the alternating system; it is bilinear, so they converge fast
            rows, right = [], []
            for i, x in enumerate(points):
                sign = (-1) ** i / weight(x)
                target = goal(x) + sign * level
                rows.append(
                    [x**j for j in range(degree + 1)]
                    + [-target * x**j for j in range(1, below + 1)]
                    + [-sign * (1 + x * horner(q, x))]
                )
                right.append(target - sign * level * (1 + x * horner(q, x)))
            solution = list(mp.lu_solve(mp.matrix(rows), mp.matrix(right)))
            p, q, old_level, level = solution[: degree + 1], solution[degree + 1 : -1], level, solution[-1]
            if abs(level - old_level) < abs(level) * mpf("1e-12"):
                break
        error = partial(weighted_error, goal, weight, p, [mpf(1), *q])
        points = extrema(error, low, high, count)
        errors = [abs(error(x)) for x in points]
        if max(errors) < min(errors) * mpf("1.01"):
            break
    return p, [mpf(1), *q], max(errors)


def without_zero(function: Real, at_zero: mpf) -> Real:
    """``function`` with the value ``at_zero`` near 0, where its quotient is 0/0."""
    return lambda x: function(x) if abs(x) > mpf("1e-12") else at_zero


exp_tail = without_zero(lambda r: (mp.exp(r) - 1 - r) / r**2, mpf(1) / 2)
log_tail = without_zero(lambda v: (mp.log1p(v) - v + v * v / 2) / v**3, mpf(1) / 3)
atanh = without_zero(lambda z: mp.atanh(mp.sqrt(z)) / mp.sqrt(z), mpf(1))
atanh_tail = without_zero(lambda z: 2 * (atanh(z) - 1) / z, mpf(2) / 3)
atanh_tail2 = without_zero(lambda z: (atanh_tail(z) - mpf(2) / 3) / z, mpf(2) / 5)
sin_tail = without_zero(lambda z: (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, mpf(-1) / 6)
cos_tail = without_zero(lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, mpf(1) / 24)
erf_exponent = without_zero(lambda x: mp.log(mp.erfc(x)) / x, -2 / mp.sqrt(mp.pi))
erf_weight = without_zero(lambda x: x * mp.erfc(x) / mp.erf(x), mp.sqrt(mp.pi) / 2)
LN2, TINY = mp.log(2), mpf("1e-5")
LOW, HIGH = mp.sqrt(mpf("0.5")) - 1, mp.sqrt(2) - 1
SQUARE = (HIGH / (2 + HIGH)) ** 2  # the square of v / (2 + v), the argument of atanh

# name: (goal, weight that makes the error relative to the complete function, low, high, {element: degrees}).
FITS = {
    "exp": (
        exp_tail,
        lambda r: r * r / mp.exp(r) + TINY**6,
        -LN2 / 2,
        LN2 / 2,
        {"float": (4,), "double": (9,)},
    ),
    "log": (log_tail, lambda v: abs(v**3 / mp.log1p(v)) if v else TINY**6, LOW, HIGH, {"float": (7,)}),
    "atanh": (atanh_tail, lambda z: z / atanh(z), TINY, SQUARE, {"double": (6,)}),
    "atanh2": (atanh_tail2, lambda z: z * z / atanh(z), TINY, SQUARE, {"double": (6,)}),
    "sin": (
        sin_tail,
        lambda z: z / (1 + z * sin_tail(z)),
        TINY,
        (mp.pi / 4) ** 2,
        {"float": (2,), "double": (5,)},
    ),
    "cos": (
        cos_tail,
        lambda z: z * z / mp.cos(mp.sqrt(z)),
        TINY,
        (mp.pi / 4) ** 2,
        {"float": (2,), "double": (5,)},
    ),
    "erf float": (erf_exponent, erf_weight, 0, 3.95, {"float": (8,)}),
    "erf double": (erf_exponent, erf_weight, 0, 5.95, {"double": (8, 7)}),
}


def pieces(value: mpf, bits: Sequence[int]) -> list[mpf]:
    """``value`` as a sum: one part with each of the given numbers of bits, and the remainder."""
    parts = []
    for count in bits:
        unit = mpf(2) ** (mp.floor(mp.log(abs(value), 2)) + 1 - count)
        parts.append(mp.floor(value / unit) * unit)
        value -= parts[-1]
    return [*parts, value]


def show(name: str, element: str, values: Sequence[mpf], note: str = "") -> None:
    """Print one line of the table with the digits that ``element`` needs."""
    digits = 9 if element == "float" else 17
    print(f"{name} {element}{note}: ({', '.join(f'{float(v):.{digits}g}' for v in values)})")


def main() -> None:
    """Print all constants of the table."""
    for name, (goal, weight, low, high, degrees) in FITS.items():
        for element, degree in degrees.items():
            p, q, error = minimax(goal, weight, low, high, *degree)
            show(name, element, p, f" (relative error 2^{float(mp.log(error, 2)):.1f})")
            if len(q) > 1:
                show(f"{name} denominator", element, q)
    show("ln 2", "float", pieces(LN2, [16]))
    show("ln 2", "double", pieces(LN2, [42]))
    show("pi / 2, for float", "double", pieces(mp.pi / 2, [33]))
    show("pi / 2", "double", pieces(mp.pi / 2, [33, 33, 33]))
    show("2 / 3", "double", pieces(mpf(2) / 3, [53]))
    mp.dps = 400
    turns = int(mp.floor(mpf(2) ** 1216 / (2 * mp.pi)))
    print(
        "1 / (2 pi), after 64 zero bits:",
        ", ".join(f"0x{turns >> s & 2**64 - 1:016X}" for s in range(1152, -1, -64)),
    )


if __name__ == "__main__":
    main()
