"""Documents with former names of layer types and options can still be read."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import glassgrad as gg
from glassgrad.nn.earlier_names import OPTIONS, TYPES, current_names
from glassgrad.nn.layer import LAYERS
from glassgrad.nn.network import from_document


@pytest.mark.parametrize(
    ("entry", "layer"),
    [
        ({"type": "conv2d", "filters": 2, "size": [3, 2]}, gg.nn.Conv2D(2, kernel_size=(3, 2))),
        ({"type": "max_pool2d", "size": 3, "stride": 2}, gg.nn.MaxPool2D(pool_size=3, stride=2)),
        ({"type": "average_pool2d", "size": 3}, gg.nn.AveragePool2D(pool_size=3)),
        ({"type": "recurrent", "units": 4, "last": True}, gg.nn.SimpleRNN(4, last=True)),
    ],
)
def test_earlier_names_are_read(entry: dict[str, Any], layer: gg.nn.Layer) -> None:
    network = from_document({"layers": [entry]})
    assert network.nodes[0].layer == layer
    written = network.to_document()["layers"][0]
    assert "size" not in written
    assert from_document({"layers": [written]}) == network


def test_an_option_under_both_names_is_refused() -> None:
    entry = {"type": "conv2d", "filters": 2, "size": 3, "kernel_size": 5}
    with pytest.raises(gg.InputError, match="unknown option 'size'"):
        from_document({"layers": [entry]})


def test_other_layers_keep_their_options() -> None:
    assert current_names("dense", {"size": 3}) == ("dense", {"size": 3})


def test_every_current_name_exists() -> None:
    assert set(TYPES.values()) <= set(LAYERS)
    for kind, options in OPTIONS.items():
        assert set(options.values()) <= {item.name for item in dataclasses.fields(LAYERS[kind])}  # type: ignore[arg-type]
    assert not set(TYPES) & set(LAYERS)
