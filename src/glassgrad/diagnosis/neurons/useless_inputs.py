"""Useless inputs: those that never vary, and duplicates of another input."""

from __future__ import annotations

from typing import Any

from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.kinds import Kind
from glassgrad.diagnosis.core.subject import Subject
from glassgrad.diagnosis.neurons.question import NeuronsMeasurement

SHOWN = 4
"""Maximum number of columns named in a sentence."""


def judge_constant(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """Columns with one value in all training rows."""
    columns = m.inputs.constant
    if not columns:
        return []
    names = ", ".join(columns[:SHOWN]) + (" ..." if len(columns) > SHOWN else "")
    text = f"These inputs have the same value in every training row: {names}."
    evidence: dict[str, Any] = {"columns": list(columns)}
    return [Suspicion(names, evidence, 0.0, "range over the training rows", 1.0, text)]


def prescribe_constant(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """The network without the constant columns."""
    return [_without(list(m.inputs.constant))]


def judge_duplicate(m: NeuronsMeasurement, subject: Subject) -> list[Suspicion]:
    """Pairs of columns that determine each other."""
    pairs = m.inputs.repeated
    if not pairs:
        return []
    names = ", ".join(pair[1] for pair in pairs[:SHOWN])
    text = f"{pairs[0][1]} carries the same information as {pairs[0][0]}."
    evidence: dict[str, Any] = {"pairs": [list(pair) for pair in pairs]}
    source = "correlation 1 or -1, up to rounding"
    return [Suspicion(names, evidence, 1.0, source, 1.0, text)]


def prescribe_duplicate(suspicion: Suspicion, m: NeuronsMeasurement, subject: Subject) -> list[Intervention]:
    """The network without the second column of each pair."""
    return [_without(list(dict.fromkeys(pair[1] for pair in m.inputs.repeated)))]


def _without(columns: list[str]) -> Intervention:
    return Intervention(
        {"drop_inputs": columns},
        f"Drop {', '.join(columns[:SHOWN])}{' ...' if len(columns) > SHOWN else ''}.",
    )


DUPLICATE = Kind(
    name="duplicate_feature",
    question="neurons",
    meaning="an input carries the same information as another input",
    judge=judge_duplicate,
    prescribe=prescribe_duplicate,
    effect="unchanged",
    harmless=True,
)
CONSTANT = Kind(
    name="constant_feature",
    question="neurons",
    meaning="an input has the same value in every row",
    judge=judge_constant,
    prescribe=prescribe_constant,
    effect="unchanged",
    harmless=True,
)
