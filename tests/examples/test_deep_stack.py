"""The example of thirty layers: which initializers train, and what the signal shows before training."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "deep_stack.py"
EPOCHS = {"he_normal": 4, "lsuv": 4, "xavier_normal": 2, "normal(0.01)": 1, "normal(1.0)": 1}


def test_the_initializer_decides_whether_thirty_layers_train():
    """One test only, because the measurement takes seconds."""
    example = runpy.run_path(str(EXAMPLE))
    example["OPTIONS"]["backend"] = "reference"  # a few epochs take less time than compiling thirty layers
    assert set(EPOCHS) == set(example["STARTS"])
    rows = {init: example["measure"](init, epochs) for init, epochs in EPOCHS.items()}

    for init in ("he_normal", "lsuv"):  # the signal is preserved, and the network trains
        row = rows[init]
        assert 0.2 < min(row.variances[:-1]) <= max(row.variances) < 5
        assert 0.1 < row.gradient < 10
        assert row.loss < 2.0
        assert row.accuracy > 0.25
    # LSUV was fitted to a batch that is not exactly these 512 digits.
    np.testing.assert_allclose(rows["lsuv"].variances, 1, atol=0.25)
    assert rows["lsuv"].accuracy > 0.45

    for init in ("xavier_normal", "normal(0.01)"):  # the signal vanishes; the loss stays at log 10 = 2.303
        row = rows[init]
        assert row.variances[29] < 1e-7 * row.variances[0]
        assert row.gradient < 1e-3 * rows["he_normal"].gradient
        assert row.loss > 2.29
        assert row.accuracy < 0.2
    variances = rows["xavier_normal"].variances
    assert (variances[29] / variances[0]) ** (1 / 29) == pytest.approx(0.5, abs=0.05)

    assert rows["normal(1.0)"].variances[29] > 1e40
    assert rows["normal(1.0)"].diverged

    text = example["table"](list(rows.values()))
    assert [line.split()[0] for line in text.splitlines()[3:]] == list(rows)
    assert "diverged" in text.splitlines()[-1]
