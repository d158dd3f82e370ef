"""A running diagnosis: raises suspicions, tries fixes, and separates faults from their symptoms.

The steps share one state, the open cases and the clock, so they are in one file.
"""

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
"""Measuring may take the share ``MEASURING`` of the budget; trials get the rest. Each question gets at least the
share ``LEAST``, even if earlier questions overran."""

FIXES = 3
"""Number of fixes tried for one fault, the most promising first."""

MUCH = 0.5
SYMPTOM = 0.1
"""A known symptom of a fault whose fix gains ``MUCH`` is tried last, and for at most this share of the budget."""

SURE = 10.0
"""At this many times its threshold, a mechanism is certain; a trial only has to show that it matters."""

SCALED = 1.5
"""Above this ratio of requested to examined steps, faults that depend on the number of rows are undecidable."""


@dataclass(frozen=True)
class Phase:
    """A progress report of a running diagnosis; ``done`` goes from 0 to 1."""

    text: str
    done: float
    question: str = ""


class Question(Protocol):
    """The interface of each question's module."""

    def measure(self, subject: Subject) -> Any:
        """The measurement that the kinds of the question judge; its ``document()`` returns plain values."""

    def sentence(self, measurement: Any, faults: Sequence[Fault]) -> str:
        """The answer, in plain words, if none of ``faults`` is confirmed as a fault of its own."""


@dataclass
class _Case:
    """An open suspicion: its possible fixes, and the trials so far."""

    fault: Fault
    fixes: list[Intervention]
    tried: list[tuple[Intervention, Trial]]


