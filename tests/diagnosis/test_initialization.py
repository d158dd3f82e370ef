"""Initial weights: the needs of activations in theory, planted faults, and usual initializers."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from diagnosis.planting import asked, suspected
from glassgrad.diagnosis.core.budget import Clock
from glassgrad.diagnosis.core.findings import Diagnosis
from glassgrad.diagnosis.core.subject import Subject, examine
from glassgrad.diagnosis.initialization import question as initialization
from glassgrad.diagnosis.initialization.question import GIVEN, TRIED
from glassgrad.diagnosis.measures.first_weights import is_large, is_small, needs, starts
from glassgrad.diagnosis.measures.flow import flow_of
from glassgrad.nn.activations import activation
from glassgrad.report.page import Figure, Page
from glassgrad.report.questions import section
from glassgrad.report.sections.initialization import draw
from glassgrad.report.words import number
from glassgrad.training.given import Given
from glassgrad.training.settings import make_settings
from training.small import blobs, merged


@cache
def digits() -> gg.Dataset:
    return gg.load_source("digits")


@cache
def table() -> gg.Dataset:
    """A smooth function of eight inputs, with noise."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(600, 8))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.5 * X[:, 3] + 0.1 * rng.normal(size=600)
    return gg.from_arrays(X, y, name="table")


def look(data: gg.Dataset, budget: float = 30.0, **options: Any) -> Subject:
    return examine(
        Given(data), make_settings(merged({"epochs": 10, "layers": (32, 16)}, options)), Clock(budget)
    )


def diagnosed(data: gg.Dataset, **options: Any) -> Diagnosis:
    return asked(look(data, **options), {"initialization": initialization})


def named(data: gg.Dataset, **options: Any) -> str | None:
    found = diagnosed(data, **options).named
    return None if found is None else found.kind


# --- theory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "forward", "backward"),
    [
        ("relu", math.sqrt(2), math.sqrt(2)),  # He et al., 2015
        ("leaky_relu(0.2)", math.sqrt(2 / 1.04), math.sqrt(2 / 1.04)),
        ("identity", 1.0, 1.0),
        ("selu", 1.0, 0.9659),  # Klambauer et al., 2017: variance 1 is kept
        ("tanh", 1.5927, 1.4677),
        ("sigmoid", 1.8460, 4.7270),
        ("softmax", 1.0, 1.0),  # not unit by unit
    ],
)
def test_the_needs_of_activations(name: str, forward: float, backward: float) -> None:
    assert needs(activation(name)) == pytest.approx((forward, backward), rel=2e-3)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_weights_of_the_needed_gain_preserve_the_size_of_preactivations(name: str) -> None:
    """With the gain that an activation needs, preactivations keep their size through ten wide layers."""
    gain = needs(activation(name))[0] / math.sqrt(400)
    layers = [gg.nn.Dense(400, name, f"normal({gain})") for _ in range(10)]
    rng = np.random.default_rng(0)
    data = gg.from_arrays(rng.normal(size=(60, 400)), np.arange(60) % 2, name="noise")
    subject = look(data, network=gg.Sequential(*layers, gg.nn.Dense(1)), epochs=1, backend="reference")
    flow = flow_of(subject, subject.start)
    sums = [layer.preactivation for layer in flow.layers[:-1]]
    assert sums[-1] == pytest.approx(sums[1], rel=0.2)


def test_the_flow_agrees_with_numpy() -> None:
    """The forward and the backward pass against NumPy, by hand."""
    subject = look(table(), layers=(16,), activation="tanh")
    flow = flow_of(subject, subject.start)
    x, t = (array[: flow.rows].astype(np.float64) for array in subject.probe)
    w = {name: array.astype(np.float64) for name, array in subject.start.weights.items()}
    z = x @ w["dense_1.weights"] + w["dense_1.bias"]
    h = np.tanh(z)
    y = h @ w["dense_2.weights"] + w["dense_2.bias"]
    dy = 2 * (y - t) / len(y)
    dh = dy @ w["dense_2.weights"].T
    dz = dh * (1 - h**2)
    first, last = flow["dense_1"], flow["dense_2"]
    assert flow.loss == pytest.approx(float(np.mean((y - t) ** 2)))
    assert first.given == pytest.approx(math.sqrt(np.mean(x**2)))
    assert first.preactivation == pytest.approx(math.sqrt(np.mean(z**2)))
    assert first.spread == pytest.approx(math.sqrt(np.mean(h.var(axis=0))))
    assert first.gradient == pytest.approx(np.linalg.norm(dh))
    assert first.sum_gradient == pytest.approx(np.linalg.norm(dz))
    by_weights = math.hypot(np.linalg.norm(x.T @ dz), np.linalg.norm(dz.sum(axis=0)))
    assert first.weight_gradient == pytest.approx(by_weights)
    assert last.gradient == pytest.approx(np.linalg.norm(dy))


@pytest.mark.parametrize(
    "init",
    [
        "he_normal",
        "he_uniform",
        "xavier_normal",
        "xavier_uniform",
        "lecun_normal",
        "fan_in_uniform",
        "orthogonal",
        "lsuv",
    ],
)
@pytest.mark.parametrize("part", ["relu", "tanh", "sigmoid", "gelu", "selu"])
def test_no_usual_initializer_is_suspected(init: str, part: str) -> None:
    """Whatever the shape of the layers: wide ones after narrow ones, and the other way round."""
    subject = look(
        blobs(60), layers=(96, 8, 64), activation=part, init=init, epochs=1, backend="reference", budget=600
    )
    flow = flow_of(subject, subject.start)
    model = subject.start
    found = starts(model.network, model.weights, model.schema.feature_shape, flow)
    assert len(found) == 4
    assert not any(map(is_large, found))
    assert not any(map(is_small, found))
    assert min(start.distinct for start in found) == 1.0


