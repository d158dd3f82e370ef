"""The results of a diagnosis: faults and answers as typed records, without computation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from glassgrad.common.errors import unknown_name
from glassgrad.common.plain import plain
from glassgrad.diagnosis.core.evidence import Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.questions import QUESTIONS

Verdict = Literal["ok", "warning", "fault"]

VERDICTS: tuple[Verdict, ...] = ("ok", "warning", "fault")

FORMAT, VERSION = "glassgrad-diagnosis", 1


@dataclass(frozen=True, kw_only=True)
class Fault(Suspicion):
    """A suspicion of one kind, with the outcome of its trials.

    ``prescription`` is the fix with the best trial. ``because`` names the confirmed kind that explains this fault, if
    any.
    """

    record: Kind
    prescription: Intervention | None = None
    trial: Trial | None = None
    because: str | None = None

    @classmethod
    def of(cls, kind: Kind, suspicion: Suspicion) -> Fault:
        """A fault of ``kind`` from ``suspicion``, before any trial."""
        return cls(**vars(suspicion), record=kind)

    @property
    def kind(self) -> str:
        """The name of the kind."""
        return self.record.name

    @property
    def confirmed(self) -> bool:
        """Whether a trial had the effect that the kind predicts."""
        return self.trial is not None and self.trial.confirmed

    @property
    def verdict(self) -> Verdict:
        """A fault if it is confirmed and no other fault explains it; otherwise a warning."""
        harmless = self.record.harmless or self.because is not None
        return "fault" if self.confirmed and not harmless else "warning"

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "kind": self.kind,
            "verdict": self.verdict,
            "confirmed": self.confirmed,
            "where": self.where,
            "sentence": self.sentence,
            "evidence": plain(self.evidence),
            "threshold": plain(self.threshold),
            "source": self.source,
            "strength": plain(self.strength),
            "because": self.because,
            "prescription": None if self.prescription is None else self.prescription.document(),
            "trial": None if self.trial is None else self.trial.document(),
        }


@dataclass(frozen=True)
class Answer:
    """The answer to one question. ``measured`` is the measurement of the question, for charts."""

    question: str
    verdict: Verdict
    sentence: str
    faults: tuple[Fault, ...]
    measured: Any
    seconds: float
    left_out: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "question": self.question,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "faults": [fault.document() for fault in self.faults],
            "measured": None if self.measured is None else plain(self.measured.document()),
            "seconds": self.seconds,
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True)
class Diagnosis:
    """The five answers and all faults, the most important fault first.

    ``examined`` says what was trained: rows, epochs, seeds, and what was scaled down for the budget. ``subject``
    is kept for charts. ``seconds`` and ``budget`` are in seconds.
    """

    source: str
    answers: tuple[Answer, ...]
    faults: tuple[Fault, ...]
    examined: Mapping[str, Any]
    seconds: float
    budget: float
    left_out: tuple[str, ...] = ()
    subject: Any = field(default=None, repr=False, compare=False)

    def __getitem__(self, question: str) -> Answer:
        for answer in self.answers:
            if answer.question == question:
                return answer
        raise unknown_name("question", question, QUESTIONS)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the five answers."""
        return worst(answer.verdict for answer in self.answers)

    @property
    def named(self) -> Fault | None:
        """The first fault whose verdict is "fault"; None if all are warnings."""
        return next((fault for fault in self.faults if fault.verdict == "fault"), None)

    def document(self) -> dict[str, Any]:
        """The diagnosis as plain JSON values (see docs/diagnosis.md)."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "source": self.source,
            "verdict": self.verdict,
            "named": None if self.named is None else self.named.kind,
            "questions": [answer.document() for answer in self.answers],
            "examined": plain(self.examined),
            "seconds": self.seconds,
            "budget": self.budget,
            "left_out": list(self.left_out),
        }


def worst(verdicts: Any) -> Verdict:
    """The worst of ``verdicts``; "ok" if there are none."""
    return max(verdicts, key=VERDICTS.index, default="ok")
