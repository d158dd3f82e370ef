"""The page of a diagnosis: the sentence first, the numbers folded away, the chain rule to click through."""

from __future__ import annotations

import re
from functools import cache

import glassgrad as gg
from glassgrad.diagnosis.core.findings import Diagnosis
from glassgrad.diagnosis.diagnose import diagnose
from glassgrad.report.diagnosis_page import diagnosis_page
from glassgrad.report.page import Details


@cache
def diagnosed(init: str) -> Diagnosis:
    data = gg.load_source("digits")
    small = gg.from_arrays(
        data.features.reshape(len(data.features), -1)[:400], data.targets[:400], name="<b>a & b"
    )
    return diagnose(small, layers=[12, 8], epochs=8, init=init, budget=20)


def test_the_named_fault_leads_and_its_cure_follows() -> None:
    found = diagnosed("zeros")
    page = diagnosis_page(found)
    assert found.named is not None
    assert found.named.prescription is not None
    assert page.lead.startswith(found.named.sentence)
    assert found.named.prescription.sentence in page.lead
    assert [section.id for section in page.sections] == [answer.question for answer in found.answers]
    assert [section.verdict for section in page.sections] == [answer.verdict for answer in found.answers]


def test_what_is_given_as_text_stays_text() -> None:
    html = diagnosis_page(diagnosed("zeros")).html()
    assert "&lt;b&gt;a &amp; b" in html
    assert "<b>a" not in html
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", html).replace("http-equiv", "")


def test_the_chain_rule_can_be_walked_down_to_a_weight() -> None:
    page = diagnosis_page(diagnosed("he_normal"))
    chain = next(section for section in page.sections if section.id == "chain_rule")
    folds = [block for block in chain.blocks if isinstance(block, Details) and "dL =" in block.summary]
    assert folds
    html = page.html()
    for name in ("dense_3[", "dense_2.preactivation[", "dense_1.weights["):
        assert name in html
