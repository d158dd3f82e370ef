"""Is the loss right? What it measures, how low it can go, and whether it generalizes to new rows.

The measurement compares the loss with the baseline and, at the start, with uninformative outputs. It fits one batch
alone, and examines the validation curve, the classes, the probabilities and the split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from glassgrad.diagnosis.core.findings import Fault
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.loss.measurement import LEARNED, LossMeasurement, measure_loss


def measure(subject: Subject) -> LossMeasurement:
    """Measure the loss (see ``measurement``)."""
    return measure_loss(subject)


def sentence(measurement: LossMeasurement, faults: Sequence[Fault]) -> str:
    """The loss of the network compared with the baseline."""
    m = measurement
    reached = m.validation.get("loss", math.nan)
    if not math.isfinite(reached):
        return (
            f"The baseline (the best constant prediction) has a loss of {m.constant:.3g}; the network has no finite "
            "loss to compare with it."
        )
    left = m.left[1]
    what = "baseline's mistakes" if "accuracy" in m.validation else "variance"
    share = (
        f"; {left:.0%} of the {what} remain{'s' if what == 'variance' else ''}" if math.isfinite(left) else ""
    )
    if left >= LEARNED:
        return (
            f"The network has learned next to nothing: its validation loss is {reached:.3g}, and that of the "
            f"baseline (the best constant prediction) is {m.constant:.3g}."
        )
    return (
        f"The loss is right for these targets: the baseline (the best constant prediction) has {m.constant:.3g}, and "
        f"the network {reached:.3g} on validation rows{share}."
    )
