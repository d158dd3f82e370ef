"""The record of a kind of fault: what it means, when it is suspected, what fixes it, and how a fix is judged.

The records themselves are in the rooms of the questions, one file for each kind; ``glassgrad.diagnosis.kinds`` lists
them in the order of causes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.judging import Criterion
from glassgrad.diagnosis.core.subject import Subject

Symptoms = Literal["stuck", "flow", "wild"]
"""Groups of kinds that many others bring about: what shows wherever a network does not learn ("stuck"), wherever
values or gradients are off ("flow"), and wherever steps are too large ("wild"), for whatever reason."""

FewerRows = Literal["same", "more epochs", "larger rate", "undecidable"]


def no_fix(suspicion: Suspicion, measurement: Any, subject: Subject) -> list[Intervention]:
    """Of a kind that has no fix to try."""
    return []


@dataclass(frozen=True, kw_only=True)
class Kind(Criterion):
    """One kind of fault, and everything about it.

    ``judge`` takes the measurement of the ``question`` that the kind belongs to, and gives what passes a threshold.
    ``prescribe`` gives fixes to try for a suspicion, the most promising first. ``prove`` is an experiment of the
    kind's own, done where no fix was confirmed; None as its result means that it could not be done. ``sentence`` is
    the answer where the kind is confirmed; by default what is wrong, the fix, and what it did in its trial.

    A ``harmless`` kind is never more than a warning. With a ``mechanism``, what is measured is itself what does the
    harm: far beyond the threshold a fix needs to help less to be confirmed (see ``judging``). ``on_fewer_rows`` says
    what it means for the kind that fewer rows were examined than the user has: the "same"; its trial needs "more
    epochs" on both sides, or a "larger rate" where the fix is one of the rate, to get as far as on all rows; or there
    is no telling ("undecidable"). ``refused_for`` is the option that is changed where ``train`` refuses a network for
    this kind of fault. ``brings`` names the kinds, and the ``group``s of kinds, that this one brings about: symptoms
    of it, not faults of their own. ``ranks_with`` names the kind whose place in the order of causes this one takes
    where both are confirmed.
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
