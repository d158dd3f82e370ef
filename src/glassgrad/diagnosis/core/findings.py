"""What a diagnosis says: faults, trials and answers as typed results (the list of kinds is in ``kinds``).

A fault names its kind, where it is, the numbers that show it, the threshold that they passed, a cure, and what
the cure did in trial. Nothing here computes: the five question modules fill these in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from glassgrad.common.errors import InputError, unknown_name
from glassgrad.diagnosis.core.kinds import KINDS, QUESTIONS, Effect
from glassgrad.nn.network import Network

Verdict = Literal["ok", "warning", "fault"]
Better = Literal["lower", "higher"]

VERDICTS: tuple[Verdict, ...] = ("ok", "warning", "fault")

FORMAT, VERSION = "glassgrad-diagnosis", 1


@dataclass(frozen=True)
class Change:
    """A cure: options of ``train`` and their new values, and one sentence for people.

    Besides options of ``Settings``, ``options`` may hold the data actions that ``trials`` knows: ``drop_inputs``
    (names of columns), ``task``, ``class_weight``. ``rehearsal`` are the options that a trial takes in their place,
    where they were chosen by looking at rows that it holds out.
    """

    options: Mapping[str, Any]
    sentence: str
    rehearsal: Mapping[str, Any] | None = None

    @property
    def tried(self) -> Mapping[str, Any]:
        """The options that a trial takes."""
        return self.options if self.rehearsal is None else self.rehearsal

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {"changes": plain(self.options), "sentence": self.sentence}


@dataclass(frozen=True)
class Trial:
    """One experiment: the same seeds before and after a change, scored on validation rows.

    ``before`` and ``after`` have one score per seed (Inf where the run diverged or is refused). ``constant`` is
    the score of the best constant prediction. ``gain`` is the change in units of the gap between the constant
    predictor and the better of both (positive: better), ``noise`` what the mean may differ by chance, in the same
    units. ``confirmed``: it did what its kind predicts. ``sides`` say in a few words what was done before and after.
    """

    seeds: tuple[int, ...]
    measure: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    confirmed: bool
    seconds: float
    better: Better = "lower"
    effect: Effect = "improves"
    constant: float = math.nan
    gain: float = math.nan
    noise: float = math.nan
    sides: tuple[str, str] = ("without the cure", "with it")

    @property
    def means(self) -> tuple[float, float]:
        """The mean scores before and after."""
        return float(np.mean(self.before)), float(np.mean(self.after))

    def document(self) -> dict[str, Any]:
        """As plain values; a diverged run is null."""
        before, after = self.means
        return {
            key: plain(value)
            for key, value in {
                "seeds": self.seeds,
                "measure": self.measure,
                "better": self.better,
                "effect": self.effect,
                "before": self.before,
                "after": self.after,
                "before_mean": before,
                "after_mean": after,
                "constant": self.constant,
                "gain": self.gain,
                "noise": self.noise,
                "sides": self.sides,
                "confirmed": self.confirmed,
                "seconds": self.seconds,
            }.items()
        }


@dataclass(frozen=True)
class Fault:
    """A suspicion, and what became of it.

    ``where`` is a layer, an input, or "" for the whole; ``evidence`` holds numbers; ``threshold`` is what they
    passed and ``source`` where it comes from. ``strength`` (1: just at the threshold) says how far beyond it they
    are. ``because`` names the confirmed kind that explains this one, if any.
    """

    kind: str
    where: str
    evidence: Mapping[str, Any]
    threshold: float | None
    source: str
    strength: float
    sentence: str = ""
    prescription: Change | None = None
    trial: Trial | None = None
    because: str | None = None

    def __post_init__(self) -> None:
        """Only kinds of the list."""
        if self.kind not in KINDS:
            raise unknown_name("kind of fault", self.kind, KINDS)

    @property
    def confirmed(self) -> bool:
        """Whether a trial did what the kind predicts."""
        return self.trial is not None and self.trial.confirmed

    @property
    def verdict(self) -> Verdict:
        """A fault if confirmed and not explained by another one; a warning otherwise."""
        harmless = KINDS[self.kind].harmless or self.because is not None
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
    """The answer to one question. ``measured`` is the module's own measurement, for pictures."""

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
    """The five answers, and all faults: the one to name first comes first.

    ``examined`` says what was trained: rows, epochs, seeds, and what was scaled down for the budget. ``subject``
    is kept for pictures.
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
        """The worst of the five."""
        return worst(answer.verdict for answer in self.answers)

    @property
    def named(self) -> Fault | None:
        """The first fault that is one, and not a warning."""
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
    """The worst of some verdicts; "ok" of none."""
    return max(verdicts, key=VERDICTS.index, default="ok")


def plain(value: Any) -> Any:
    """``value`` as JSON has it: numbers of NumPy as Python's, arrays as lists, NaN and Inf as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Network):
        return _network(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _network(network: Network) -> Any:
    try:
        return plain(network.to_document())
    except InputError:  # layers that are not registered
        return str(network)
