"""The perceptron rule solves AND and OR but not XOR; a network with one hidden layer solves XOR."""

from __future__ import annotations

import numpy as np
import pytest

import glassgrad as gg

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
AND, OR, XOR = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0])


def rosenblatt(x, t, epochs, rate=1.0):
    """The rule in a loop, row by row."""
    w, b, errors = np.zeros(x.shape[1]), 0.0, []
    for _ in range(epochs):
        wrong = 0
        for row, target in zip(x, t, strict=True):
            y = float(row @ w + b >= 0)
            w, b = w + rate * (target - y) * row, b + rate * (target - y)
            wrong += int(y != target)
        errors.append(wrong)
        if wrong == 0:
            break
    return w, b, errors


@pytest.mark.parametrize("targets", [AND, OR, 1 - AND, 1 - OR], ids=["and", "or", "nand", "nor"])
def test_it_learns_linearly_separable_classes(targets):
    found = gg.Perceptron().fit(INPUTS, targets)
    assert found.converged_
    assert found.errors_[-1] == 0
    np.testing.assert_array_equal(found.predict(INPUTS), targets)


def test_it_does_not_converge_on_xor():
    found = gg.Perceptron(epochs=200).fit(INPUTS, XOR)
    assert not found.converged_
    assert len(found.errors_) == 200
    assert min(found.errors_) > 0
    assert (found.predict(INPUTS) != XOR).any()


@pytest.mark.parametrize("targets", [AND, OR, XOR], ids=["and", "or", "xor"])
@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_it_follows_rosenblatts_rule(targets, rate):
    found = gg.Perceptron(rate, epochs=20).fit(INPUTS, targets)
    w, b, errors = rosenblatt(INPUTS, targets, 20, rate)
    np.testing.assert_array_equal(found.weights_, w)
    assert found.bias_ == b
    assert found.errors_ == errors


def test_novikoffs_bound_holds():
    """At most (R / margin)^2 corrections, with the bias as one more input."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3))
    line = np.array([1.0, -2.0, 0.5, 0.3])
    padded = np.column_stack([x, np.ones(200)])
    margins = padded @ line / np.linalg.norm(line)
    clear = np.abs(margins) > 0.2
    found = gg.Perceptron(epochs=1000).fit(x[clear], (margins[clear] > 0).astype(int))
    assert found.converged_
    radius = np.linalg.norm(padded[clear], axis=1).max()
    assert sum(found.errors_) <= (radius / np.abs(margins[clear]).min()) ** 2


@pytest.mark.parametrize(
    ("x", "t"), [(INPUTS, [1, 2, 0, 1]), (INPUTS, [0, 1]), ([0, 1], [0, 1]), (np.zeros((0, 2)), [])]
)
def test_invalid_data_are_refused(x, t):
    with pytest.raises(gg.InputError, match=r"features \[rows, inputs\] and targets \[rows\] of 0 and 1"):
        gg.Perceptron().fit(x, t)


def test_its_program_shows_the_rule():
    text = str(gg.Perceptron.program(2))
    assert text.startswith("program perceptron, batch 1")
    assert "weights <- " in text
    assert "bias <- " in text
    assert "backward" not in text


def train(targets, layers, seed):
    data = gg.from_arrays(INPUTS, targets)
    return gg.train(
        data, layers=layers, activation="tanh", epochs=150, learning_rate=0.1, batch_size=4, seed=seed,
        validation=0, test=0,
    )  # fmt: skip


def test_one_hidden_layer_solves_xor_and_none_does_not():
    for seed in range(3):
        assert train(XOR, [4], seed).metrics["train"]["accuracy"] == 1.0
    flat = train(XOR, [], 0)
    assert flat.metrics["train"]["accuracy"] <= 0.75
    assert flat.metrics["train"]["loss"] == pytest.approx(np.log(2), abs=0.01)
    assert train(AND, [], 0).metrics["train"]["accuracy"] == 1.0
