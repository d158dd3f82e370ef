"""Diagnoses with some of the questions, for tests that plant faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import glassgrad as gg
from glassgrad.diagnosis.core.budget import Clock
from glassgrad.diagnosis.core.evidence import Intervention, Suspicion
from glassgrad.diagnosis.core.examination import Examination, suspicions
from glassgrad.diagnosis.core.findings import Diagnosis, Fault
from glassgrad.diagnosis.core.subject import Subject, examine
from glassgrad.diagnosis.kinds import KINDS
from glassgrad.training.given import Given
from glassgrad.training.settings import make_settings
from training.small import merged


def subject_of(data: gg.Dataset, **options: Any) -> Subject:
    """A trained and watched network, with enough time."""
    return examine(Given(data), make_settings(merged({"layers": (16,), "epochs": 15}, options)), Clock(600.0))


def asked(subject: Subject, questions: Mapping[str, Any]) -> Diagnosis:
    """A full diagnosis, from measuring to trials, with ``questions`` only."""
    return Examination(subject, questions, KINDS.values(), lambda phase: None).run()


def diagnosed(data: gg.Dataset, questions: Mapping[str, Any], **options: Any) -> Diagnosis:
    """Train a network, and diagnose it with ``questions`` only."""
    return asked(subject_of(data, **options), questions)


def suspected(question: str, measurement: Any, subject: Subject) -> list[Fault]:
    """The suspicions of the kinds of ``question`` in its measurement, in causal order."""
    kinds = [kind for kind in KINDS.values() if kind.question == question]
    return list(suspicions(kinds, measurement, subject))


def prescribed(fault: Fault, measurement: Any, subject: Subject) -> list[Intervention]:
    """The fixes of a suspicion."""
    return fault.record.prescribe(fault, measurement, subject)


def fault_of(kind: str, where: str = "", strength: float = 1.0, **fields: Any) -> Fault:
    """A suspicion of ``kind`` without evidence."""
    return Fault(**vars(Suspicion(where, {}, None, "", strength)), record=KINDS[kind], **fields)
