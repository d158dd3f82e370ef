"""One diagnosis under way: it raises suspicions, tries fixes, and tells faults from what follows from them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.linalg import LinAlgError

from glassgrad.common.errors import GraphError, InputError
from glassgrad.diagnosis.core import wording
from glassgrad.diagnosis.core.evidence import Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.findings import Answer, Diagnosis, Fault, worst
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.questions import QUESTIONS
from glassgrad.diagnosis.core.ranking import explained, ranked, reached
from glassgrad.diagnosis.core.subject import Subject

MEASURING = 0.5
LEAST = 0.06
"""The share of the budget that measuring may take; the rest is for trials. Each question has ``LEAST``, also where
those before it took longer than they should have."""

FIXES = 3
"""So many fixes are tried for one fault, the most promising first."""

MUCH = 0.5
SYMPTOM = 0.1
"""What a cause explains whose fix wins ``MUCH`` is tried last, and only for less than this share of the budget."""

SURE = 10.0
"""So many times beyond its threshold, a mechanism is sure; what remains to be tried is whether it matters."""

SCALED = 1.5
"""From this factor on, fewer rows than asked for say nothing about faults that depend on their number."""


@dataclass(frozen=True)
class Phase:
    """Sent while a diagnosis is under way: ``done`` goes from 0 to 1."""

    text: str
    done: float
    question: str = ""


class Question(Protocol):
    """What the module of each question has: what its kinds share."""

    def measure(self, subject: Subject) -> Any:
        """The numbers that the kinds of the question are judged by, with a ``document()`` of plain values."""

    def sentence(self, measurement: Any, faults: Sequence[Fault]) -> str:
        """The answer for a beginner where none of ``faults`` is confirmed as a fault of its own."""


@dataclass
class _Case:
    """A suspicion on its way: what may fix it, and what was tried."""

    fault: Fault
    fixes: list[Intervention]
    tried: list[tuple[Intervention, Trial]]


class Examination:
    """One diagnosis under way: ``questions`` by name, and ``kinds`` of fault in the order of causes."""

    def __init__(
        self,
        subject: Subject,
        questions: Mapping[str, Question],
        kinds: Iterable[Kind],
        tell: Callable[[Phase], None],
    ) -> None:
        self.subject, self.questions, self.kinds, self.tell = subject, questions, tuple(kinds), tell
        self.cause_order = {kind.name: position for position, kind in enumerate(self.kinds)}
        self.clock = subject.clock
        self.measured: dict[str, Any] = {}
        self.seconds = dict.fromkeys(QUESTIONS, 0.0)
        self.left_out: dict[str, list[str]] = {question: [] for question in QUESTIONS}
        self.cases: list[_Case] = []

    def run(self) -> Diagnosis:
        """Measure, judge, try, rank."""
        for number, (question, module) in enumerate(self.questions.items()):
            self._ask(question, module, number)
        self._add_refusal()
        self.cases.sort(key=lambda case: (self.cause_order[case.fault.kind], -case.fault.strength))
        for number in range(FIXES):
            self._try_all(number)
        faults = self._ordered([self._closed(case) for case in self.cases])
        return self._answered(faults)

    # --- measuring ---------------------------------------------------------------------------------------

    def _ask(self, question: str, module: Question, number: int) -> None:
        """Measure and judge, within an equal share of what is left for measuring."""
        subject, clock = self.subject, self.clock
        self.tell(Phase(f"looking at the {question.replace('_', ' ')}", 0.1 + 0.08 * number, question))
        start = time.perf_counter()
        left = max(MEASURING * clock.budget - clock.spent(), 0.0) / (len(self.questions) - number)
        kinds = [kind for kind in self.kinds if kind.question == question]
        with clock.limit(max(left, LEAST * clock.budget)), clock.collecting() as skipped:
            try:
                measured = self.measured[question] = module.measure(subject)
                for fault in suspicions(kinds, measured, subject):
                    if fault.record.on_fewer_rows == "undecidable" and self._rows_factor() > SCALED:
                        subject.skip(f"{_named(fault)}: whether it is so on all rows takes a larger budget")
                        continue
                    self._open(_Case(fault, _fixes(fault, measured, subject), []))
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
        if refusal is None:
            return
        kind = next(kind for kind in self.kinds if kind.refused_for == refusal.option)
        if any(case.fault.kind == kind.name for case in self.cases):
            return
        text = f"Train refuses this network: {refusal.message}."
        suspicion = Suspicion("", {"refused": True}, None, "what train accepts", 10.0, text)
        fixes = [
            Intervention(options, f"Take {_spelled(options)}, which train accepts.")
            for options in refusal.fixes or (refusal.stand_in,)
        ]
        self._open(_Case(Fault.of(kind, suspicion), fixes, []))

    # --- trials ------------------------------------------------------------------------------------------

    def _try_all(self, number: int) -> None:
        """Try the fix number ``number`` of every open suspicion, or prove it where its fixes are used up."""
        waiting = [case for case in self.cases if not _confirmed(case)]
        waiting.sort(key=self._is_symptom)
        for position, case in enumerate(waiting):
            done = 0.5 + 0.4 * (number + position / len(waiting)) / FIXES
            kind = case.fault.record
            name = kind.name.replace("_", " ")
            if number < len(case.fixes):
                work = partial(self._try, case, case.fixes[number])
                self._timed(case, work, Phase(f"trying a fix: {name}", done, kind.question))
            elif number == len(case.fixes) and kind.prove is not None:
                self._timed(case, partial(self._prove, case), Phase(f"testing: {name}", done))

    def _is_symptom(self, case: _Case) -> bool:
        """Whether a fault whose fix wins much is known to bring this one about."""
        return any(
            known.fault.record.brings_about(case.fault.record)
            for known in self.cases
            if any(_wins_much(trial) for _, trial in known.tried)
        )

    def _timed(self, case: _Case, work: Callable[[], None], phase: Phase) -> None:
        self.tell(phase)
        start = time.perf_counter()
        with self.clock.collecting() as skipped:
            work()
        question = case.fault.record.question
        self.left_out[question] += skipped
        self.seconds[question] += time.perf_counter() - start

    def _prove(self, case: _Case) -> None:
        kind = case.fault.record
        if kind.prove is None or self.clock.left() <= 0:
            self.subject.skip(f"testing {_named(case.fault)}")
            return
        trial = kind.prove(case.fault, self.measured[kind.question], self.subject)
        if trial is not None:
            case.tried.append((case.fixes[0] if case.fixes else Intervention({}, ""), trial))

    def _try(self, case: _Case, fix: Intervention) -> None:
        subject, kind = self.subject, case.fault.record
        onto, fix = self._at_scale(kind, fix)
        if "keep" in fix.options:
            onto = subject.trials.unseen()
        shared = {} if onto is None else dict(onto.options)
        needed = subject.trials.seconds({**shared, **fix.tried})
        needed += subject.trials.seconds(shared) if onto is not None else 0.0
        if self._is_symptom(case) and needed > SYMPTOM * self.clock.budget:
            return
        if not self.clock.allows(needed, f"trying a fix for {_named(case.fault)}"):
            return
        refusal = subject.refusal
        refused = refusal is not None and not refusal.trainable and kind.refused_for == refusal.option
        sure = kind.mechanism and case.fault.strength >= SURE
        trial = subject.trials.compare(fix, kind, onto=onto, refused=refused, sure=sure)
        case.tried.append((fix, trial))

    def _rows_factor(self) -> float:
        asked, examined = self.subject.steps
        return asked / max(examined, 1)

    def _at_scale(self, kind: Kind, fix: Intervention) -> tuple[Intervention | None, Intervention]:
        """For a fault of pace on fewer rows: what both sides have, so that they get as far as with all steps."""
        factor = self._rows_factor()
        if factor <= SCALED or kind.on_fewer_rows not in ("more epochs", "larger rate"):
            return None, fix
        if kind.on_fewer_rows == "larger rate" and "learning_rate" in fix.options:
            # Far below the edge of stability the path is that of the gradient flow: so many times the rate go as far
            # in so many times fewer steps.
            rate = self.subject.settings.resolved_optimizer.hyperparameters()["learning_rate"] * factor
            return Intervention({"learning_rate": rate}, ""), fix
        examined, asked = self.subject.trials.settings.epochs, self.subject.asked.epochs
        epochs = round(examined * factor)
        options = dict(fix.options)
        if "epochs" in options:
            options["epochs"] = max(round(epochs * options["epochs"] / max(asked, 1)), 1)
        return Intervention({"epochs": epochs}, ""), Intervention(options, fix.sentence)

    # --- conclusions -------------------------------------------------------------------------------------

    def _closed(self, case: _Case) -> Fault:
        """The suspicion with the fix that did most; the first one, untried, where there was no time."""
        if not case.tried:
            return replace(case.fault, prescription=case.fixes[0] if case.fixes else None)
        tried, trial = max(case.tried, key=lambda pair: (pair[1].confirmed, _number(pair[1].gain)))
        original = next((fix for fix in case.fixes if fix.sentence == tried.sentence), None)
        return replace(case.fault, prescription=original, trial=trial)

    def _ordered(self, faults: list[Fault]) -> list[Fault]:
        """Ranked, with consequences marked as such."""
        faults = ranked(faults, self._reach(faults), self.cause_order)
        first = next((fault for fault in faults if fault.verdict == "fault"), None)
        if first is None:
            return faults
        self.tell(Phase("asking which faults follow from which", 0.92))
        with self.clock.collecting() as skipped:
            faults = [first if fault is first else self._after(first, fault) for fault in faults]
        self.left_out[first.record.question] += skipped
        faults = explained(faults, first)
        return ranked(faults, self._reach(faults), self.cause_order)

    def _reach(self, faults: Sequence[Fault]) -> dict[int, float]:
        """What each confirmed fix reaches, in units of the best by the same measure.

        Of measures that cannot be compared each has its own best; a gain of less than half of the largest is marked
        down for that. Where a kind has a measure of its own, other fixes are held against it too.
        """
        trials = {
            index: _trial(fault)
            for index, fault in enumerate(faults)
            if fault.verdict == "fault" and fault.trial is not None and fault.trial.effect == "improves"
        }
        reach: dict[int, float] = {}
        most = max((min(_number(trial.gain), 1.0) for trial in trials.values()), default=1.0)
        for measure in dict.fromkeys(trial.measure for trial in trials.values()):
            same = {index: trial for index, trial in trials.items() if trial.measure == measure}
            turn = _turned(next(iter(same.values())))
            after = [turn(trial.means[1]) for trial in same.values()]
            if any(faults[index].record.measure == measure for index in same):
                after += [turn(score) for score in self._otherwise(measure, faults, set(trials) - set(same))]
            before = max(turn(trial.means[0]) for trial in same.values())
            constant = turn(next(iter(same.values())).constant)
            reach |= dict(zip(same, reached(before, after, constant)[: len(same)], strict=True))
        if len({trial.measure for trial in trials.values()}) > 1:
            for index, trial in trials.items():
                reach[index] *= min(1.0, 2 * min(_number(trial.gain), 1.0) / most)
        return reach

    def _otherwise(self, measure: str, faults: Sequence[Fault], indices: Collection[int]) -> Iterator[float]:
        """What the fixes of other faults come to by ``measure``, as far as they were trained."""
        for index in indices:
            fix, trial = faults[index].prescription, _trial(faults[index])
            outcomes = [] if fix is None else self.subject.trials.known(fix.tried, trial.seeds)
            if outcomes:
                yield float(np.mean([outcome.score(measure) for outcome in outcomes]))

    def _after(self, first: Fault, other: Fault) -> Fault:
        """``other``, explained by ``first`` if its fix adds nothing once that of ``first`` is in place."""
        if other.verdict != "fault" or other.kind == first.kind:
            return other
        trial, fix, base = other.trial, other.prescription, first.prescription
        assert trial is not None
        if trial.effect != "improves":
            return other
        if first.trial is not None and first.trial.effect == "proof":
            explains = first.record.brings_about(other.record)
        elif fix is None or base is None:
            return other
        elif set(fix.tried) & set(base.tried):
            explains = True  # two fixes of one option: the better one is in place
        else:
            options = {**base.tried, **fix.tried}
            needed = self.subject.trials.seconds(options)
            if not self.clock.allows(needed, f"whether {_named(other)} is a fault of its own"):
                explains = first.record.brings_about(other.record)
            else:
                both = self.subject.trials.compare(fix, other.record, trial.seeds, onto=base)
                explains = not both.confirmed
        return replace(other, because=first.kind) if explains else other

    def _answered(self, faults: Sequence[Fault]) -> Diagnosis:
        answers = []
        for question in QUESTIONS:
            own = tuple(fault for fault in faults if fault.record.question == question)
            measured = self.measured.get(question)
            confirmed = next((fault for fault in own if fault.verdict == "fault"), None)
            if measured is None:
                sentence = "There was no time for this question."
            elif confirmed is not None:
                sentence = wording.confirmed(confirmed)
            else:
                sentence = self.questions[question].sentence(measured, own)
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


def suspicions(kinds: Iterable[Kind], measurement: Any, subject: Subject) -> Iterator[Fault]:
    """What each of ``kinds`` suspects in the measurement of its question."""
    for kind in kinds:
        for suspicion in kind.judge(measurement, subject):
            yield Fault.of(kind, suspicion)


def _fixes(fault: Fault, measurement: Any, subject: Subject) -> list[Intervention]:
    """The fixes of a suspicion; none where they cannot be built for this network."""
    try:
        return list(fault.record.prescribe(fault, measurement, subject))
    except (InputError, GraphError):
        return []


def _spelled(options: Mapping[str, Any]) -> str:
    return ", ".join(
        "a network with other outputs" if name == "network" else f"{name.replace('_', ' ')} {value}"
        for name, value in options.items()
    )


def _confirmed(case: _Case) -> bool:
    return any(trial.confirmed for _, trial in case.tried)


def _wins_much(trial: Trial) -> bool:
    """Whether a fix is confirmed, and half of what a constant guess leaves is gone with it."""
    turn = _turned(trial)
    return trial.confirmed and trial.gain >= MUCH and turn(trial.means[1]) <= MUCH * turn(trial.constant)


def _named(fault: Fault) -> str:
    where = f" in {fault.where}" if fault.where else ""
    return fault.kind.replace("_", " ") + where


def _trial(fault: Fault) -> Trial:
    assert fault.trial is not None
    return fault.trial


def _turned(trial: Trial) -> Callable[[float], float]:
    """Scores as numbers of which less is better."""
    return (lambda score: 1 - score) if trial.better == "higher" else (lambda score: score)


def _number(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
