"""Is the step right? The learning rate, the optimizer's other settings, the batch, and the length of the run.

Measured (see ``measurement``): short runs at many rates, the largest stable step by bisection, what the curvature
allows, whole runs at rates around the given one on the seeds of the trials, and how the loss went. Whatever is judged
here shows on *training* rows: a step that is wrong keeps a network from fitting them.
"""

from __future__ import annotations

from collections.abc import Sequence

from glassgrad.diagnosis.core import wording
from glassgrad.diagnosis.core.findings import Fault
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate.measurement import LearningRate, measured_rate
from glassgrad.diagnosis.learning_rate.rates import times


def measure(subject: Subject) -> LearningRate:
    """See ``measurement``."""
    return measured_rate(subject)


def sentence(measurement: LearningRate, faults: Sequence[Fault]) -> str:
    """What the rate is a consequence of, or how far it is from the largest stable step."""
    m = measurement
    caused = next((fault for fault in faults if fault.confirmed and fault.because), None)
    if caused is not None:
        return f"{caused.sentence} {wording.follows(caused)}"
    if m.range is not None and not m.range.means.min() < m.constant:
        return "No learning rate that was tried gets this network to learn, so it is not the step that holds it back."
    text = f"The learning rate {m.rate:g} is right for this network"
    if any(fault.kind.startswith("learning_rate") and fault.trial is None for fault in faults):
        text = f"There was no time to try another learning rate than {m.rate:g}, although another may well be better"
    if m.stable is not None and 0 < m.rate <= m.stable.rate:
        text += f": it could be {times(m.stable.rate / m.rate)} as large before the network stops learning"
    elif m.stable is not None and m.rate > 0:
        text += f", although it is {times(m.rate / m.stable.rate)} the largest at which every start learns"
    if m.sweep is not None and m.suggestion == m.rate:
        text += ", and no other rate did better in a trial by more than tuning"
    return f"{text}."
