"""Chains and spreads: the right result for any number of rows, the same bits on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from backends.rounding import compare, same_bits
from glassgrad import program as programs
from glassgrad.backends.base import Feed
from glassgrad.backends.native.backend import NativeBackend
from glassgrad.backends.native.driver.generate import schedule_program
from glassgrad.backends.native.driver.inspect import inspect
from glassgrad.backends.native.plan.items import Chain, Spread
from glassgrad.backends.native.runtime.machine import host, machine
from glassgrad.backends.reference import ReferenceBackend
from glassgrad.graph.node import DType
from glassgrad.losses.table import loss
from glassgrad.nn.layers.activation import ActivationLayer
from glassgrad.nn.layers.dense import Dense
from glassgrad.nn.layers.dropout import Dropout
from glassgrad.nn.layers.merging import Concatenate
from glassgrad.nn.layers.normalization import LayerNorm
from glassgrad.nn.network import Input, Network, Sequential, functional
from glassgrad.ops import table as ops
from glassgrad.ops.op import make_input
from glassgrad.optim.optimizers import optimizer
from glassgrad.program import Program
from glassgrad.training.programs import training_program
from glassgrad.training.start import initial_weights

FEATURES = 12


def branches() -> Network:
    start = Input()
    left, right = Dense(48, "gelu")(start), Dense(80, "relu")(start)
    return functional(start, Dense(3)(LayerNorm()(Concatenate()(left, right))))


NETWORKS = {
    "chain": Sequential(Dense(48, "relu"), Dense(33, "tanh"), Dense(3)),
    "masks": Sequential(
        Dense(64, "relu"), Dropout(0.5), Dense(64, "elu"), ActivationLayer("softplus"), Dense(3)
    ),
    "branches": branches(),
}


def training(name: str, batch: int, dtype: DType = "float32") -> tuple[Program, Feed]:
    network, made = NETWORKS[name], optimizer("adam(0.01)")
    program = training_program(
        network, (FEATURES,), loss("cross_entropy"), made, batch=batch, targets=None, dtype=dtype
    )
    rng = np.random.default_rng(0)
    rows = batch + 77
    feed = Feed(
        {
            "features": rng.normal(size=(rows, FEATURES)).astype(dtype),
            "targets": rng.integers(0, 3, rows).astype(np.int32),
        },
        rng.permutation(np.repeat(np.arange(rows), 3)).astype(np.int32)[: 3 * batch - 21],
        initial_weights(network, (FEATURES,), seed=0, dtype=dtype),
        {item.name: np.zeros(item.type.shape, dtype) for item in program.state},
        dict(made.hyperparameters()),
    )
    return program, feed


@pytest.mark.parametrize("batch", [1024, 1111, 2051])
@pytest.mark.parametrize("name", NETWORKS)
def test_chains_agree_with_the_reference(name: str, batch: int) -> None:
    program, feed = training(name, batch, "float64")
    assert any(isinstance(item, Chain | Spread) for item in schedule_program(program, host()).items)
    found = NativeBackend(threads=2, cached=False).compile(program).run(feed)
    assert not compare(program, feed, found, samples=1).wrong


@pytest.mark.parametrize("name", NETWORKS)
def test_threads_do_not_change_the_bits(name: str) -> None:
    program, feed = training(name, 1500)
    one, two, three = (
        NativeBackend(threads=threads, cached=False).compile(program).run(feed) for threads in (1, 2, 3)
    )
    assert same_bits(one, two) == same_bits(one, three) == []


@pytest.mark.parametrize("target", ["avx2", "sse2"])
def test_chains_agree_with_the_reference_on_narrower_vectors(target: str) -> None:
    program, feed = training("chain", 1111, "float64")
    found = NativeBackend(machine(target), threads=2, cached=False).compile(program).run(feed)
    assert not compare(program, feed, found, samples=1).wrong


def test_one_chain_covers_the_forward_and_the_backward_pass() -> None:
    program, _ = training("chain", 2048)
    items = schedule_program(program, host()).items
    (chain,) = [item for item in items if isinstance(item, Chain)]
    products = [work for work in chain.items if work.group.kind == "product"]
    assert len(products) == 5, "three forward, and two gradients of activations"
    (spread,) = [item for item in items if isinstance(item, Spread)]
    weights = {value.shape for work in spread.items for value in work.outputs}
    assert {(FEATURES, 48), (48, 33), (33, 3)} <= weights
    text = inspect(program, "schedule")
    assert "chain, shared among threads in" in text
    assert "side by side, shared among threads" in text


def test_small_batches_and_large_weights_form_no_chain() -> None:
    program, _ = training("chain", 64)
    assert not any(isinstance(item, Chain | Spread) for item in schedule_program(program, host()).items)
    network = Sequential(Dense(512, "relu"), Dense(512, "relu"), Dense(512))
    wide = training_program(network, (512,), loss("cross_entropy"), optimizer("sgd"), batch=256, targets=None)
    assert not any(isinstance(item, Chain) for item in schedule_program(wide, host()).items)


def test_a_chain_that_reads_other_rows_of_the_batch_does_not_gather() -> None:
    """A block would read rows of later blocks, which are not gathered yet, or hold the previous batch."""
    batch = 256
    x, w = make_input("x", (batch, 64), "float32"), make_input("w", (batch, 64), "float32")
    hidden = ops.tanh(ops.tanh(x @ ops.transpose(x, (1, 0))) @ w)
    inputs = programs.Input("x", "data", x), programs.Input("w", "param", w)
    program = Program("pairs", batch, inputs, {}, (programs.Output("y", hidden, per_row=True),))
    rng = np.random.default_rng(0)
    data = (rng.normal(size=(2 * batch, 64)) / 8).astype(np.float32)
    feed = Feed(
        {"x": data},
        np.arange(2 * batch, dtype=np.int32)[::-1],
        {"w": rng.normal(size=(batch, 64)).astype(np.float32)},
        {},
        {},
    )
    found = NativeBackend(threads=2, cached=False).compile(program).run(feed)
    wanted = ReferenceBackend().compile(program).run(feed)
    np.testing.assert_allclose(found.outputs["y"], wanted.outputs["y"], rtol=1e-4, atol=1e-4)
