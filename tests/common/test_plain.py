"""Conversion of values to the types of JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import glassgrad
import glassgrad as gg
from glassgrad.common.plain import plain
from glassgrad.nn.activations import ACTIVATIONS
from glassgrad.nn.layers.dense import Dense


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1.0, np.nan], [np.inf, 2.0]]), [[1.0, None], [None, 2.0]]),
        (math.nan, None),
        (-math.inf, None),
        ((1, (2, [3])), [1, [2, [3]]]),
        ({"b", "a", "c"}, ["a", "b", "c"]),
        ({1: {2.5: (np.float64(1),)}}, {"1": {"2.5": [1.0]}}),
        (None, None),
        (Path("x"), "x"),
    ],
)
def test_a_value_becomes_a_json_value(value, expected):
    actual = plain(value)
    assert actual == expected
    assert type(actual) is type(expected)
    assert json.loads(json.dumps(actual, allow_nan=False)) == expected


def test_a_network_becomes_its_document_or_its_text():
    network = gg.Sequential(gg.nn.Dense(3))
    assert plain([network]) == [network.to_document()]

    class Own(Dense):
        pass

    assert isinstance(plain(gg.Sequential(Own(3))), str)


def test_nan_can_be_kept_and_other_values_converted():
    assert math.isnan(plain([math.nan], null_for_nan=False)[0])
    assert plain({"a": [2 + 0j]}, other=lambda item: item.real) == {"a": [2.0]}


def test_a_nested_part_becomes_its_configuration():
    from glassgrad.nn.layer import LAYERS

    layer = Dense(3, activation=ACTIVATIONS.make("leaky_relu(0.2)"))
    assert LAYERS.config(layer)["activation"] == {"name": "leaky_relu", "slope": 0.2}


def test_there_is_one_such_function():
    root = Path(glassgrad.__file__).parent
    sources = [file.read_text(encoding="utf-8") for file in root.rglob("*.py")]
    assert sum(source.count("\ndef plain(") for source in sources) == 1
