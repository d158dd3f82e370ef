"""Sentences that every answer needs: what a cure did, and what became of a suspicion."""

from __future__ import annotations

import math
from collections.abc import Sequence

from glassgrad.diagnosis.core.findings import Fault


def cured(fault: Fault) -> str:
    """What is wrong, the cure, and what it did in trial."""
    if fault.prescription is None or fault.trial is None or fault.trial.effect != "improves":
        return fault.sentence
    before, after = fault.trial.means
    was = f"from {before:.3g}" if math.isfinite(before) else "from a training that broke off"
    measure = fault.trial.measure.replace("_", " ")
    cure = fault.prescription.sentence.rstrip(".")
    return f"{fault.sentence} {cure}: in trial that took the validation {measure} {was} to {after:.3g}."


def suspected(fault: Fault) -> str:
    """What looks wrong, and why it counts as a warning only."""
    if fault.because is not None:
        return f"{fault.sentence} That follows from another fault: {fault.because.replace('_', ' ')}."
    if fault.trial is None:
        return f"{fault.sentence} There was no time to try a cure."
    return f"{fault.sentence} But no cure in trial did better by more than tuning would, so it does no harm here."


def told(faults: Sequence[Fault]) -> str | None:
    """The first fault, or else the first warning; None where there is neither."""
    confirmed = next((fault for fault in faults if fault.verdict == "fault"), None)
    if confirmed is not None:
        return cured(confirmed)
    return suspected(faults[0]) if faults else None
