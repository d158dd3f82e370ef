"""The page of one derivative, and the derivative in the report of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.explain.explain import explain_derivative
from glassgrad.report.explain_page import explain_page
from glassgrad.report.run_page import run_page

numbers = np.random.default_rng(0)
X = numbers.random((40, 6, 6, 1))
Y = np.arange(40) % 2


def trained(**options: Any) -> Any:
    network = gg.Sequential(gg.nn.Conv2D(3, activation="relu"), gg.nn.Flatten(), gg.nn.Dense(1))
    return gg.train(gg.from_arrays(X, Y), network=network, epochs=1, backend="reference", **options)


@pytest.mark.parametrize(
    ("options", "section_ids"),
    [
        ({"weight": "conv2d_1.weights[1,1,0,2]"}, ["chain_rule", "checks", "neurons", "step"]),
        ({"input": "x[2,3,0]"}, ["chain_rule", "checks", "neurons"]),
        ({"input": "x[2,3,0]", "paths": 0}, ["chain_rule", "checks", "neurons"]),
    ],
)
def test_the_page_has_its_sections(options: dict[str, Any], section_ids: list[str]) -> None:
    pytest.importorskip("matplotlib")
    explanation = explain_derivative(trained().model, X, targets=Y, row=2, **options)
    page = explain_page(explanation)
    assert [section.id for section in page.sections] == section_ids
    text = page.html()
    assert text == explain_page(explanation).html()
    assert text.count("data:image/png") > 4
    assert ("Paths from the loss" in text) == (options.get("paths") != 0)


def test_the_report_of_a_run_shows_one_derivative() -> None:
    pytest.importorskip("matplotlib")
    text = run_page(trained(watch=True)).html()
    assert "One derivative, factor by factor" in text
    assert "The strongest path" in text
