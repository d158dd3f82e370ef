"""The record of a kind of fault: what it means, when it is suspected, what fixes it, and how a fix is judged.

The records are in the packages of the questions, one file for each kind. ``glassgrad.diagnosis.kinds`` lists them in
causal order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.judging import Criterion
from glassgrad.diagnosis.core.subject import Subject

Symptoms = Literal["stuck", "flow", "wild"]
"""Groups of kinds that are symptoms of many others: the network does not learn ("stuck"), values or gradients have
the wrong size ("flow"), or steps are too large ("wild")."""

FewerRows = Literal["same", "more epochs", "larger rate", "undecidable"]


def no_fix(suspicion: Suspicion, measurement: Any, subject: Subject) -> list[Intervention]:
    """The ``prescribe`` of a kind without a fix to try."""
    return []


@dataclass(frozen=True, kw_only=True)
class Kind(Criterion):
    """One kind of fault.

    ``judge`` takes the measurement of the kind's ``question`` and returns a suspicion for each number that passes a
    threshold. ``prescribe`` returns fixes to try for a suspicion, the most promising first. ``prove`` is an
    experiment specific to the kind, run if no fix was confirmed; it returns None if the experiment is impossible.
    ``sentence`` gives the answer for a confirmed fault; by default it states what is wrong, the fix, and the result
    of its trial.

    A ``harmless`` kind is never more than a warning. ``mechanism`` means that the measured number itself does the
    harm: far beyond the threshold, a smaller improvement confirms the fix (see ``judging``). ``on_fewer_rows`` says
    how to treat the kind if fewer rows were examined than the user has: the "same" as on all rows; with "more epochs"
    on both sides of the trial; with a "larger rate" on both sides if the fix changes the rate; or not at all
    ("undecidable"). ``refused_for`` is the option to change if ``train`` refuses a network for this kind of fault.
    ``brings`` names the kinds, and the ``group``s of kinds, that are symptoms of this one. ``ranks_with`` names the
    kind whose position in the causal order this one takes if both are confirmed.
    """

    name: str
    question: str
    meaning: str
    judge: Callable[[Any, Subject], Iterable[Suspicion]]
    prescribe: Callable[[Suspicion, Any, Subject], list[Intervention]] = no_fix
    prove: Callable[[Suspicion, Any, Subject], Trial | None] | None = None
    sentence: Callable[[Suspicion, Intervention | None, Trial], str] | None = None
    harmless: bool = False
    mechanism: bool = False
    on_fewer_rows: FewerRows = "same"
    refused_for: Literal["loss", "scaling", "activation"] | None = None
    group: Symptoms | None = None
    brings: tuple[str, ...] = ()
    ranks_with: str | None = None

    def brings_about(self, other: Kind) -> bool:
        """Whether ``other`` is a known symptom of this kind."""
        return other.name in self.brings or other.group in self.brings
