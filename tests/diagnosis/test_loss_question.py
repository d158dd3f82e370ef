"""The question about the loss: its measures against theory, planted faults found, healthy networks left alone."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from diagnosis.planting import diagnosed, fault_of, prescribed, subject_of, suspected
from glassgrad.diagnosis.loss import question as loss
from glassgrad.diagnosis.loss.measurement import expected_start, outlier_share, recalls
from glassgrad.diagnosis.measures.calibration import calibration, temperature_trial
from glassgrad.diagnosis.measures.simple_learner import simple_learner
from glassgrad.diagnosis.measures.two_parts import parts_trial, two_parts
from glassgrad.losses.table import loss as made_loss
from training.small import blobs, counts, surface

MODULES = {"loss": loss}


def quadrants(rows: int = 500, seed: int = 0, noise: float = 0.0) -> gg.Dataset:
    """Whether two numbers have the same sign: nothing for a single layer."""
    random = np.random.default_rng(seed)
    x = random.uniform(-2, 2, size=(rows, 2))
    y = (x[:, 0] * x[:, 1] > 0) ^ (random.random(rows) < noise)
    return gg.from_arrays(x, y.astype(int), name="quadrants")


def kinds(data: gg.Dataset, **options: Any) -> list[str]:
    subject = subject_of(data, **options)
    return [fault.kind for fault in suspected("loss", loss.measure(subject), subject)]


# --- measures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_loss_of_uninformative_outputs_is_the_logarithm_of_the_number_of_classes(classes: int) -> None:
    targets = (np.arange(60) % classes).astype(np.int32)
    for name in ("categorical_cross_entropy", "negative_log_likelihood"):
        assert expected_start(made_loss(name), targets, classes, classes) == pytest.approx(math.log(classes))


def test_the_initial_loss_of_standardized_targets_is_their_variance() -> None:
    targets = np.random.default_rng(0).normal(size=(500, 1))
    found = expected_start(made_loss("squared_error"), targets, None, 1)
    assert found == pytest.approx(float((targets**2).mean()))


def test_recall_is_by_class() -> None:
    true, decided = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0])
    assert recalls(decided, true, 3)[:2] == pytest.approx([2 / 3, 1 / 2])
    assert math.isnan(recalls(decided, true, 3)[2])


def test_right_probabilities_are_calibrated_and_sharpened_ones_are_not() -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet([1, 1, 1], size=4000)
    classes = (p.cumsum(axis=1) < random.random(4000)[:, None]).sum(axis=1)
    right = calibration(p, classes)
    assert right is not None
    assert right.error < right.chance * 1.3
    assert 0.8 < right.temperature < 1.25
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    wrong = calibration(sharp, classes)
    assert wrong is not None
    assert wrong.error > 3 * wrong.chance
    assert wrong.temperature == pytest.approx(3, rel=0.2)  # softmax of logits / 3 undoes the power
    assert temperature_trial(sharp, classes).confirmed
    assert int(wrong.counts.sum()) == 4000


def test_calibration_error_is_the_mean_distance_of_the_bins() -> None:
    p = np.array([[0.75, 0.25]] * 60 + [[0.55, 0.45]] * 40)
    classes = np.array([0] * 60 + [1] * 40)  # the first bin is right always, the second never
    found = calibration(p, classes)
    assert found is not None
    assert found.error == pytest.approx(0.6 * 0.25 + 0.4 * 0.55)


def test_only_parts_with_different_distributions_are_distinguished() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 600, 5))
    alike = two_parts(one, other)
    assert alike is not None
    assert abs(alike.auc - 0.5) < 4 * alike.chance
    assert not parts_trial(one, other).confirmed
    moved = two_parts(one, other + np.array([1, 0, 0, 0, 0]))
    assert moved is not None
    assert moved.auc > 0.65
    assert moved.differences[0] == pytest.approx(1, abs=0.2)
    wider = two_parts(one, other * 2)  # The means are equal.
    assert wider is not None
    assert wider.auc > 0.7
    assert parts_trial(one, other * 2).confirmed


def test_the_simple_learner_learns_what_is_learnable() -> None:
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(800, 3)), random.normal(size=(800, 1))
    clear = simple_learner((x[:500], np.sin(x[:500, :1])), (x[500:], np.sin(x[500:, :1])), None)
    nothing = simple_learner((x[:500], noise[:500]), (x[500:], noise[500:]), None)
    assert clear.left < 0.05
    assert clear.signal > 10
    assert nothing.left > 0.9
    assert abs(nothing.signal) < 3


def test_one_percent_of_a_normal_distribution_has_a_twelfth_of_its_variance() -> None:
    normal = np.random.default_rng(0).normal(size=(50_000, 1))
    assert outlier_share(normal) == pytest.approx(0.084, abs=0.01)
    assert outlier_share(np.r_[normal[:1000], [[1000.0]]]) > 0.9


# --- planted faults ------------------------------------------------------------------------------------------


def shuffled(data: gg.Dataset) -> gg.Dataset:
    return replace(data, targets=np.random.default_rng(1).permutation(data.targets))


def test_shuffled_labels_are_proven() -> None:
    named = diagnosed(shuffled(quadrants(2000)), MODULES, epochs=5).named
    assert named is not None
    assert named.kind == "shuffled_labels"
    assert named.trial is not None


def test_a_softmax_under_a_cross_entropy_is_named_with_its_fix() -> None:
    named = diagnosed(
        blobs(300), MODULES, output_activation="softmax", force=True, epochs=30, learning_rate=0.01
    ).named
    assert named is not None
    assert named.kind == "loss_output_mismatch"
    assert named.prescription is not None
    assert "softmax" in named.sentence
    assert set(named.prescription.options) <= {"output_activation", "loss"}


def test_targets_outside_the_output_range_are_a_mismatch() -> None:
    assert "loss_output_mismatch" in kinds(surface(200), output_activation="sigmoid")
    assert "loss_output_mismatch" not in kinds(surface(200))


def test_labels_read_as_quantities_are_distinguished_from_ratings() -> None:
    """Classes around a circle have no order; counts do."""
    data = blobs(300)
    turned = (data.targets * 2) % 5  # 0, 2, 4: numbers without a meaning
    labels = gg.from_arrays(data.features, turned.astype(float), task="regression")
    subject = subject_of(labels, epochs=5)
    found = loss.measure(subject)
    assert found.as_labels is not None
    faults = suspected("loss", found, subject)
    assert [fault.where for fault in faults if fault.kind == "loss_output_mismatch"] == ["targets"]
    assert "loss_output_mismatch" not in kinds(counts(300), epochs=30, learning_rate=0.01)


def test_two_values_read_as_quantities_are_unsuitable() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2))
    y = (x[:, 0] + 0.3 * random.normal(size=400) > 0).astype(float)
    data = gg.from_arrays(x, y, task="regression")
    subject = subject_of(data, epochs=10)
    measured = loss.measure(subject)
    (fault,) = (fault for fault in suspected("loss", measured, subject) if fault.kind == "unsuitable_loss")
    (fix,) = prescribed(fault, measured, subject)
    assert fix.options["task"] == "classification"
    trial = subject.trials.compare(fix, fault.record)
    assert trial.measure in ("accuracy", "nll")
    assert np.isfinite(trial.before).all(), "both sides are scored as classifications"
    assert "unsuitable_loss" not in kinds(surface(200))


def test_a_quantile_far_from_the_middle_is_unsuitable() -> None:
    named = diagnosed(surface(300), MODULES, loss="quantile(0.97)", epochs=60, learning_rate=0.01).named
    assert named is not None
    assert named.kind == "unsuitable_loss"


def test_a_network_without_a_hidden_layer_underfits_what_is_not_linear() -> None:
    named = diagnosed(quadrants(), MODULES, layers=(), epochs=30, learning_rate=0.01).named
    assert named is not None
    assert named.kind == "underfitting"


def test_a_strong_weight_decay_is_named() -> None:
    found = diagnosed(
        quadrants(), MODULES, optimizer="adamw", weight_decay=20.0, epochs=30, learning_rate=0.01
    )
    assert found.named is not None
    assert found.named.kind == "regularization_too_strong"


def test_a_network_that_learns_noise_overfits() -> None:
    data = quadrants(120, noise=0.25)
    assert "overfitting" in kinds(data, layers=(128,), epochs=300, learning_rate=0.01, keep="last")
    assert "overfitting" not in kinds(quadrants(1000, noise=0.25), epochs=30, learning_rate=0.01)


def test_rare_classes_that_are_never_predicted_are_a_fault() -> None:
    random = np.random.default_rng(0)
    x = np.r_[random.normal(size=(950, 6)), random.normal(size=(50, 6)) + 0.8]
    data = gg.from_arrays(x, np.repeat([0, 1], [950, 50]))
    assert "class_imbalance" in kinds(data)
    even = gg.from_arrays(x[-100:], np.repeat([0, 1], [50, 50]))
    assert "class_imbalance" not in kinds(even)


# --- healthy networks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (blobs(300), {}),  # early
        (blobs(300), {"epochs": 60, "learning_rate": 0.01}),
        (blobs(300), {"activation": "tanh", "init": "xavier_normal"}),
        (surface(300), {"epochs": 60, "learning_rate": 0.01}),
        (counts(300), {"loss": "poisson", "epochs": 40, "learning_rate": 0.01}),
    ],
)
def test_nothing_is_wrong_with_a_healthy_network(data: gg.Dataset, options: dict[str, Any]) -> None:
    found = diagnosed(data, MODULES, **options)
    assert found.named is None
    assert "constant" in found["loss"].document()["measured"]


def test_the_answer_has_the_measured_numbers_and_the_document_is_plain() -> None:
    subject = subject_of(blobs(300), epochs=30)
    measured = loss.measure(subject)
    text = loss.sentence(measured, [])
    assert f"{measured.constant:.3g}" in text
    assert f"{measured.validation['loss']:.3g}" in text
    assert measured.batch is not None
    assert measured.batch.left < 0.05
    assert measured.constant == pytest.approx(math.log(3), rel=0.01)
    json.dumps(measured.document(), allow_nan=False)


def test_the_answer_states_the_effect_of_the_fix() -> None:
    found = diagnosed(quadrants(), MODULES, layers=(), epochs=30, learning_rate=0.01)
    assert found.named is not None
    assert found.named.trial is not None
    assert f"{found.named.trial.means[1]:.3g}" in found["loss"].sentence


def test_kinds_with_a_proof_only_prescribe_nothing() -> None:
    subject = subject_of(blobs(90), epochs=2)
    fault = fault_of("shuffled_labels", "targets")
    assert prescribed(fault, loss.measure(subject), subject) == []
