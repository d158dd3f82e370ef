"""The question about neurons and inputs: measures against theory, planted faults, healthy networks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from diagnosis.planting import diagnosed, fault_of, prescribed, subject_of, suspected
from glassgrad.diagnosis.core.findings import Fault
from glassgrad.diagnosis.measures.activity import copies, effective_rank, explained
from glassgrad.diagnosis.measures.inputs import alone_score
from glassgrad.diagnosis.neurons import question as neurons
from glassgrad.diagnosis.neurons import target_leak
from glassgrad.nn.layers.activation import ActivationLayer
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.dropout import Dropout
from glassgrad.nn.layers.merging import Add
from glassgrad.nn.layers.normalization import BatchNorm
from glassgrad.nn.network import Input, Sequential, functional
from training.small import blobs, surface

MODULES = {"neurons": neurons}


def table(rows: int = 400, seed: int = 0) -> gg.Dataset:
    """A smooth function of four numbers, with noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 4))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * x[:, 3] + 0.1 * random.normal(size=rows)
    return gg.from_arrays(x, y, name="table")


def faults(data: gg.Dataset, **options: Any) -> dict[str, Fault]:
    subject = subject_of(data, **options)
    return {fault.kind: fault for fault in suspected("neurons", neurons.measure(subject), subject)}


# --- measures ------------------------------------------------------------------------------------------------


def test_the_effective_rank_of_equal_directions_is_their_number() -> None:
    random = np.random.default_rng(0)
    directions = np.linalg.qr(random.normal(size=(200, 200)) - 0)[0][:, :5]
    directions = directions - directions.mean(axis=0)
    assert effective_rank(np.linalg.qr(directions)[0]) == pytest.approx(5, rel=1e-2)
    one = random.normal(size=(200, 1))
    assert effective_rank(one * np.ones(7)) == pytest.approx(1, abs=1e-5)
    assert effective_rank(np.ones((20, 3))) == 0


def test_copies_are_counted_up_to_rounding() -> None:
    x = np.random.default_rng(0).normal(size=(300, 4))
    assert copies(x) == 0
    assert copies(np.c_[x, x[:, 1] * (1 + 1e-7), x[:, 1]]) == 2
    assert copies(np.c_[x, 2 * x[:, 1]]) == 0  # of the same direction, but not the same
    assert copies(np.c_[x, np.zeros((300, 3))]) == 0


def test_a_layer_explains_what_is_linear_in_it() -> None:
    x = np.random.default_rng(0).normal(size=(400, 3))
    assert explained(x, x[:, :1] - 2 * x[:, 1:2]) > 0.99
    assert explained(x[:, :1], x[:, 1:2]) < 0.05


def test_the_score_of_a_single_column() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(1000, 1)), random.integers(0, 4, 1000)
    assert alone_score(x, np.sin(3 * x), None) > 0.95
    assert alone_score(x, 5 * x, None) > 0.999
    assert alone_score(x, y, 4) < 0.1
    assert alone_score(y[:, None].astype(float), y, 4) == 1
    assert alone_score(y[:, None] + 0.05 * x, y, 4) > 0.95
    assert alone_score(np.eye(4)[(y + 1) % 4], y, 4) == 1  # a category


def test_layers_without_an_activation_between_are_found() -> None:
    plain = Sequential(Dense(8), Dropout(0.1), Dense(8), ActivationLayer("relu"), Dense(2))
    assert neurons.linear_layers(plain) == ("dense_1",)
    assert neurons.linear_layers(Sequential(Dense(8, "relu"), Dense(2))) == ()
    assert neurons.linear_layers(Sequential(Dense(8), BatchNorm(), ActivationLayer("tanh"), Dense(2))) == ()
    x = Input()
    hidden = Dense(4, "relu")(x)
    residual = functional(x, Dense(2)(ActivationLayer("relu")(Add()(hidden, Dense(4)(hidden)))))
    assert neurons.linear_layers(residual) == ()


# --- planted faults ------------------------------------------------------------------------------------------


def test_neurons_that_were_dead_from_the_start_are_fixed() -> None:
    network = Sequential(Dense(16, "relu", bias_init="constant(-20.0)"), Dense(3))
    found = diagnosed(blobs(300), MODULES, network=network, epochs=30, learning_rate=0.01)
    assert found.named is not None
    assert found.named.kind == "dead_neurons"
    assert found.named.evidence["dead"] == found.named.evidence["dead_at_start"] == 16
    assert "16 of 16" in found.named.sentence


def test_saturated_neurons_are_a_fault() -> None:
    found = faults(table(), activation="tanh", init="normal(20.0)", epochs=3)
    assert found["saturated_neurons"].evidence["saturated"] > 0.8
    assert "dead_neurons" not in found
    assert not faults(table(), activation="tanh", init="xavier_normal", epochs=3)


def test_copies_from_a_constant_start_are_fixed() -> None:
    named = diagnosed(table(), MODULES, init="constant(0.3)", epochs=30, learning_rate=0.01).named
    assert named is not None
    assert named.kind == "duplicate_neurons"
    assert named.evidence["copies"] == 15


