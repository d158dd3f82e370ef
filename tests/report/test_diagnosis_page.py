"""The page of a diagnosis: its lead, its sections, its escaping, and the chain rule as nested folds."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache

import pytest

import glassgrad as gg
from glassgrad.diagnosis.core.evidence import Trial
from glassgrad.diagnosis.core.findings import Diagnosis
from glassgrad.diagnosis.diagnose import diagnose
from glassgrad.report.diagnosis_page import _trial_sentences, diagnosis_page
from glassgrad.report.page import Details


@cache
def diagnosed(init: str) -> Diagnosis:
    data = gg.load_source("digits")
    small = gg.from_arrays(
        data.features.reshape(len(data.features), -1)[:400], data.targets[:400], name="<b>a & b"
    )
    return diagnose(small, layers=[12, 8], epochs=8, init=init, budget=20)


def test_the_lead_names_the_fault_and_then_its_fix() -> None:
    diagnosis = diagnosed("zeros")
    page = diagnosis_page(diagnosis)
    assert diagnosis.named is not None
    assert diagnosis.named.prescription is not None
    assert page.lead.startswith(diagnosis.named.sentence)
    assert diagnosis.named.prescription.sentence in page.lead
    assert [section.id for section in page.sections] == [answer.question for answer in diagnosis.answers]
    assert [section.verdict for section in page.sections] == [answer.verdict for answer in diagnosis.answers]


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (0.73, "The fix closed 73% of the gap between guessing and the better score."),
        (2.3, "The improvement is 2.3 times the gap between guessing and the better score."),
        (-0.1, "The fix did not improve it."),
    ],
)
def test_the_gain_of_a_trial_in_words(gain: float, sentence: str) -> None:
    trial = Trial((1, 2), "balanced_accuracy", (0.5, 0.5), (0.25, 0.25), True, 1.0, gain=gain)
    start = "With 2 new seeds, the mean validation balanced accuracy went from 0.5 to 0.25."
    assert _trial_sentences(trial) == f"{start} {sentence}"
    assert _trial_sentences(replace(trial, gain=math.nan)) == start
    assert _trial_sentences(replace(trial, confirmed=False)).endswith("This does not confirm the fault.")


def test_the_name_of_the_data_is_escaped() -> None:
    html = diagnosis_page(diagnosed("zeros")).html()
    assert "&lt;b&gt;a &amp; b" in html
    assert "<b>a" not in html
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", html).replace("http-equiv", "")


def test_the_folds_of_the_chain_rule_lead_down_to_a_weight() -> None:
    page = diagnosis_page(diagnosed("he_normal"))
    chain = next(section for section in page.sections if section.id == "chain_rule")
    folds = [block for block in chain.blocks if isinstance(block, Details) and "dL =" in block.summary]
    assert folds
    html = page.html()
    for name in ("dense_3[", "dense_2.preactivation[", "dense_1.weights["):
        assert name in html
