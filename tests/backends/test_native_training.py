"""Whole trainings, native against reference: fifty steps on digits, and networks large enough for every kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backends.nets import NETS, feed, program
from backends.rounding import compare, run, same_bits
from glassgrad.backends.base import Feed
from glassgrad.backends.native.backend import NativeBackend
from glassgrad.backends.native.kernels import epilogue
from glassgrad.data.digits import load_digits
from glassgrad.graph.node import DType
from glassgrad.losses.table import loss
from glassgrad.nn.layers.convolution import Conv2D
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.pooling import MaxPool2D
from glassgrad.nn.layers.reshaping import Flatten, Reshape
from glassgrad.nn.network import Network, Sequential
from glassgrad.optim.optimizers import optimizer
from glassgrad.training.programs import training_program
from glassgrad.training.start import initial_weights

STEPS, BATCH = 50, 32
NETWORKS: dict[str, Network] = {
    "mlp": Sequential(Flatten(), Dense(32, "relu"), Dense(10)),
    "conv": Sequential(
        Reshape((8, 8, 1)), Conv2D(4, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(10)
    ),
}
OPTIMIZERS = {"sgd": "sgd(0.2)", "momentum": "sgd(0.05, momentum=0.9)", "adam": "adam(0.01)"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_fifty_steps_on_digits_agree_with_the_reference(kind: str, name: str, dtype: DType) -> None:
    """Within the spread of the same training under rounding errors at random; see ``rounding``."""
    data = load_digits()
    features = np.ascontiguousarray(data.features / 16, dtype)
    shape = features.shape[1:]
    made, network = optimizer(OPTIMIZERS[name]), NETWORKS[kind]
    program = training_program(
        network, shape, loss("cross_entropy"), made, batch=BATCH, targets=None, dtype=dtype
    )
    order = np.random.default_rng(0).permutation(len(features))[: STEPS * BATCH - 5].astype(np.int32)
    given = Feed(
        {"features": features, "targets": data.targets.astype(np.int32)},
        order,
        initial_weights(network, shape, seed=1, dtype=dtype),
        {item.name: np.zeros(item.type.shape, dtype) for item in program.state},
        dict(made.hyperparameters()),
    )
    wanted = run(program, given)
    found = NativeBackend(cached=False).compile(program).run(given)
    seen = compare(program, given, found, samples=2, wanted=wanted)
    assert not seen.wrong
    assert seen.compared == len(program.params) + len(program.state) + 1
    if dtype == "float64":  # the comparison is as sharp as that: ten digits and more
        assert seen.chaotic == []
        np.testing.assert_allclose(found.outputs["loss"], wanted.outputs["loss"], rtol=1e-10)
    losses = found.outputs["loss"]
    assert losses.shape == (STEPS,)
    assert losses[-10:].mean() < 0.75 * losses[:5].mean(), "it does not learn"
    other = replace(
        given, hyper=given.hyper | {"learning_rate": 1.01 * made.hyperparameters()["learning_rate"]}
    )
    assert compare(program, other, found, samples=1).wrong, "a rate that is 1 % off would go unnoticed"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_networks_of_middle_size_agree_with_the_reference(name: str, dtype: DType) -> None:
    """Products with packed panels, kernels in several units, scans over real sequences; the last batch partial."""
    training = program(name, dtype)
    given = feed(name, training, steps=2)
    found = NativeBackend(threads=2, cached=False).compile(training).run(given)
    seen = compare(training, given, found, samples=2)
    assert not seen.wrong
    if dtype == "float64":  # of a hundred thousand ReLUs, some are on their kink to float32
        assert len(seen.chaotic) <= seen.compared / 4


@pytest.mark.parametrize("name", ["dense", "deep", "pools", "recurrent", "tokens"])
def test_an_epilogue_has_the_same_bits_with_and_without_a_loop_over_rows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = program(name)
    rows = feed(name, given)
    results = []
    for long in (1, 1000):
        monkeypatch.setattr(epilogue, "LONG", long)
        results.append(NativeBackend(threads=1, cached=False).compile(given).run(rows))
    assert not same_bits(*results)