class Examination:
    """A running diagnosis of ``subject``: ``questions`` by name, and ``kinds`` of fault in causal order."""

    def __init__(
        self,
        subject: Subject,
        questions: Mapping[str, Question],
        kinds: Iterable[Kind],
        report: Callable[[Phase], None],
    ) -> None:
        self.subject, self.questions, self.kinds, self.report = subject, questions, tuple(kinds), report
        self.cause_order = {kind.name: position for position, kind in enumerate(self.kinds)}
        self.clock = subject.clock
        self.measured: dict[str, Any] = {}
        self.seconds = dict.fromkeys(QUESTIONS, 0.0)
        self.left_out: dict[str, list[str]] = {question: [] for question in QUESTIONS}
        self.cases: list[_Case] = []

    def run(self) -> Diagnosis:
        """Measure, judge, run trials, and rank."""
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
        """Measure and judge one question, within an equal share of the remaining time for measuring."""
        subject, clock = self.subject, self.clock
        self.report(Phase(f"measuring: {question.replace('_', ' ')}", 0.1 + 0.08 * number, question))
        start = time.perf_counter()
        left = max(MEASURING * clock.budget - clock.spent(), 0.0) / (len(self.questions) - number)
        kinds = [kind for kind in self.kinds if kind.question == question]
        with clock.limit(max(left, LEAST * clock.budget)), clock.collecting() as skipped:
            try:
                measured = self.measured[question] = module.measure(subject)
                for fault in suspicions(kinds, measured, subject):
                    if fault.record.on_fewer_rows == "undecidable" and self._rows_factor() > SCALED:
                        subject.skip(
                            f"{_named(fault)}: deciding whether it holds on all rows takes a larger budget"
                        )
                        continue
                    self._open(_Case(fault, _fixes(fault, measured, subject), []))
            except (InputError, GraphError, LinAlgError) as error:
                skipped.append(f"could not be measured: {error}")
        self.left_out[question] += skipped
        self.seconds[question] += time.perf_counter() - start

    def _open(self, case: _Case) -> None:
        """Open a case; of several with the same kind and ``where``, keep the strongest."""
        for index, present in enumerate(self.cases):
            if (present.fault.kind, present.fault.where) == (case.fault.kind, case.fault.where):
                if case.fault.strength > present.fault.strength:
                    self.cases[index] = case
                return
        self.cases.append(case)

    def _add_refusal(self) -> None:
        """Open a case for a refusal by ``train`` that no question has reported."""
        refusal = self.subject.refusal
        if refusal is None:
            return
        kind = next(kind for kind in self.kinds if kind.refused_for == refusal.option)
        if any(case.fault.kind == kind.name for case in self.cases):
            return
        text = f"train refuses this network: {refusal.message}."
        suspicion = Suspicion("", {"refused": True}, None, "what train accepts", 10.0, text)
        fixes = [
            Intervention(options, f"Use {_in_words(options)}, which train accepts.")
            for options in refusal.fixes or (refusal.stand_in,)
        ]
        self._open(_Case(Fault.of(kind, suspicion), fixes, []))

    # --- trials ------------------------------------------------------------------------------------------

    def _try_all(self, number: int) -> None:
        """Try fix ``number`` of every unconfirmed case; if its fixes are used up, run the proof of its kind."""
        unconfirmed = [case for case in self.cases if not _confirmed(case)]
        unconfirmed.sort(key=self._is_symptom)
        for position, case in enumerate(unconfirmed):
            done = 0.5 + 0.4 * (number + position / len(unconfirmed)) / FIXES
            kind = case.fault.record
            name = kind.name.replace("_", " ")
            if number < len(case.fixes):
                work = partial(self._try, case, case.fixes[number])
                self._timed(case, work, Phase(f"trying a fix: {name}", done, kind.question))
            elif number == len(case.fixes) and kind.prove is not None:
                self._timed(case, partial(self._prove, case), Phase(f"testing: {name}", done))

    def _is_symptom(self, case: _Case) -> bool:
        """Whether ``case`` is a known symptom of a fault whose fix gains much."""
        return any(
            other.fault.record.brings_about(case.fault.record)
            for other in self.cases
            if any(_gains_much(trial) for _, trial in other.tried)
        )

    def _timed(self, case: _Case, work: Callable[[], None], phase: Phase) -> None:
        self.report(phase)
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
            onto = subject.trials.split_validation()
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
        requested, examined = self.subject.steps
        return requested / max(examined, 1)

    def _at_scale(self, kind: Kind, fix: Intervention) -> tuple[Intervention | None, Intervention]:
        """The change of both sides that makes runs on fewer rows get as far as on all rows, and the scaled fix."""
        factor = self._rows_factor()
        if factor <= SCALED or kind.on_fewer_rows not in ("more epochs", "larger rate"):
            return None, fix
        if kind.on_fewer_rows == "larger rate" and "learning_rate" in fix.options:
            # Far below the edge of stability, training follows the gradient flow: a rate that is ``factor`` times as
            # large gets as far in 1 / ``factor`` of the steps.
            rate = self.subject.settings.resolved_optimizer.hyperparameters()["learning_rate"] * factor
            return Intervention({"learning_rate": rate}, ""), fix
        examined, requested = self.subject.trials.settings.epochs, self.subject.requested.epochs
        epochs = round(examined * factor)
        options = dict(fix.options)
        if "epochs" in options:
            options["epochs"] = max(round(epochs * options["epochs"] / max(requested, 1)), 1)
        return Intervention({"epochs": epochs}, ""), Intervention(options, fix.sentence)

    # --- conclusions -------------------------------------------------------------------------------------

    def _closed(self, case: _Case) -> Fault:
        """The fault with its best trial and the fix of that trial; without a trial, with its first fix."""
        if not case.tried:
            return replace(case.fault, prescription=case.fixes[0] if case.fixes else None)
        tried, trial = max(case.tried, key=lambda pair: (pair[1].confirmed, _number(pair[1].gain)))
        original = next((fix for fix in case.fixes if fix.sentence == tried.sentence), None)
        return replace(case.fault, prescription=original, trial=trial)

    def _ordered(self, faults: list[Fault]) -> list[Fault]:
        """``faults`` ranked, with symptoms of the first one marked."""
        faults = ranked(faults, self._reach(faults), self.cause_order)
        first = next((fault for fault in faults if fault.verdict == "fault"), None)
        if first is None:
            return faults
        self.report(Phase("separating causes from symptoms", 0.92))
        with self.clock.collecting() as skipped:
            faults = [first if fault is first else self._after(first, fault) for fault in faults]
        self.left_out[first.record.question] += skipped
        faults = explained(faults, first)
        return ranked(faults, self._reach(faults), self.cause_order)

    def _reach(self, faults: Sequence[Fault]) -> dict[int, float]:
        """The improvement by each confirmed fix, by index, in units of the best fix by the same measure.

        Each measure has its own best fix, since different measures cannot be compared. With several measures, a gain
        below half of the largest is scaled down. If a kind has its own measure, other fixes are scored by it too.
        """
        trials = {
            index: _trial(fault)
            for index, fault in enumerate(faults)
            if fault.verdict == "fault" and fault.trial is not None and fault.trial.effect == "improves"
        }
        reach: dict[int, float] = {}
        largest = max((min(_number(trial.gain), 1.0) for trial in trials.values()), default=1.0)
        for measure in dict.fromkeys(trial.measure for trial in trials.values()):
            same = {index: trial for index, trial in trials.items() if trial.measure == measure}
            convert = _lower_is_better(next(iter(same.values())))
            after = [convert(trial.means[1]) for trial in same.values()]
            if any(faults[index].record.measure == measure for index in same):
                after += [
                    convert(score)
                    for score in self._scores_of_others(measure, faults, set(trials) - set(same))
                ]
            before = max(convert(trial.means[0]) for trial in same.values())
            constant = convert(next(iter(same.values())).constant)
            reach |= dict(zip(same, reached(before, after, constant)[: len(same)], strict=True))
        if len({trial.measure for trial in trials.values()}) > 1:
            for index, trial in trials.items():
                reach[index] *= min(1.0, 2 * min(_number(trial.gain), 1.0) / largest)
        return reach

    def _scores_of_others(
        self, measure: str, faults: Sequence[Fault], indices: Collection[int]
    ) -> Iterator[float]:
        """Mean scores by ``measure`` of the fixes of other faults, as far as they were trained."""
        for index in indices:
            fix, trial = faults[index].prescription, _trial(faults[index])
            outcomes = [] if fix is None else self.subject.trials.known(fix.tried, trial.seeds)
            if outcomes:
                yield float(np.mean([outcome.score(measure) for outcome in outcomes]))

    def _after(self, first: Fault, other: Fault) -> Fault:
        """``other``, marked as explained by ``first`` if its fix adds nothing to the fix of ``first``."""
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
            explains = True  # Both fixes change the same option, and the first one is better.
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
            related = tuple(fault for fault in faults if fault.record.question == question)
            measured = self.measured.get(question)
            confirmed = next((fault for fault in related if fault.verdict == "fault"), None)
            if measured is None:
                sentence = "There was no time for this question."
            elif confirmed is not None:
                sentence = wording.confirmed(confirmed)
            else:
                sentence = self.questions[question].sentence(measured, related)
            answers.append(
                Answer(
                    question,
                    worst(fault.verdict for fault in related),
                    sentence,
                    related,
                    measured,
                    self.seconds[question],
                    tuple(dict.fromkeys(self.left_out[question])),
                )
            )
        subject = self.subject
        return Diagnosis(
            source=subject.original.name,
            answers=tuple(answers),
            faults=tuple(faults),
            examined=subject.document(),
            seconds=self.clock.spent(),
            budget=self.clock.budget,
            left_out=tuple(dict.fromkeys(self.clock.left_out)),
            subject=subject,
        )