def test_copies_have_all_weights_in_common() -> None:
    network = gg.Sequential(gg.nn.Dense(6, "relu"), gg.nn.Dense(6, "relu"), gg.nn.Dense(3))
    subject = look(blobs(60), network=network, epochs=1, backend="reference")
    model, flow = subject.start, flow_of(subject, subject.start)
    weights = dict(model.weights)
    weights["dense_1.weights"] = np.repeat(weights["dense_1.weights"][:, :1], 6, axis=1)
    weights["dense_2.weights"] = np.repeat(weights["dense_2.weights"][:, :2], 3, axis=1)

    def distinct() -> list[float]:
        return [s.distinct for s in starts(model.network, weights, model.schema.feature_shape, flow)]

    assert distinct() == [0.0, 0.2, 1.0]
    weights["dense_1.bias"] = np.arange(6.0)
    assert distinct() == [1.0, 0.2, 1.0]


# --- planted faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("zero_init", {"init": "zeros"}),
        ("zero_init", {"init": "zeros", "activation": "tanh"}),
        ("constant_init", {"init": "constant(0.1)"}),
        ("init_too_large", {"init": "normal(1.0)"}),
        ("init_too_small", {"init": "normal(0.001)", "optimizer": "sgd", "learning_rate": 0.1}),
        ("init_too_small", {"init": "fan_in_uniform", "layers": (16,) * 10}),
    ],
)
@pytest.mark.parametrize("data", [digits, table])
def test_planted_starts_are_found_and_fixed(kind: str, options: dict[str, Any], data: Any) -> None:
    diagnosis = diagnosed(data(), **options)
    found = diagnosis.named
    assert found is not None
    assert found.kind == kind
    assert found.trial is not None
    assert found.trial.means[1] < found.trial.means[0]
    assert found.prescription is not None
    assert found.prescription.options["init"] in TRIED
    assert diagnosis["initialization"].sentence.startswith(found.sentence)
    json.dumps(diagnosis.document(), allow_nan=False)


def test_one_bad_layer_is_named() -> None:
    network = gg.Sequential(
        gg.nn.Flatten(),
        ("first", gg.nn.Dense(32, "relu")),
        ("second", gg.nn.Dense(32, "relu", "zeros")),
        ("last", gg.nn.Dense(10)),
    )
    found = diagnosed(digits(), network=network).named
    assert found is not None
    assert (found.kind, found.where) == ("zero_init", "second")


def test_recurrent_weights_are_restarted_too() -> None:
    network = gg.Sequential(
        gg.nn.SimpleRNN(16, "relu", recurrent_init="orthogonal(3.0)", last=True), gg.nn.Dense(10)
    )
    found = diagnosed(digits(), network=network).named
    assert found is not None
    assert (found.kind, found.where) == ("init_too_large", "simple_rnn_1")


# --- all right -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"init": "fan_in_uniform", "epochs": 3},
        {"activation": "tanh", "init": "xavier_uniform", "layers": (16,) * 4},
        {"layers": (), "init": "zeros"},
    ],
)
@pytest.mark.parametrize("data", [digits, table])
def test_usual_starts_are_right(options: dict[str, Any], data: Any) -> None:
    subject = look(data(), **options)
    measured = initialization.measure(subject)
    assert suspected("initialization", measured, subject) == []
    assert "copies" not in initialization.sentence(measured, [])


def test_a_small_last_layer_is_right() -> None:
    """Zeros in the last layer are a good start: the network begins with uninformative outputs."""
    network = gg.Sequential(gg.nn.Flatten(), gg.nn.Dense(32, "relu"), gg.nn.Dense(10, init="zeros"))
    subject = look(digits(), network=network)
    assert suspected("initialization", initialization.measure(subject), subject) == []


def test_the_comparison_fits_the_available_time() -> None:
    subject = look(digits(), layers=(16,), epochs=12)
    whole = initialization.measure(subject)
    assert whole.tried_epochs == 12
    assert list(whole.tried) == [GIVEN, *TRIED]
    assert whole.tried[GIVEN] == whole.tried["he_normal"]  # the default
    hasty = look(digits(), layers=(16,), epochs=12)
    hasty.trials.seconds_per_run = 0.5
    with hasty.clock.limit(6.0):
        part = initialization.measure(hasty)
    assert 0 < part.tried_epochs < 12
    with hasty.clock.limit(0.5), hasty.clock.collecting() as skipped:
        none = initialization.measure(hasty)
    assert none.tried == {}
    assert skipped == ["runs from other initializers"]


# --- the section ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["he_normal", "zeros", "normal(1.0)"])
def test_the_section_is_drawn_from_any_start(init: str) -> None:
    subject = look(digits(), layers=(16,), init=init, epochs=2)
    measured = initialization.measure(subject)
    blocks = draw(measured, subject.run)
    headings = [block.heading for block in blocks if isinstance(block, Figure)]
    assert "Other initializations" in headings
    assert ("Are the weights the right size?" in headings) is (init != "zeros")
    start = measured.starts[0]
    page = Page("start", "", [section("initialization", "", blocks)]).html()
    assert init == "zeros" or f"{number(start.size)} × √64 = {number(start.gain)}" in page
