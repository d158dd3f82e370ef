"""Diagnoses by some of the question modules, for tests that plant faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import glassgrad as gg
from glassgrad.diagnosis.core.budget import Clock
from glassgrad.diagnosis.core.examination import Examination
from glassgrad.diagnosis.core.findings import Diagnosis
from glassgrad.diagnosis.core.subject import Subject, examine
from glassgrad.training.given import Given
from glassgrad.training.settings import make_settings


def subject_of(data: gg.Dataset, **options: Any) -> Subject:
    """A network trained and watched, with time enough."""
    return examine(Given(data), make_settings({"layers": (16,), "epochs": 15} | options), Clock(600.0))


def diagnosed(data: gg.Dataset, modules: Mapping[str, Any], **options: Any) -> Diagnosis:
    """The whole way from measuring to trials, asking ``modules`` only."""
    return Examination(subject_of(data, **options), modules, lambda phase: None).run()
