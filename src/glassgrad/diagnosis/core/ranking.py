"""Which of several faults to name first, and which are only consequences of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from glassgrad.diagnosis.core.findings import Fault

AS_GOOD = 0.8
"""Fixes that reach this share of what the best one reaches count as equally good: causes then go before symptoms."""


def ranked(
    faults: Sequence[Fault], reach: Mapping[int, float], cause_order: Mapping[str, int]
) -> list[Fault]:
    """The faults, the one to name first at the front.

    Confirmed ones come first, harmless kinds after the others; of those, what has a proof and no fix, or makes the
    score untrustworthy; then those whose fix reaches most: ``reach`` (by the position in ``faults``) is the
    improvement in units of the best one. Fixes that reach ``AS_GOOD`` go by ``cause_order`` (places by the names of
    kinds, causes before what they bring about), then by strength.
    """
    confirmed = {fault.kind for fault in faults if fault.confirmed}

    def key(position: int) -> tuple[float, ...]:
        fault = faults[position]
        kind = fault.record
        order = cause_order[kind.ranks_with if kind.ranks_with in confirmed else kind.name]
        if not fault.confirmed:
            return (2, fault.because is not None, kind.harmless, order, -fault.strength)
        if kind.harmless or fault.because is not None:
            return (1, kind.harmless, 0, order, -fault.strength)
        if kind.effect != "improves":
            return (0, 0, 0, order, -fault.strength)
        share = reach.get(position, 1.0)
        return (0, 1, 0 if share >= AS_GOOD else 1 - share, order, -fault.strength)

    return [faults[position] for position in sorted(range(len(faults)), key=key)]


def reached(before: float, after: Sequence[float], constant: float) -> list[float]:
    """What each fix reaches, in units of the best one, from mean scores of which less is better.

    ``before`` counts as no worse than the constant predictor is far from the best fix, twice.
    """
    finite = [score for score in after if math.isfinite(score)]
    if not finite:
        return [0.0 for _ in after]
    best = min(finite)
    worst = max(constant + (constant - best), best) if math.isfinite(constant) else math.inf
    start = min(before, worst)
    whole = start - best
    if not (math.isfinite(whole) and whole > 0):
        return [1.0 if score == best else 0.0 for score in after]
    return [(start - min(score, worst)) / whole for score in after]


def explained(faults: Sequence[Fault], first: Fault) -> list[Fault]:
    """``faults`` with ``because`` in those that ``first``, confirmed, brings about by its kind and that were not
    confirmed on their own."""

    def follows(fault: Fault) -> bool:
        known = fault is not first and first.record.brings_about(fault.record)
        return known and not fault.confirmed and fault.because is None

    return [replace(fault, because=first.kind) if follows(fault) else fault for fault in faults]
