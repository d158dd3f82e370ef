"""The metrics of a model, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

import glassgrad as gg
from glassgrad.cli.output import metrics_table
from glassgrad.data.schema import Schema
from glassgrad.losses.table import loss
from glassgrad.training.metrics import LISTED_TARGETS, by_target, metrics_of, metrics_rows, rmse
from glassgrad.training.train import train
from training.small import blobs

RNG = np.random.default_rng(3)
SCALES = np.array([1.0, 1000.0, 0.01])
TRUE = RNG.normal(size=(50, 3)) * SCALES
PREDICTED = TRUE + RNG.normal(size=(50, 3)) * SCALES * [0.1, 0.5, 2.0]


def measured(predicted, true, names=()):
    """The metrics of a model with a squared error and unscaled targets."""
    schema = Schema.fit(
        np.zeros((len(true), 1)), true, False, "none", standardize_targets=False, target_names=names
    )
    outputs = predicted.reshape(len(predicted), -1)
    encoded = schema.encode_targets(true, "float64")
    return metrics_of(loss("squared_error"), schema, outputs, np.zeros(len(true)), encoded)


def test_metrics_of_several_targets_are_uniform_averages():
    found = measured(PREDICTED, TRUE)
    assert found["r2"] == pytest.approx(sk.r2_score(TRUE, PREDICTED, multioutput="uniform_average"))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(TRUE, PREDICTED))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(TRUE, PREDICTED))
    assert rmse(PREDICTED, TRUE) == pytest.approx(found["rmse"])


@pytest.mark.parametrize("names", [(), ("area", "price", "age")])
def test_each_target_has_its_own_metrics(names):
    found = measured(PREDICTED, TRUE, names)
    for j, name in enumerate(names or "012"):
        assert found[f"r2[{name}]"] == pytest.approx(sk.r2_score(TRUE[:, j], PREDICTED[:, j]))
        assert found[f"rmse[{name}]"] == pytest.approx(
            sk.root_mean_squared_error(TRUE[:, j], PREDICTED[:, j])
        )
        assert found[f"mae[{name}]"] == pytest.approx(sk.mean_absolute_error(TRUE[:, j], PREDICTED[:, j]))
    assert len(found) == 4 + 3 * 3


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_r2_does_not_depend_on_the_unit_of_a_target(unit):
    units = np.array([1.0, unit, 1.0])
    assert measured(PREDICTED * units, TRUE * units)["r2"] == pytest.approx(measured(PREDICTED, TRUE)["r2"])


@pytest.mark.parametrize("predicted", [0.1, 0.2])
def test_a_target_that_does_not_vary_is_scored_as_by_scikit_learn(predicted):
    true = np.stack([np.full(50, 0.1), TRUE[:, 0]], axis=1)
    guess = np.stack([np.full(50, predicted), PREDICTED[:, 0]], axis=1)
    found = measured(guess, true)
    assert found["r2[0]"] == (1.0 if predicted == 0.1 else 0.0)
    assert found["r2"] == pytest.approx((found["r2[0]"] + sk.r2_score(true[:, 1], guess[:, 1])) / 2)


def test_one_target_has_no_metrics_by_name():
    assert measured(PREDICTED[:, 0], TRUE[:, 0]).keys() == {"loss", "rmse", "mae", "r2"}
    assert measured(PREDICTED[:, :1], TRUE[:, :1]).keys() == {"loss", "rmse", "mae", "r2"}


def test_many_targets_have_only_averages():
    true = RNG.normal(size=(9, LISTED_TARGETS + 1))
    assert measured(true, true).keys() == {"loss", "rmse", "mae", "r2"}
    assert len(measured(true[:, 1:], true[:, 1:])) == 4 + 3 * LISTED_TARGETS


def test_a_prediction_that_is_not_a_number_has_no_r2():
    assert math.isnan(measured(np.full((50, 3), np.nan), TRUE)["r2"])


def test_accuracy_and_log_loss_are_those_of_scikit_learn():
    data = blobs(classes=3)
    model = train(data, layers=[4], epochs=3).model
    found = model.evaluate(data.features, data.targets)
    assert found["accuracy"] == sk.accuracy_score(data.targets, model.predict(data.features))
    p = model.predict_probabilities(data.features)
    assert found["loss"] == pytest.approx(sk.log_loss(data.targets, p), rel=1e-5)


def test_a_run_names_its_targets_and_so_does_the_model_it_saves(tmp_path):
    pd = pytest.importorskip("pandas")
    x = RNG.normal(size=(60, 2))
    y = pd.DataFrame({"price": 1e5 * x[:, 0], "age": x[:, 1] + 30})
    run = train(gg.from_arrays(x, y), layers=[8], epochs=5)
    assert {"r2", "r2[price]", "rmse[age]"} <= run.metrics["test"].keys()
    assert "validation_r2[price]" in run.history[-1]
    (tmp_path / "model.safetensors").write_bytes(run.model.to_bytes())
    loaded = gg.load_model(tmp_path / "model.safetensors")
    assert loaded.schema.output_names == ("price", "age")
    assert loaded.evaluate(x, y).keys() == run.metrics["test"].keys()


@pytest.mark.parametrize("names", ["ab", ["a"], ["a", "a"], ["a", 1], {"a": 0, "b": 1}])
def test_a_schema_with_unusable_target_names_is_refused(names):
    document = Schema.fit(np.zeros((5, 1)), TRUE[:5, :2], False).to_document()
    with pytest.raises(gg.InputError, match="target_names"):
        Schema.from_document(document | {"target_names": names})


def test_a_table_has_a_line_for_each_part_and_target():
    metrics = {"test": measured(PREDICTED, TRUE), "train": measured(TRUE, TRUE)}
    overall, targets = metrics_rows(metrics, {"train": 50, "test": 50})
    assert overall[0] == ["part", "rows", "loss", "rmse", "mae", "r2"]
    assert [line[0] for line in overall[1]] == ["train", "test"]
    assert targets[0] == ["part", "target", "rmse", "mae", "r2"]
    assert [line[:2] for line in targets[1]][:4] == [
        ["train", "0"],
        ["train", "1"],
        ["train", "2"],
        ["test", "0"],
    ]
    text = metrics_table(metrics, {"train": 50, "test": 50})
    assert "[" not in text
    assert len(text.splitlines()) == (2 + 2) + 1 + (2 + 6)


def test_a_target_name_with_brackets_is_kept_intact():
    assert by_target({"r2": 0.5, "r2[speed [m/s]]": 0.25}) == ({"r2": 0.5}, {"speed [m/s]": {"r2": 0.25}})