def suspicions(kinds: Iterable[Kind], measurement: Any, subject: Subject) -> Iterator[Fault]:
    """The suspicions of all ``kinds``, from the measurement of their question."""
    for kind in kinds:
        for suspicion in kind.judge(measurement, subject):
            yield Fault.of(kind, suspicion)


def _fixes(fault: Fault, measurement: Any, subject: Subject) -> list[Intervention]:
    """The fixes of a suspicion; empty if they cannot be built for this network."""
    try:
        return list(fault.record.prescribe(fault, measurement, subject))
    except (InputError, GraphError):
        return []


def _in_words(options: Mapping[str, Any]) -> str:
    return ", ".join(
        "a network with different outputs" if name == "network" else f"{name.replace('_', ' ')} {value}"
        for name, value in options.items()
    )


def _confirmed(case: _Case) -> bool:
    return any(trial.confirmed for _, trial in case.tried)


def _gains_much(trial: Trial) -> bool:
    """Whether a fix is confirmed and leaves at most half of the baseline's score."""
    convert = _lower_is_better(trial)
    return (
        trial.confirmed and trial.gain >= MUCH and convert(trial.means[1]) <= MUCH * convert(trial.constant)
    )


def _named(fault: Fault) -> str:
    where = f" in {fault.where}" if fault.where else ""
    return fault.kind.replace("_", " ") + where


def _trial(fault: Fault) -> Trial:
    assert fault.trial is not None
    return fault.trial


def _lower_is_better(trial: Trial) -> Callable[[float], float]:
    """A function that converts scores so that lower is better."""
    return (lambda score: 1 - score) if trial.better == "higher" else (lambda score: score)


def _number(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
