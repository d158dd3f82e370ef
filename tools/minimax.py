"""The coefficients of ``backends/native/math_tables.py``: ``python tools/minimax.py`` prints them all anew.

Remez's exchange for rationals P/Q (Muller, Elementary Functions, 3rd ed., chapter 3): on the reference
points the weighted error must alternate, which Newton's method solves; the extrema of that solution's
error are the next reference. Needs mpmath, which Glassgrad itself does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mpmath import mp, mpf

mp.dps = 60
Real = Callable[[mpf], mpf]


def horner(coefficients: Sequence[mpf], x: mpf) -> mpf:
    """The polynomial with the constant term first."""
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def extrema(error: Real, low: mpf, high: mpf, count: int) -> list[mpf]:
    """The point of largest error between each two sign changes: ``count`` of them, else ValueError."""
    grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / (40 * count)) for i in range(40 * count + 1)]
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
    """P of ``degree`` and Q of degree ``below`` with Q(0) = 1 that minimise max |weight * (P/Q - goal)|."""
    low, high, count = mpf(low), mpf(high), degree + below + 2
    points = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]
    p, q, level = [mpf(0)] * (degree + 1), [mpf(0)] * below, mpf(0)
    for _ in range(30):
        for _ in range(40):  # Newton's steps on the alternating system; bilinear, so they converge fast
            rows, right = [], []
            for i, x in enumerate(points):
                sign = (-1) ** i / weight(x)
                target = goal(x) + sign * level
                rows.append([x**j for j in range(degree + 1)] + [-target * x**j for j in range(1, below + 1)]
                            + [-sign * (1 + x * horner(q, x))])
                right.append(target - sign * level * (1 + x * horner(q, x)))
            found = list(mp.lu_solve(mp.matrix(rows), mp.matrix(right)))
            p, q, old, level = found[: degree + 1], found[degree + 1 : -1], level, found[-1]
            if abs(level - old) < abs(level) * mpf("1e-12"):
                break
        points = extrema(lambda x: weight(x) * (horner(p, x) / horner([mpf(1), *q], x) - goal(x)), low, high, count)
        errors = [abs(weight(x) * (horner(p, x) / horner([mpf(1), *q], x) - goal(x))) for x in points]
        if max(errors) < min(errors) * mpf("1.01"):
            break
    return p, [mpf(1), *q], max(errors)
