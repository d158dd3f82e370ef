"""The report of a diagnosis: a plain summary first, then the evidence, the fix, and the effect of the fix."""

from __future__ import annotations

import math
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
    main_fault = diagnosis.named
    if main_fault is None:
        warnings = sum(fault.verdict == "warning" for fault in diagnosis.faults)
        if not warnings:
            return "Nothing is wrong with this network: no experiment confirmed a fault."
        return (
            f"No fault was confirmed. {plural(warnings, 'remark')} below "
            f"{'is' if warnings == 1 else 'are'} worth a look, but no fix made the network much better."
        )
    other_faults = [fault for fault in diagnosis.faults if fault.verdict == "fault"][1:]
    lead = f"{main_fault.sentence or _meaning(main_fault)}"
    if main_fault.prescription is not None:
        lead += f" {main_fault.prescription.sentence}"
    if main_fault.trial is not None:
        lead += f" {_trial_sentences(main_fault.trial)}"
    if other_faults:
        lead += f" Also confirmed: {listed([_name(fault) for fault in other_faults])}."
    return lead


def _footer(diagnosis: Diagnosis) -> str:
    skipped = f" Skipped for lack of time: {listed(list(diagnosis.left_out))}." if diagnosis.left_out else ""
    return (
        f"The diagnosis took {seconds(diagnosis.seconds)} of a budget of {seconds(diagnosis.budget)}. "
        f"Its conclusions use training and validation rows only.{skipped}"
    )


def _section(answer: Answer, diagnosis: Diagnosis) -> Section:
    blocks: list[Block] = [_note(fault) for fault in answer.faults]
    run = diagnosis.subject.run if diagnosis.subject is not None else None
    if answer.measured is not None and run is not None:
        blocks += DRAWINGS[answer.question](answer.measured, run)
    if answer.question == "chain_rule" and run is not None:
        blocks += walk(run)
    if answer.left_out:
        blocks.append(Text(f"Skipped for lack of time: {listed(list(answer.left_out))}.", quiet=True))
    return section(answer.question, answer.sentence, blocks, answer.verdict)


def _note(fault: Fault) -> Note:
    """The fault, its fix, the result of the trial, and the numbers behind them."""
    blocks: list[Block] = []
    if fault.prescription is not None:
        blocks.append(Text(fault.prescription.sentence, heading="The fix"))
    if fault.trial is not None:
        blocks.append(Text(_trial_sentences(fault.trial), heading="The experiment"))
    if fault.because is not None:
        blocks.append(Text(f"This is a consequence of {fault.because.replace('_', ' ')}.", quiet=True))
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


def _trial_sentences(trial: Trial) -> str:
    """The result of ``trial`` in at most three sentences."""
    before, after = trial.means
    measure = trial.measure.replace("_", " ")
    if trial.effect == "proof":
        before_label, after_label = trial.sides
        text = f"{measure[0].upper() + measure[1:]} {before_label}: {number(before)}; {after_label}: {number(after)}."
        return text if trial.confirmed else f"{text} This does not prove the fault."
    seeds = plural(len(trial.seeds), "new seed")
    text = f"With {seeds}, the mean validation {measure} went from {number(before)} to {number(after)}."
    if trial.effect == "improves":
        text += _gain_sentence(trial.gain)
    return text if trial.confirmed else f"{text} This does not confirm the fault."


def _gain_sentence(gain: float) -> str:
    """``gain`` in words. The gap lies between the constant guess and the better score; NaN: there is none."""
    if math.isnan(gain):
        return ""
    if gain <= 0:
        return " The fix did not improve it."
    if gain > 1:  # without the fix the network was worse than the guess
        return f" The improvement is {number(gain, 2)} times the gap between guessing and the better score."
    return f" The fix closed {percent(gain, 0)} of the gap between guessing and the better score."


def _name(fault: Fault) -> str:
    location = f" in {fault.where}" if fault.where else ""
    return f"{fault.kind.replace('_', ' ')}{location}"


def _meaning(fault: Fault) -> str:
    meaning = fault.record.meaning
    return meaning[:1].upper() + meaning[1:] + "."