def test_a_chain_of_linear_layers_gets_activations() -> None:
    named = diagnosed(table(), MODULES, activation="identity", epochs=30, learning_rate=0.01).named
    assert named is not None
    assert named.kind == "missing_nonlinearity"
    given = Sequential(Dense(16), Dense(16), Dense(1))
    subject = subject_of(table(), network=given, epochs=3)
    measured = neurons.measure(subject)
    (fault,) = suspected("neurons", measured, subject)
    (fix,) = prescribed(fault, measured, subject)
    assert neurons.linear_layers(fix.options["network"]) == ()


def test_inputs_of_very_different_size_are_scaled() -> None:
    data = table()
    wild = replace(data, features=data.features * np.array([1.0, 1e3, 1e-3, 1.0]))
    named = diagnosed(wild, MODULES, scaling="none", epochs=30, learning_rate=0.01).named
    assert named is not None
    assert named.kind == "unscaled_inputs"
    assert "x[1]" in named.sentence
    assert "x[2]" in named.sentence
    assert not faults(wild)  # standardized
    assert not faults(data, scaling="none")


@pytest.mark.parametrize("classes", [False, True])
def test_a_leak_is_named_and_dropping_it_lowers_the_score(classes: bool) -> None:
    data, random = table(), np.random.default_rng(1)
    y = (data.targets > 0).astype(int) if classes else data.targets
    data = gg.from_arrays(np.c_[data.features, y + 0.05 * random.normal(size=len(y))], y)
    named = diagnosed(data, MODULES, epochs=30, learning_rate=0.01).named
    assert named is not None
    assert (named.kind, named.where) == ("target_leak", "x[4]")
    assert named.trial is not None
    assert named.trial.means[1] > named.trial.means[0]


def test_a_leak_that_the_network_does_not_exploit_is_proven_by_a_look_up() -> None:
    """The other inputs predict the classes as well, so dropping the leak does not lower the score."""
    data, random = blobs(300), np.random.default_rng(1)
    order = np.argsort(random.permutation(3))[data.targets]  # numbers of classes, in no order of the inputs
    leak = order + 0.02 * random.normal(size=len(order))
    noise = random.normal(size=(len(order), 2))
    given = gg.from_arrays(np.c_[data.features, noise, leak], data.targets)
    subject = subject_of(given, epochs=30, learning_rate=0.01)
    measurement = neurons.measure(subject)
    fault = fault_of("target_leak", "x[4]")
    proven = target_leak.prove(fault, measurement, subject)
    assert proven is not None
    assert (proven.effect, proven.measure, proven.confirmed) == ("proof", "accuracy", True)
    assert proven.after[0] == pytest.approx(1.0, abs=0.05)
    innocent = target_leak.prove(replace(fault, where="x[2]"), measurement, subject)
    assert innocent is not None
    assert not innocent.confirmed


def test_a_leak_of_numbers_is_looked_up_in_their_own_units() -> None:
    data, random = table(), np.random.default_rng(1)
    y = data.targets
    given = gg.from_arrays(np.c_[data.features, y + 0.01 * random.normal(size=len(y))], y)
    subject = subject_of(given, epochs=3)
    measurement = neurons.measure(subject)
    fault = fault_of("target_leak", "x[4]")
    proven = target_leak.prove(fault, measurement, subject)
    assert proven is not None
    assert proven.measure == "rmse"
    assert proven.confirmed
    assert 0 < proven.after[0] < 0.3 * float(y.std())
    learned = subject_of(given, epochs=40, learning_rate=0.01)
    innocent = target_leak.prove(replace(fault, where="x[0]"), neurons.measure(learned), learned)
    assert innocent is not None
    assert not innocent.confirmed


def test_constant_and_repeated_columns_are_harmless() -> None:
    data = table()
    x = np.c_[data.features, np.full(len(data.features), 7.0), 3 - 2 * data.features[:, 0]]
    found = diagnosed(gg.from_arrays(x, data.targets), MODULES, epochs=20, learning_rate=0.01)
    assert found.named is None
    assert {fault.kind: fault.where for fault in found.faults} == {
        "constant_feature": "x[4]",
        "duplicate_feature": "x[5]",
    }


# --- healthy networks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (blobs(300), {}),
        (blobs(300), {"activation": "sigmoid", "init": "xavier_normal"}),
        (surface(300), {"activation": "gelu"}),
        (table(), {"layers": ()}),
        (table(), {"layers": (32, 32, 32), "activation": "tanh", "init": "xavier_normal"}),
        (table(), {"layers": (64,), "learning_rate": 0.01}),
    ],
)
def test_healthy_neurons_are_not_suspected(data: gg.Dataset, options: dict[str, Any]) -> None:
    assert faults(data, **options) == {}


def test_the_answer_has_the_measured_numbers_and_the_document_is_plain() -> None:
    subject = subject_of(table(), layers=(12, 6))
    measured = neurons.measure(subject)
    assert [(layer.units, layer.hidden) for layer in measured.layers] == [(12, True), (6, True), (1, False)]
    assert measured.layers[-1].explained == pytest.approx(1, abs=1e-3)
    assert "18 hidden neurons" in neurons.sentence(measured, [])
    json.dumps(measured.document(), allow_nan=False)
