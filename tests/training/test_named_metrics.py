"""Metrics by name, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

import glassgrad as gg
from glassgrad.training.named_metrics import METRICS, OTHER_NAMES, metric, named_metrics
from training.small import blobs, surface

RANDOM = np.random.default_rng(0)


def classes(count: int, rows: int = 200, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    logits = RANDOM.normal(size=(rows, count)) * 2
    if ties:
        logits = logits.round(1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([RANDOM.choice(count, p=row) for row in probabilities])
    return probabilities, targets


@pytest.mark.parametrize("count", [2, 3, 7])
def test_classification_metrics_are_those_of_scikit_learn(count: int) -> None:
    p, y = classes(count)
    labels = p.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(y, labels),
        "balanced_accuracy": sk.balanced_accuracy_score(y, labels),
        "f1": sk.f1_score(y, labels, average="macro"),
        "log_loss": sk.log_loss(y, p, labels=range(count)),
        "roc_auc": sk.roc_auc_score(y, p[:, 1] if count == 2 else p, multi_class="ovr"),
        "average_precision": sk.average_precision_score(
            y if count == 2 else np.eye(count)[y], p[:, 1] if count == 2 else p
        ),
        "brier": np.mean((p[:, 1] - y) ** 2)
        if count == 2
        else np.mean(((p - np.eye(count)[y]) ** 2).sum(axis=1)),
    }
    results = named_metrics(expected, y, labels=labels, probabilities=p)
    assert results == pytest.approx(expected, rel=1e-12)


def test_the_brier_score_of_two_classes_is_that_of_scikit_learn() -> None:
    p, y = classes(2)
    assert named_metrics(["brier"], y, probabilities=p)["brier"] == pytest.approx(
        sk.brier_score_loss(y, p[:, 1])
    )


@pytest.mark.parametrize("targets", [1, 3])
def test_regression_metrics_are_those_of_scikit_learn(targets: int) -> None:
    true = RANDOM.normal(size=(90, targets)) * [1, 50, 0.01][:targets] + 2
    predicted = true + RANDOM.normal(size=true.shape) * [0.3, 20, 0.02][:targets]
    expected = {
        "rmse": sk.root_mean_squared_error(true, predicted),
        "mae": sk.mean_absolute_error(true, predicted),
        "r2": sk.r2_score(true, predicted),
        "pinball": sk.mean_pinball_loss(true, predicted, alpha=0.5),
        "mape": sk.mean_absolute_percentage_error(true, predicted),
    }
    assert named_metrics(expected, true, values=predicted) == pytest.approx(expected, rel=1e-12)


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    """Two bins: 60 % sure and right half of the time, and 90 % sure and right nine times in ten."""
    p = np.array([[0.6, 0.4]] * 10 + [[0.9, 0.1]] * 10)
    y = np.array([0] * 5 + [1] * 5 + [0] * 9 + [1])
    assert named_metrics(["ece"], y, probabilities=p) == {"calibration_error": pytest.approx(0.05)}
    sure = np.eye(3)[[0, 1, 2]]
    assert named_metrics(["ece"], np.array([0, 1, 2]), probabilities=sure)["calibration_error"] == 0


def test_rows_of_one_class_have_no_ranking() -> None:
    p, _ = classes(2, rows=5)
    results = named_metrics(["auc", "ap"], np.zeros(5, int), probabilities=p)
    assert all(math.isnan(value) for value in results.values())


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_best_for_a_perfect_prediction(name: str) -> None:
    y = np.array([0, 1, 2, 1, 0])
    true = np.array([[1.0], [2.0], [-3.0]])
    perfect = {"labels": y, "probabilities": np.eye(3)[y], "values": true}
    item = metric(name)
    worse = {"labels": np.roll(y, 1), "probabilities": np.roll(np.eye(3)[y], 1, axis=0), "values": true + 1}
    targets = true if item.takes == "values" else y
    best, worst = (
        named_metrics([name], targets, **{item.takes: side[item.takes]})[name] for side in (perfect, worse)
    )
    assert best == pytest.approx(1 if item.higher_is_better else 0, abs=1e-12)
    assert (best > worst) == item.higher_is_better


def test_unknown_and_unfit_metrics_are_refused() -> None:
    with pytest.raises(gg.InputError, match="did you mean 'roc_auc'"):
        metric("roc_auk")
    with pytest.raises(gg.InputError, match=r"metric 'auc' needs probabilities, .* use one of rmse, mae"):
        named_metrics(["auc"], np.zeros((2, 1)), values=np.zeros((2, 1)))
    assert set(OTHER_NAMES.values()) <= set(METRICS)


# --- in training -------------------------------------------------------------------------------------------


def test_a_run_has_the_metrics_asked_for_in_its_history_and_for_every_part() -> None:
    run = gg.train(blobs(), metrics=["auc", "f1"], layers=[6], epochs=3)
    assert {"validation_roc_auc", "validation_f1"} <= run.history[0].keys()
    for part in ("train", "validation", "test"):
        assert list(run.metrics[part]) == ["loss", "accuracy", "roc_auc", "f1"]
    known = run.model.evaluate(blobs().features, blobs().targets, metrics=["auc"])
    probabilities = run.model.predict_probabilities(blobs().features)
    assert known["roc_auc"] == pytest.approx(
        sk.roc_auc_score(blobs().targets, probabilities, multi_class="ovr")
    )


def test_a_metric_in_the_targets_own_units() -> None:
    run = gg.train(surface(), metrics=["mape", "pinball"], loss="quantile(0.9)", layers=[6], epochs=3)
    data = surface()
    predicted = run.model.predict(data.features)
    results = run.model.evaluate(data.features, data.targets, metrics=["mape", "pinball"])
    assert results["mape"] == pytest.approx(sk.mean_absolute_percentage_error(data.targets, predicted))
    assert results["pinball"] == pytest.approx(sk.mean_pinball_loss(data.targets, predicted, alpha=0.9))


def test_the_best_weights_and_early_stopping_go_by_the_metric() -> None:
    options = {"layers": [6], "epochs": 80, "learning_rate": 0.05, "batch_size": 8}
    run = gg.train(blobs(), metric="auc", patience=6, **options)
    values = [record["validation_roc_auc"] for record in run.history]
    assert run.best_epoch == 1 + int(np.argmax(values))
    assert run.epochs == run.best_epoch + 6
    assert run.stopped == f"no better validation roc auc in 6 epochs; the best was in epoch {run.best_epoch}"
    assert run.settings.metric == "roc_auc"


def test_a_time_limit_is_an_option() -> None:
    run = gg.train(blobs(), max_time="50ms", layers=[6], epochs=10**6)
    assert run.settings.max_time == 0.05
    assert run.stopped == "the time limit of 0.05 seconds is reached"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["auk"]}, "unknown metric 'auk'"),
        ({"metrics": 3}, "metrics: entry 1 must be the name of a metric"),
        ({"metric": "rmse"}, "metric 'rmse' needs values, which this model does not give"),
        ({"patience": 0}, "patience must be"),
        ({"patience": 3, "validation": 0}, "patience counts epochs"),
        ({"max_time": "soon"}, "max_time must be a positive time"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(gg.InputError, match=message):
        gg.train(blobs(), layers=[4], epochs=2, **options)


def test_a_training_that_was_stopped_early_goes_on_with_more_patience(tmp_path) -> None:
    options = {"layers": [6], "epochs": 60, "learning_rate": 0.05, "batch_size": 8}
    trainer = gg.Trainer(blobs(), patience=2, **options)
    first = trainer.run()
    assert first.stopped is not None
    trainer.checkpoint(tmp_path / "ck")
    assert gg.Trainer.resume(tmp_path / "ck", blobs()).ended
    longer = gg.Trainer.resume(tmp_path / "ck", blobs(), patience=50).run()
    assert longer.epochs > first.epochs
    assert longer.history[: first.epochs] == first.history
