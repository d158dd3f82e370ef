"""Invalid combinations are refused with a fix, and trained with ``force``."""

from __future__ import annotations

import numpy as np
import pytest

import glassgrad as gg
from training.small import blobs, counts, distributions, surface, train

FORCE = "; --force trains it all the same"


def two() -> gg.Dataset:
    return blobs(classes=2)


def negative_counts() -> gg.Dataset:
    data = counts()
    data.targets[3] = -2.0
    return data


def positive() -> gg.Dataset:
    data = surface()
    return gg.from_arrays(data.features, np.abs(data.targets))


FORCEABLE = {
    "softmax under a loss of logits": (
        blobs,
        {"output_activation": "softmax"},
        "takes logits and activation 'softmax' gives probabilities: use activation identity",
    ),
    "sigmoid under a loss of logits": (two, {"output_activation": "sigmoid"}, "use activation identity"),
    "logits under a loss of log-probabilities": (
        blobs,
        {"loss": "nll", "output_activation": "identity"},
        "takes log-probabilities and activation 'identity' gives none: use activation log_softmax",
    ),
    "targets beyond tanh": (
        surface,
        {"output_activation": "tanh"},
        "the targets range from .* activation 'tanh' gives only -1 to 1: use activation identity",
    ),
    "targets below relu": (positive, {"output_activation": "relu"}, "activation 'relu' gives only 0 to inf"),
    "a step in a hidden layer": (
        blobs,
        {"activation": "step"},
        "layer 'dense_1': no gradient passes through the activation 'step'.*use sigmoid or relu",
    ),
    "a step in a recurrent layer": (
        lambda: gg.from_arrays(blobs().features[:, :, None], blobs().targets),
        {"network": gg.Sequential(gg.nn.SimpleRNN(3, "step", last=True), gg.nn.Dense(3))},
        "layer 'simple_rnn_1': no gradient passes",
    ),
    "negative counts": (negative_counts, {"loss": "poisson"}, "for counts and the lowest target is -2"),
    "targets that are no probabilities": (surface, {"loss": "kl_divergence"}, "for target probabilities"),
    "three classes under a loss of two": (blobs, {"loss": "bce"}, "for two classes, not 3"),
    "scaled tokens": (
        lambda: gg.from_arrays(np.arange(40).reshape(20, 2) % 4, np.arange(20) % 2),
        {"network": gg.Sequential(gg.nn.Embedding(4, 2), gg.nn.Flatten(), gg.nn.Dense(1))},
        "layer 'embedding_1' looks up whole numbers.*use scaling none",
    ),
}


@pytest.mark.parametrize("name", FORCEABLE)
def test_an_invalid_combination_is_refused_with_a_fix_and_trained_with_force(name):
    make, options, message = FORCEABLE[name]
    with pytest.raises(gg.InputError, match=message) as caught:
        train(make(), epochs=1, **options)
    assert str(caught.value).endswith(FORCE)
    assert "\n" not in str(caught.value)
    run = train(make(), epochs=1, force=True, **options)
    assert run.status in ("finished", "diverged")
    assert all(np.isfinite(array).all() for array in run.model.weights.values())


IMPOSSIBLE = {
    "numbers under a loss of classes": (
        surface,
        {"loss": "cross_entropy"},
        "target is a number: use squared_error",
    ),
    "numbers under hinge": (surface, {"loss": "hinge"}, "target is a number: use squared_error"),
    "classes under a loss of numbers": (
        blobs,
        {"loss": "huber"},
        "target is a class: use categorical_cross_entropy",
    ),
    "two classes under a loss of counts": (
        two,
        {"loss": "poisson"},
        "target is a class: use binary_cross_entropy",
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
@pytest.mark.parametrize("force", [False, True])
def test_impossible_combinations_do_not_offer_force(name, force):
    make, options, message = IMPOSSIBLE[name]
    with pytest.raises(gg.InputError, match=message) as caught:
        train(make(), epochs=1, force=force, **options)
    assert "force" not in str(caught.value)


def test_the_same_parts_are_trained_in_valid_combinations():
    for make, options in (
        (blobs, {"loss": "nll", "output_activation": "log_softmax"}),
        (blobs, {"loss": "mse", "output_activation": "softmax"}),
        (distributions, {"loss": "kl"}),
        (blobs, {"loss": "hinge", "output_activation": "tanh"}),
    ):
        assert train(make(), epochs=1, **options).status == "finished"


def test_freezing_all_layers_is_refused():
    with pytest.raises(gg.InputError, match="nothing to train: all layers with weights are frozen"):
        train(blobs(), layers=[3], freeze=["dense_1", "dense_2"])
