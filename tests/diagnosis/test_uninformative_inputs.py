"""Uninformative inputs: which they are, and that a trial selects them without held-out rows."""

from __future__ import annotations

import numpy as np
import pytest

import glassgrad as gg
from diagnosis.planting import diagnosed, subject_of
from glassgrad.diagnosis.core.association import signal_of_one_input
from glassgrad.diagnosis.core.evidence import Intervention
from glassgrad.diagnosis.core.uninformative_inputs import uninformative_columns
from glassgrad.diagnosis.kinds import KINDS
from glassgrad.diagnosis.loss import question as loss


def noisy(rows: int, telling: int = 4, idle: int = 60, classes: int = 3, seed: int = 0) -> gg.Dataset:
    """Classes that are clusters in the first ``telling`` inputs; the other inputs are noise."""
    random = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    centres = np.random.default_rng(99).normal(scale=1.5, size=(classes, telling))
    return gg.from_arrays(
        np.hstack([random.normal(size=(rows, telling)) + centres[y], random.normal(size=(rows, idle))]), y
    )


def uninformative_in(data: gg.Dataset) -> tuple[str, ...]:
    return uninformative_columns(subject_of(data, epochs=1).task.parts, data)


def test_noise_is_uninformative_and_clusters_are_not() -> None:
    found = uninformative_in(noisy(400))
    assert not {f"x[{i}]" for i in range(4)} & set(found)
    assert len(found) >= 50


def test_an_input_that_explains_a_regression_target_is_informative() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 10))
    found = uninformative_in(gg.from_arrays(x, x[:, 2] + 0.1 * random.normal(size=300)))
    assert "x[2]" not in found
    assert len(found) >= 5


def test_a_column_that_never_varies_is_uninformative() -> None:
    x = noisy(300, idle=3).features.copy()
    x[:, 5] = 7.0
    assert "x[5]" in uninformative_in(gg.from_arrays(x, np.arange(300) % 3))


def test_a_category_counts_as_one_column(tmp_path: object) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow as pa

    random = np.random.default_rng(0)
    told = random.integers(0, 5, 400)
    frame = pa.table(
        {
            "told": [f"t{i}" for i in told],
            "idle": [f"i{i}" for i in random.integers(0, 5, 400)],
            "target": told.astype(float) + 0.1 * random.normal(size=400),
        }
    )
    run = gg.train(frame, target="target", epochs=1)
    assert uninformative_columns(run.task.parts, run.dataset) == ("idle",)


def test_one_informative_input_among_many_exceeds_chance_and_shuffled_targets_do_not() -> None:
    data = noisy(300, telling=1, idle=150)
    assert signal_of_one_input(data.features, data.targets, 3) > 6
    random = np.random.default_rng(0)
    dealt = [signal_of_one_input(data.features, random.permutation(data.targets), 3) for _ in range(40)]
    assert max(dealt) < 4
    values = data.features[:, :1] + random.normal(size=(300, 1))
    assert signal_of_one_input(data.features, values, None) > 6


def test_targets_that_one_input_explains_are_not_called_shuffled() -> None:
    """120 rows, four informative inputs among hundreds: too few rows for a network."""
    found = diagnosed(noisy(120, idle=400), {"loss": loss}, layers=(64,), epochs=40)
    assert "shuffled_labels" not in [fault.kind for fault in found.faults]


def test_images_have_no_columns() -> None:
    random = np.random.default_rng(0)
    data = gg.from_arrays(random.normal(size=(60, 4, 4)), np.arange(60) % 2)
    assert uninformative_columns(gg.train(data, epochs=1).task.parts, data) == ()


def test_a_trial_selects_inputs_by_the_training_rows_of_each_seed() -> None:
    """Selected by all rows, a few of many random inputs seem to predict random classes on held-out rows too."""
    random = np.random.default_rng(1)
    data = gg.from_arrays(random.normal(size=(120, 400)), random.integers(0, 2, 120))
    trials = subject_of(data, layers=(), epochs=40, learning_rate=0.01, keep="last").trials
    everything = uninformative_columns(subject_of(data, validation=0.0, epochs=1).task.parts, data)
    seen = Intervention({"drop_inputs": list(everything)}, "")
    honest = Intervention({"drop_inputs": list(everything)}, "", {"drop_uninformative": True})
    seeds = trials.seeds(8)
    assert trials.compare(seen, KINDS["overfitting"], seeds).means[1] < 0.6
    assert trials.compare(honest, KINDS["overfitting"], seeds).means[1] > 0.7
    assert honest.document()["changes"] == {"drop_inputs": list(everything)}


def test_the_fix_for_few_rows_and_many_uninformative_inputs_is_to_drop_them() -> None:
    found = diagnosed(
        noisy(150, idle=120), {"loss": loss}, layers=(64,), epochs=80, learning_rate=0.003, keep="last"
    )
    assert found.named is not None
    assert found.named.kind == "overfitting"
    assert found.named.prescription is not None
    assert "x[0]" not in found.named.prescription.options["drop_inputs"]
    assert "unrelated to the target" in found.named.prescription.sentence


def test_one_lucky_split_of_few_rows_does_not_hide_overfitting() -> None:
    """Overfitting is found for every seed of the examined run."""
    data = noisy(150, idle=120)
    for seed in range(4):
        found = diagnosed(
            data, {"loss": loss}, layers=(64,), epochs=80, learning_rate=0.003, keep="last", seed=seed
        )
        assert "overfitting" in [fault.kind for fault in found.faults]
