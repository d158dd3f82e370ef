"""Weights after training equal recorded weights to the bit."""

from __future__ import annotations

import json

import pytest

from glassgrad.backends.native.runtime.machine import host
from training.recipes_of_bits import RECIPES, RECORD, digest

RECORDED = json.loads(RECORD.read_text(encoding="utf-8"))


def test_every_recipe_is_recorded() -> None:
    assert list(RECORDED) == list(RECIPES)
    assert len(set(RECORDED.values())) == len(RECORDED)


@pytest.mark.parametrize("name", RECIPES)
def test_weights_are_the_recorded_bits(name: str) -> None:
    if host().vector_bytes < 32:
        pytest.skip("this processor has no AVX2")
    assert digest(RECIPES[name]()) == RECORDED[name]
