"""Ranks several faults, and marks those that are symptoms of the first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from glassgrad.diagnosis.core.findings import Fault

AS_GOOD = 0.8
"""Fixes with at least this share of the best improvement count as equally good; causes then rank before symptoms."""


def ranked(
    faults: Sequence[Fault], reach: Mapping[int, float], cause_order: Mapping[str, int]
) -> list[Fault]:
    """The faults, the most important first.

    Confirmed faults come first, harmless kinds after the others. Among the confirmed, kinds that are proven without a
    fix, or that make the score untrustworthy, come before the rest. The rest is ordered by ``reach``, the improvement
    in units of the best one, by index in ``faults``. Improvements of at least ``AS_GOOD`` are ordered by
    ``cause_order`` (positions by name of kind, causes before symptoms), then by strength.
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
    """The improvement by each fix, in units of the best one. Scores are means, and lower is better.

    No score counts as worse than the best score plus twice its distance to the baseline ``constant``.
    """
    finite = [score for score in after if math.isfinite(score)]
    if not finite:
        return [0.0 for _ in after]
    best = min(finite)
    worst = max(constant + (constant - best), best) if math.isfinite(constant) else math.inf
    start = min(before, worst)
    largest = start - best
    if not (math.isfinite(largest) and largest > 0):
        return [1.0 if score == best else 0.0 for score in after]
    return [(start - min(score, worst)) / largest for score in after]


def explained(faults: Sequence[Fault], first: Fault) -> list[Fault]:
    """``faults``, with ``because`` set for unconfirmed ones that are known symptoms of the confirmed ``first``."""

    def follows(fault: Fault) -> bool:
        is_symptom = fault is not first and first.record.brings_about(fault.record)
        return is_symptom and not fault.confirmed and fault.because is None

    return [replace(fault, because=first.kind) if follows(fault) else fault for fault in faults]
