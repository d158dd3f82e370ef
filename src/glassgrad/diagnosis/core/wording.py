"""Sentences that every answer needs: what a fix did, and what became of a suspicion."""

from __future__ import annotations

import math

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.findings import Fault


def confirmed(fault: Fault) -> str:
    """The answer where ``fault`` is confirmed: the sentence of its kind."""
    assert fault.trial is not None
    sentence = fault.record.sentence or fixed
    return sentence(fault, fault.prescription, fault.trial)


def fixed(suspicion: Suspicion, fix: Intervention | None, trial: Trial) -> str:
    """What is wrong, the fix, and what it did in its trial."""
    if fix is None or trial.effect == "proof":
        return suspicion.sentence
    return f"{suspicion.sentence} {in_a_trial(fix, trial)}."


def in_a_trial(fix: Intervention, trial: Trial) -> str:
    """The fix and what it did, without the full stop."""
    before, after = trial.means
    measure = f"validation {trial.measure.replace('_', ' ')}"
    did = f"took the {measure} from {before:.3g} to {after:.3g}"
    if not math.isfinite(before):
        did = f"gave a {measure} of {after:.3g}, where there was none before"
    return f"{fix.sentence.rstrip('.')}: in a trial that {did}"


def suspected(fault: Fault) -> str:
    """What looks wrong, and why it counts as a warning only."""
    if fault.because is not None:
        return f"{fault.sentence} {follows(fault)}"
    if fault.trial is None:
        return f"{fault.sentence} There was no time to try a fix."
    return f"{fault.sentence} But no fix did better in a trial by more than tuning would, so it does no harm here."


def follows(fault: Fault) -> str:
    """Which fault explains this one."""
    return f"That follows from another fault: {str(fault.because).replace('_', ' ')}."
