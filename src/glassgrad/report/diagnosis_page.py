"""The report of a diagnosis: what a beginner should know first, then the evidence, then the fix and what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glassgrad.diagnosis.core.evidence import Trial
from glassgrad.diagnosis.core.findings import Answer, Diagnosis, Fault
from glassgrad.report.drill import walk
from glassgrad.report.page import Block, Details, Note, Page, Section, Table, Text
from glassgrad.report.questions import section
from glassgrad.report.sections import chain_rule, initialization, learning_rate, loss, neurons
from glassgrad.report.words import listed, number, percent, plural, seconds
from glassgrad.training.run import Run

DRAWINGS: Mapping[str, Callable[[Any, Run], list[Block]]] = {
    "neurons": neurons.draw,
    "learning_rate": learning_rate.draw,
    "initialization": initialization.draw,
    "loss": loss.draw,
    "chain_rule": chain_rule.draw,
}


def diagnosis_page(diagnosis: Diagnosis) -> Page:
    """The page of ``diagnosis``; raises InputError where Matplotlib is not installed."""
    return Page(
        title=diagnosis.source,
        lead=_lead(diagnosis),
        sections=[_section(answer, diagnosis) for answer in diagnosis.answers],
        kicker="Diagnosis by experiment",
        footer=_footer(diagnosis),
    )


def _lead(diagnosis: Diagnosis) -> str:
    named = diagnosis.named
    if named is None:
        warnings = sum(fault.verdict == "warning" for fault in diagnosis.faults)
        if not warnings:
            return "Nothing is wrong with this network: no suspicion stood up to an experiment."
        return (
            f"No fault was confirmed. {plural(warnings, 'remark')} below "
            f"{'is' if warnings == 1 else 'are'} worth a look, but no fix made the network materially better."
        )
    others = [fault for fault in diagnosis.faults if fault.verdict == "fault"][1:]
    lead = f"{named.sentence or _meaning(named)}"
    if named.prescription is not None:
        lead += f" {named.prescription.sentence}"
    if named.trial is not None:
        lead += f" {_told(named.trial)}"
    if others:
        lead += f" Also confirmed: {listed([_name(fault) for fault in others])}."
    return lead


def _footer(diagnosis: Diagnosis) -> str:
    left = f" No time was left for: {listed(list(diagnosis.left_out))}." if diagnosis.left_out else ""
    return (
        f"Measured and tried in {seconds(diagnosis.seconds)} of a budget of {seconds(diagnosis.budget)}. "
        f"Conclusions are drawn from training and validation rows only.{left}"
    )


def _section(answer: Answer, diagnosis: Diagnosis) -> Section:
    blocks: list[Block] = [_note(fault) for fault in answer.faults]
    run = diagnosis.subject.run if diagnosis.subject is not None else None
    if answer.measured is not None and run is not None:
        blocks += DRAWINGS[answer.question](answer.measured, run)
    if answer.question == "chain_rule" and run is not None:
        blocks += walk(run)
    if answer.left_out:
        blocks.append(Text(f"No time was left for: {listed(list(answer.left_out))}.", quiet=True))
    return section(answer.question, answer.sentence, blocks, answer.verdict)


def _note(fault: Fault) -> Note:
    """What is suspected, the numbers behind it, the fix, and what it did in its trial."""
    blocks: list[Block] = []
    if fault.prescription is not None:
        blocks.append(Text(fault.prescription.sentence, heading="The fix"))
    if fault.trial is not None:
        blocks.append(Text(_told(fault.trial), heading="What the experiment said"))
    if fault.because is not None:
        blocks.append(Text(f"This follows from {fault.because.replace('_', ' ')}.", quiet=True))
    numbers: list[Block] = [_evidence(fault)]
    if fault.trial is not None:
        numbers.append(_trial(fault.trial))
    blocks.append(Details("The numbers", numbers))
    return Note(fault.sentence or _meaning(fault), fault.verdict, _name(fault), blocks)


def _evidence(fault: Fault) -> Table:
    rows: list[Sequence[Any]] = [
        [key.replace("_", " "), value]
        for key, value in fault.evidence.items()
        if isinstance(value, int | float | str) and not isinstance(value, bool)
    ]
    if fault.threshold is not None:
        rows.append(["threshold", fault.threshold])
    return Table(["measured", ""], rows, fault.source)


def _trial(trial: Trial) -> Table:
    rows = [
        [str(seed), before, after]
        for seed, before, after in zip(trial.seeds, trial.before, trial.after, strict=True)
    ]
    return Table(["seed", f"{trial.measure} before", f"{trial.measure} after"], rows)


def _told(trial: Trial) -> str:
    """One sentence on a trial."""
    before, after = trial.means
    if trial.effect == "proof":
        one, other = trial.sides
        measure = trial.measure.replace("_", " ")
        said = f"{measure[0].upper() + measure[1:]} {one}: {number(before)}; {other}: {number(after)}."
        return said if trial.confirmed else f"{said} That does not prove it."
    several = plural(len(trial.seeds), "fresh seed")
    said = f"On {several}, {trial.measure} went from {number(before)} to {number(after)} on validation rows."
    if trial.gain == trial.gain and trial.effect == "improves":
        said += f" That is {percent(trial.gain, 0)} of the way from a blind guess to the better side."
    return said + ("" if trial.confirmed else " That does not confirm the suspicion.")


def _name(fault: Fault) -> str:
    where = f" in {fault.where}" if fault.where else ""
    return f"{fault.kind.replace('_', ' ')}{where}"


def _meaning(fault: Fault) -> str:
    meaning = fault.record.meaning
    return meaning[:1].upper() + meaning[1:] + "."
