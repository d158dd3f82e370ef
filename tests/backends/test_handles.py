"""Handles: their outputs, and that they accept one shape and one dtype only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from backends.runners import BACKENDS
from glassgrad.backends.base import Array, Handle
from glassgrad.program import Program
from glassgrad.training.programs import evaluation_program
from glassgrad.training.start import initial_weights

ROWS, COLUMNS = 4, 3
NETWORK = gg.Sequential(gg.nn.Dense(5, "tanh"), gg.nn.Dense(2))
WEIGHTS = initial_weights(NETWORK, (COLUMNS,), seed=0, dtype="float32")
X = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)


def program() -> Program:
    return evaluation_program(NETWORK, (COLUMNS,), None, batch=ROWS)


@pytest.fixture(scope="module", params=sorted(BACKENDS))
def handle(request: pytest.FixtureRequest) -> Handle:
    return BACKENDS[request.param].compile(program()).handle(WEIGHTS, {})


def by_hand(x: Array) -> Array:
    w1, b1, w2, b2 = WEIGHTS.values()
    result: Array = np.tanh(x @ w1 + b1) @ w2 + b2
    return result


def test_a_handle_gives_the_outputs_of_each_row(handle: Handle) -> None:
    first = handle(X)
    np.testing.assert_allclose(first, by_hand(X), rtol=1e-5)
    np.testing.assert_allclose(handle(X[::-1]), by_hand(X[::-1]), rtol=1e-5)
    np.testing.assert_allclose(handle(np.asfortranarray(X)), first)
    np.testing.assert_allclose(first, by_hand(X), rtol=1e-5, err_msg="a later call changed an earlier result")


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        (X[:1], r"float32\[1, 3\]"),
        (X[0], r"float32\[3\]"),
        (X[:, :1], r"float32\[4, 1\]"),
        (X[None], r"float32\[1, 4, 3\]"),
        (X.T, r"float32\[3, 4\]"),
        (np.float32(1.0), "float32"),
        (np.array(1.0, np.float32), r"float32\[\]"),
        (X.astype(np.float64), r"float64\[4, 3\]"),
        (X.astype(np.int32), r"int32\[4, 3\]"),
        (X.astype(np.complex64), r"complex64\[4, 3\]"),
        (X.astype(X.dtype.newbyteorder()), r".f4|float32\[4, 3\]"),
        (X.tolist(), "list"),
        (1.0, "float"),
        (None, "NoneType"),
    ],
)
def test_another_shape_or_dtype_is_refused_in_one_line(handle: Handle, batch: Any, got: str) -> None:
    with pytest.raises(gg.InputError, match=rf"takes an array float32\[4, 3\], not ({got})") as caught:
        handle(batch)
    assert "\n" not in str(caught.value)
    np.testing.assert_allclose(handle(X), by_hand(X), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_weights_are_checked_when_a_handle_is_made(name: str) -> None:
    executable = BACKENDS[name].compile(program())
    weights = WEIGHTS | {"dense_1.weights": WEIGHTS["dense_1.weights"][:1]}
    with pytest.raises(
        gg.InputError, match=r"parameter 'dense_1.weights': the program takes float32\[3, 5\]"
    ):
        executable.handle(weights, {})
    with pytest.raises(gg.InputError, match=r"parameter 'dense_1.bias': .* got nothing"):
        executable.handle({"dense_1.weights": WEIGHTS["dense_1.weights"]}, {})


@pytest.mark.parametrize("rows", [0, -1, 1.5, "2", True, None])
def test_a_model_makes_handles_for_a_whole_number_of_rows(rows: Any) -> None:
    data = gg.from_arrays(X, np.arange(ROWS) % 2)
    model = gg.train(data, layers=[2], epochs=1, validation=0.0, backend="reference").model
    with pytest.raises(gg.InputError, match="a handle takes a whole number of rows of at least 1, not"):
        model.handle(rows)
    assert len(model.handle(np.int64(2))(model.prepare(X[:2]))) == 2
