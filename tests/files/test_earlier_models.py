"""Model files written by an earlier version, before layers and options were renamed, still load and predict."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import glassgrad as gg

MODELS = Path(__file__).parent / "models"


@pytest.mark.parametrize("name", ["convolution", "recurrent"])
def test_a_network_of_an_earlier_version_gives_the_same_predictions(name: str) -> None:
    with np.load(MODELS / f"{name}.npz") as kept:
        outputs = gg.load_model(MODELS / f"{name}.safetensors").outputs(kept["features"])
        np.testing.assert_allclose(outputs, kept["outputs"], rtol=1e-4, atol=1e-5)


def test_a_table_of_an_earlier_version_is_encoded_identically() -> None:
    with (MODELS / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {
        "size": np.array([float(row["size"]) for row in rows]),
        "colour": np.array([row["colour"] for row in rows]),
        "when": np.array([row["when"] for row in rows]),
    }
    model = gg.load_model(MODELS / "table.safetensors")
    with np.load(MODELS / "table.npz") as kept:
        np.testing.assert_allclose(model.outputs(columns), kept["outputs"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(model.predict(columns), kept["predictions"], rtol=1e-4)
