"""One diagnosis under way: suspicions are raised, cures tried, and what follows from what is told apart."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.linalg import LinAlgError

from glassgrad.common.errors import GraphError, InputError
from glassgrad.diagnosis.core.findings import Answer, Change, Diagnosis, Fault, Trial, worst
from glassgrad.diagnosis.core.kinds import CAUSE_ORDER, KINDS, QUESTIONS
from glassgrad.diagnosis.core.ranking import explained, ranked, reached
from glassgrad.diagnosis.core.subject import Subject

MEASURING = 0.5
LEAST = 0.06
"""The share of the budget that measuring may take; the rest is for trials. Each question has ``LEAST``, also where
those before it took longer than they should have."""

CHANGES = 3
"""So many cures are tried for one fault, the most promising first."""

MUCH = 0.5
SYMPTOM = 0.1
"""What a cause explains whose cure wins ``MUCH`` is tried last, and only for less than this share of the budget."""

SURE = 10.0
"""So many times beyond its threshold, a mechanism is sure; what remains to be tried is whether it matters."""

SCALED = 1.5
"""From this factor on, fewer rows than asked for say nothing about faults that depend on their number."""

PACE = ("too_few_epochs", "learning_rate_too_low", "plateau")
"""Faults that more steps would hide: on fewer rows, both sides of their trial take as many steps as asked for."""

OF_ROWS = ("overfitting", "batch_size")
"""Faults that fewer rows bring about or hide; on fewer rows there is no telling."""


@dataclass(frozen=True)
class Phase:
    """Sent while a diagnosis is under way: ``done`` goes from 0 to 1."""

    text: str
    done: float
    question: str = ""


class Question(Protocol):
    """What each of the five modules has.

    A module may also have ``prove(fault, measurement, subject)``: the experiment of a kind that has no cure, or whose
    cure may show nothing.
    """

    def measure(self, subject: Subject) -> Any:
        """Numbers, with a ``document()`` of plain values."""

    def judge(self, measurement: Any, subject: Subject) -> list[Fault]:
        """What passes a threshold: suspicions, without prescription or trial."""

    def prescribe(self, fault: Fault, measurement: Any, subject: Subject) -> list[Change]:
        """Cures to try, the most promising first."""

    def sentence(self, measurement: Any, faults: Sequence[Fault]) -> str:
        """The answer for a beginner."""


@dataclass
class _Case:
    """A suspicion on its way: who raised it, and what may cure it."""

    fault: Fault
    question: str
    changes: list[Change]
    tried: list[tuple[Change, Trial]]


class Examination:
    """One diagnosis under way."""

    def __init__(
        self, subject: Subject, modules: Mapping[str, Question], tell: Callable[[Phase], None]
    ) -> None:
        self.subject, self.modules, self.tell = subject, modules, tell
        self.clock = subject.clock
        self.measured: dict[str, Any] = {}
        self.seconds = dict.fromkeys(QUESTIONS, 0.0)
        self.left_out: dict[str, list[str]] = {question: [] for question in QUESTIONS}
        self.cases: list[_Case] = []

    def run(self) -> Diagnosis:
        """Measure, judge, try, rank."""
        for number, (question, module) in enumerate(self.modules.items()):
            self._ask(question, module, number)
        self._add_refusal()
        self.cases.sort(key=lambda case: (CAUSE_ORDER[case.fault.kind], -case.fault.strength))
        for number in range(CHANGES):
            self._try_all(number)
        faults = self._ordered([self._closed(case) for case in self.cases])
        return self._answered(faults)

    # --- measuring ---------------------------------------------------------------------------------------

    def _ask(self, question: str, module: Question, number: int) -> None:
        """Measure and judge, within an equal share of what is left for measuring."""
        subject, clock = self.subject, self.clock
        self.tell(Phase(f"looking at the {question.replace('_', ' ')}", 0.1 + 0.08 * number, question))
        start = time.perf_counter()
        left = max(MEASURING * clock.budget - clock.spent(), 0.0) / (len(self.modules) - number)
        with clock.limit(max(left, LEAST * clock.budget)), clock.collecting() as skipped:
            try:
                measured = self.measured[question] = module.measure(subject)
                for fault in module.judge(measured, subject):
                    if fault.kind in OF_ROWS and self._rows_factor() > SCALED:
                        subject.skip(f"{_named(fault)}: whether it is so on all rows takes a larger budget")
                        continue
                    changes = [] if _proves(fault) else module.prescribe(fault, measured, subject)
                    self._open(_Case(fault, question, list(changes), []))
            except (InputError, GraphError, LinAlgError) as error:
                skipped.append(f"could not be measured: {error}")
        self.left_out[question] += skipped
        self.seconds[question] += time.perf_counter() - start

    def _open(self, case: _Case) -> None:
        """Take a suspicion up, once for each kind and place."""
        for known in self.cases:
            if (known.fault.kind, known.fault.where) == (case.fault.kind, case.fault.where):
                if case.fault.strength > known.fault.strength:
                    self.cases[self.cases.index(known)] = case
                return
        self.cases.append(case)

    def _add_refusal(self) -> None:
        """What ``train`` refuses is a suspicion even where no module saw it."""
        refusal = self.subject.refusal
        if refusal is None or any(case.fault.kind == refusal.kind for case in self.cases):
            return
        fault = Fault(
            refusal.kind,
            "",
            {"refused": True},
            None,
            "what train accepts",
            10.0,
            f"Train refuses this network: {refusal.message}.",
        )
        cures = refusal.cures or (refusal.stand_in,)
        changes = [Change(options, f"Take {_spelled(options)}, which train accepts.") for options in cures]
        self._open(_Case(fault, KINDS[refusal.kind].question, changes, []))

    # --- trials ------------------------------------------------------------------------------------------

    def _try_all(self, number: int) -> None:
        """Try the cure of every open suspicion that is number ``number`` on its list."""
        waiting = [case for case in self.cases if not _confirmed(case)]
        waiting.sort(key=self._is_symptom)
        for place, case in enumerate(waiting):
            done = 0.5 + 0.4 * (number + place / len(waiting)) / CHANGES
            named = case.fault.kind.replace("_", " ")
            proves = number == 0 and _proves(case.fault)
            if proves or (number == len(case.changes) and KINDS[case.fault.kind].provable):
                self._timed(case, partial(self._prove, case), Phase(f"testing: {named}", done))
            elif number < len(case.changes):
                change = case.changes[number]
                phase = Phase(f"trying a cure: {named}", done, case.question)
                self._timed(case, partial(self._try, case, change), phase)

    def _is_symptom(self, case: _Case) -> bool:
        """Whether a fault whose cure wins much is known to bring this one about."""
        return any(
            case.fault.kind in KINDS[known.fault.kind].brings
            for known in self.cases
            if any(_wins_much(trial) for _, trial in known.tried)
        )

    def _timed(self, case: _Case, work: Callable[[], None], phase: Phase) -> None:
        self.tell(phase)
        start = time.perf_counter()
        with self.clock.collecting() as skipped:
            work()
        question = KINDS[case.fault.kind].question
        self.left_out[question] += skipped
        self.seconds[question] += time.perf_counter() - start

    def _prove(self, case: _Case) -> None:
        prove = getattr(self.modules[case.question], "prove", None)
        if prove is None or self.clock.left() <= 0:
            self.subject.skip(f"testing {_named(case.fault)}")
            return
        trial = prove(case.fault, self.measured[case.question], self.subject)
        if trial is not None:
            case.tried.append((case.changes[0] if case.changes else Change({}, ""), trial))

    def _try(self, case: _Case, change: Change) -> None:
        subject, kind = self.subject, case.fault.kind
        onto, change = self._at_scale(kind, change)
        if "keep" in change.options:
            onto = subject.trials.unseen()
        whole = {} if onto is None else dict(onto.options)
        needed = subject.trials.seconds({**whole, **change.tried})
        needed += subject.trials.seconds(whole) if onto is not None else 0.0
        if self._is_symptom(case) and needed > SYMPTOM * self.clock.budget:
            return
        if not self.clock.allows(needed, f"trying a cure for {_named(case.fault)}"):
            return
        refusal = subject.refusal
        refused = refusal is not None and not refusal.trainable and kind == refusal.kind
        sure = KINDS[kind].mechanism and case.fault.strength >= SURE
        trial = subject.trials.compare(change, kind, onto=onto, refused=refused, sure=sure)
        case.tried.append((change, trial))

    def _rows_factor(self) -> float:
        asked, examined = self.subject.steps
        return asked / max(examined, 1)

    def _at_scale(self, kind: str, change: Change) -> tuple[Change | None, Change]:
        """For a fault of pace on fewer rows: what both sides have, so that they get as far as with all steps."""
        factor = self._rows_factor()
        if factor <= SCALED or kind not in PACE:
            return None, change
        if kind == "learning_rate_too_low" and "learning_rate" in change.options:
            # Far below the edge of stability the path is that of the gradient flow: so many times the rate go as far
            # in so many times fewer steps.
            rate = self.subject.settings.made.hyperparameters()["learning_rate"] * factor
            return Change({"learning_rate": rate}, ""), change
        examined, asked = self.subject.trials.settings.epochs, self.subject.asked.epochs
        epochs = round(examined * factor)
        options = dict(change.options)
        if "epochs" in options:
            options["epochs"] = max(round(epochs * options["epochs"] / max(asked, 1)), 1)
        return Change({"epochs": epochs}, ""), Change(options, change.sentence)

    # --- conclusions -------------------------------------------------------------------------------------

    def _closed(self, case: _Case) -> Fault:
        """The suspicion with the cure that did most; the first one, untried, where there was no time."""
        if not case.tried:
            return replace(case.fault, prescription=case.changes[0] if case.changes else None)
        change, trial = max(case.tried, key=lambda pair: (pair[1].confirmed, _number(pair[1].gain)))
        original = next((c for c in case.changes if c.sentence == change.sentence), None)
        return replace(case.fault, prescription=original, trial=trial)

    def _ordered(self, faults: list[Fault]) -> list[Fault]:
        """Ranked, with consequences marked as such."""
        faults = ranked(faults, self._reach(faults))
        first = next((fault for fault in faults if fault.verdict == "fault"), None)
        if first is None:
            return faults
        self.tell(Phase("asking which faults follow from which", 0.92))
        with self.clock.collecting() as skipped:
            faults = [first if fault is first else self._after(first, fault) for fault in faults]
        self.left_out[KINDS[first.kind].question] += skipped
        faults = explained(faults, first)
        return ranked(faults, self._reach(faults))

    def _reach(self, faults: Sequence[Fault]) -> dict[int, float]:
        """What each confirmed cure reaches, in units of the best by the same measure.

        Of measures that cannot be compared each has its own best; a gain of less than half of the largest is marked
        down for that. Where a kind has a measure of its own, other cures are held against it too.
        """
        cures = {
            place: _trial(fault)
            for place, fault in enumerate(faults)
            if fault.verdict == "fault" and fault.trial is not None and fault.trial.effect == "improves"
        }
        found: dict[int, float] = {}
        most = max((min(_number(trial.gain), 1.0) for trial in cures.values()), default=1.0)
        for measure in dict.fromkeys(trial.measure for trial in cures.values()):
            same = {place: trial for place, trial in cures.items() if trial.measure == measure}
            turn = _turned(next(iter(same.values())))
            after = [turn(trial.means[1]) for trial in same.values()]
            if any(KINDS[faults[place].kind].measure == measure for place in same):
                after += [turn(score) for score in self._otherwise(measure, faults, set(cures) - set(same))]
            before = max(turn(trial.means[0]) for trial in same.values())
            constant = turn(next(iter(same.values())).constant)
            found |= dict(zip(same, reached(before, after, constant)[: len(same)], strict=True))
        if len({trial.measure for trial in cures.values()}) > 1:
            for place, trial in cures.items():
                found[place] *= min(1.0, 2 * min(_number(trial.gain), 1.0) / most)
        return found

    def _otherwise(self, measure: str, faults: Sequence[Fault], places: Collection[int]) -> Iterator[float]:
        """What the cures of other faults come to by ``measure``, as far as they were trained."""
        for place in places:
            cure, trial = faults[place].prescription, _trial(faults[place])
            outcomes = [] if cure is None else self.subject.trials.known(cure.tried, trial.seeds)
            if outcomes:
                yield float(np.mean([outcome.score(measure) for outcome in outcomes]))

    def _after(self, first: Fault, other: Fault) -> Fault:
        """``other``, explained by ``first`` if its cure adds nothing once that of ``first`` is in place."""
        if other.verdict != "fault" or other.kind == first.kind:
            return other
        trial, cure, base = other.trial, other.prescription, first.prescription
        assert trial is not None
        if trial.effect != "improves":
            return other
        if first.trial is not None and first.trial.effect == "proof":
            explains = other.kind in KINDS[first.kind].brings
        elif cure is None or base is None:
            return other
        elif set(cure.tried) & set(base.tried):
            explains = True  # two cures of one option: the better one is in place
        else:
            options = {**base.tried, **cure.tried}
            needed = self.subject.trials.seconds(options)
            if not self.clock.allows(needed, f"whether {_named(other)} is a fault of its own"):
                explains = other.kind in KINDS[first.kind].brings
            else:
                both = self.subject.trials.compare(cure, other.kind, trial.seeds, onto=base)
                explains = not both.confirmed
        return replace(other, because=first.kind) if explains else other

    def _answered(self, faults: Sequence[Fault]) -> Diagnosis:
        answers = []
        for question in QUESTIONS:
            own = tuple(fault for fault in faults if KINDS[fault.kind].question == question)
            measured = self.measured.get(question)
            sentence = "There was no time for this question."
            if measured is not None:
                sentence = self.modules[question].sentence(measured, own)
            answers.append(
                Answer(
                    question,
                    worst(fault.verdict for fault in own),
                    sentence,
                    own,
                    measured,
                    self.seconds[question],
                    tuple(dict.fromkeys(self.left_out[question])),
                )
            )
        subject = self.subject
        return Diagnosis(
            source=subject.given.name,
            answers=tuple(answers),
            faults=tuple(faults),
            examined=subject.document(),
            seconds=self.clock.spent(),
            budget=self.clock.budget,
            left_out=tuple(dict.fromkeys(self.clock.left_out)),
            subject=subject,
        )


def _spelled(options: Mapping[str, Any]) -> str:
    return ", ".join(
        "a network with other outputs" if name == "network" else f"{name.replace('_', ' ')} {value}"
        for name, value in options.items()
    )


def _proves(fault: Fault) -> bool:
    return KINDS[fault.kind].effect == "proof"


def _confirmed(case: _Case) -> bool:
    return any(trial.confirmed for _, trial in case.tried)


def _wins_much(trial: Trial) -> bool:
    """Whether a cure is confirmed, and half of what a constant guess leaves is gone with it."""
    turn = _turned(trial)
    return trial.confirmed and trial.gain >= MUCH and turn(trial.means[1]) <= MUCH * turn(trial.constant)


def _named(fault: Fault) -> str:
    place = f" in {fault.where}" if fault.where else ""
    return fault.kind.replace("_", " ") + place


def _trial(fault: Fault) -> Trial:
    assert fault.trial is not None
    return fault.trial


def _turned(trial: Trial) -> Callable[[float], float]:
    """Scores as numbers of which less is better."""
    return (lambda score: 1 - score) if trial.better == "higher" else (lambda score: score)


def _number(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
