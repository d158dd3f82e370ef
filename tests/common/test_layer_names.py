"""Names of values that belong to a layer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import glassgrad
from glassgrad.common.layer_names import full_name, layer_of, of_layer, own_values, split_name

VALUES = {"dense_1.weights": 1, "dense_10.weights": 2, "dense_1.bias": 3, "dense_1": 4, "gate.dense_1.w": 5}


def test_layers_whose_names_share_a_prefix_are_separate():
    assert of_layer(VALUES, "dense_1") == {"dense_1.weights": 1, "dense_1.bias": 3}
    assert own_values(VALUES, "dense_1") == {"weights": 1, "bias": 3}
    assert own_values(VALUES, "gone") == {}


def test_the_order_is_kept():
    assert list(own_values(dict(reversed(VALUES.items())), "dense_1")) == ["bias", "weights"]


@pytest.mark.parametrize(
    ("name", "layer", "own"), [("a.w", "a", "w"), ("a.inner.w", "a", "inner.w"), ("a", "a", "")]
)
def test_a_name_is_split_at_its_first_dot(name, layer, own):
    assert split_name(name) == (layer, own)
    assert layer_of(name) == layer


def test_full_name_is_the_inverse_of_split_name():
    assert split_name(full_name("dense_1", "inner.w")) == ("dense_1", "inner.w")


BY_HAND = re.compile(
    r"""startswith\((prefix|f["']\{[^}]*\}\.["'])|r?(split|partition)\(["']\.["'](, 1)?\)\[0\]"""
)
ROOMS = ("nn", "optim", "training", "explain", "diagnosis", "report", "cli")


def test_no_module_searches_for_a_layer_prefix_itself():
    root = Path(glassgrad.__file__).parent
    files = [file for room in ROOMS for file in sorted((root / room).rglob("*.py"))]
    assert len(files) > 50
    assert [file.name for file in files if BY_HAND.search(file.read_text(encoding="utf-8"))] == []
