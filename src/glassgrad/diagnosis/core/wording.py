"""Sentences shared by all answers: the effect of a fix, and the outcome of a suspicion."""

from __future__ import annotations

import math

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.findings import Fault


def confirmed(fault: Fault) -> str:
    """The answer for a confirmed ``fault``: the sentence of its kind."""
    assert fault.trial is not None
    sentence = fault.record.sentence or fixed
    return sentence(fault, fault.prescription, fault.trial)


def fixed(suspicion: Suspicion, fix: Intervention | None, trial: Trial) -> str:
    """What is wrong, the fix, and the result of its trial."""
    if fix is None or trial.effect == "proof":
        return suspicion.sentence
    return f"{suspicion.sentence} {in_a_trial(fix, trial)}."


def in_a_trial(fix: Intervention, trial: Trial) -> str:
    """The fix and the result of its trial, without a final full stop."""
    before, after = trial.means
    measure = f"validation {trial.measure.replace('_', ' ')}"
    effect = f"changed the {measure} from {before:.3g} to {after:.3g}"
    if not math.isfinite(before):
        effect = f"gave a {measure} of {after:.3g}; without it, there was no finite score"
    return f"{fix.sentence.rstrip('.')}. In a trial, this {effect}"


def suspected(fault: Fault) -> str:
    """What looks wrong, and why it is only a warning."""
    if fault.because is not None:
        return f"{fault.sentence} {follows(fault)}"
    if fault.trial is None:
        return f"{fault.sentence} There was no time to try a fix."
    return (
        f"{fault.sentence} But no fix improved the score in a trial by more than tuning would, so it does no harm "
        "here."
    )


def follows(fault: Fault) -> str:
    """The sentence that names the fault that explains this one."""
    return f"This is a symptom of another fault: {str(fault.because).replace('_', ' ')}."
