"""Is the loss right? What it measures, how low it can go, and whether it says the same of rows not seen before.

Measured (see ``measurement``): the loss beside that of a constant guess and, at the start, of outputs that say
nothing; one batch fitted on its own; the way of the validation loss; classes, probabilities and parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from glassgrad.diagnosis.core.findings import Fault
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LEARNED, LossMeasurement, measured


def measure(subject: Subject) -> LossMeasurement:
    """See ``measurement``."""
    return measured(subject)


def sentence(measurement: LossMeasurement, faults: Sequence[Fault]) -> str:
    """How far the network got below the loss of a guess that looks at nothing."""
    m = measurement
    reached = m.validation.get("loss", math.nan)
    if not math.isfinite(reached):
        return (
            f"A guess that looks at nothing has a loss of {m.constant:.3g}; the network gave no number to "
            f"compare with it."
        )
    left = m.left[1]
    share = (
        f", and leaves {left:.0%} of its mistakes"
        if "accuracy" in m.validation
        else f", and {left:.0%} of the variance is left"
    )
    if not math.isfinite(left):
        share = ""
    if left >= LEARNED:
        return (
            f"A guess that looks at nothing has a loss of {m.constant:.3g}, and the network {reached:.3g} on "
            f"rows that it "
            "was not trained on: it has learned next to nothing."
        )
    return (
        f"The loss is right for these targets: a guess that looks at nothing reaches {m.constant:.3g}, and "
        f"the network "
        f"{reached:.3g} on rows that it was not trained on{share}."
    )
