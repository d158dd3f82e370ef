"""Is the step right? The learning rate, the optimizer's other settings, the batch size, and the number of epochs.

The measurement has short runs at many rates, the largest stable step by bisection, the curvature bound, full runs at
rates around the user's, and the course of the loss. It is based on *training* rows, because a wrong step keeps a
network from fitting them.
"""

from __future__ import annotations

from collections.abc import Sequence

from glassgrad.diagnosis.core import wording
from glassgrad.diagnosis.core.findings import Fault
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.learning_rate import learning_rate_too_high, learning_rate_too_low
from glassgrad.diagnosis.learning_rate.measurement import LearningRate, measure_learning_rate
from glassgrad.diagnosis.learning_rate.rates import times

RATE_KINDS = (learning_rate_too_high.KIND, learning_rate_too_low.KIND)
"""The kinds whose fix is another learning rate."""


def measure(subject: Subject) -> LearningRate:
    """Measure the learning rate (see ``measurement``)."""
    return measure_learning_rate(subject)


def sentence(measurement: LearningRate, faults: Sequence[Fault]) -> str:
    """The fault that explains the rate's fault, or the distance of the rate from the largest stable step."""
    m = measurement
    symptom = next((fault for fault in faults if fault.confirmed and fault.because), None)
    if symptom is not None:
        return f"{symptom.sentence} {wording.follows(symptom)}"
    if m.range is not None and not m.range.means.min() < m.constant:
        return (
            "This network does not learn at any learning rate that was tried, so the step is not the problem."
        )
    text = f"The learning rate {m.rate:g} is right for this network"
    untried = any(fault.record in RATE_KINDS and fault.trial is None for fault in faults)
    if untried:
        text = f"There was no time to try a learning rate other than {m.rate:g}; another may be better"
    if m.stable is not None and 0 < m.rate <= m.stable.rate:
        text += ". It" if untried else ": it"
        text += f" could be {times(m.stable.rate / m.rate)} as large before the network stops learning"
    elif m.stable is not None and m.rate > 0:
        text += ". It" if untried else ", although it"
        text += f" is {times(m.rate / m.stable.rate)} the largest stable step"
    if m.sweep is not None and m.suggestion == m.rate:
        text += ", and no other rate was better in a trial by more than tuning would gain"
    return f"{text}."
