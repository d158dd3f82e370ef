"""Losses are refused for invalid outputs and targets, and the advice in the message works."""

from __future__ import annotations

import pytest

from glassgrad.losses.table import ALIASES, LOSSES, loss
from glassgrad.nn.activations import ACTIVATIONS, activation

IDENTITY = ": use activation identity"


def refused(spec, final="identity", classes=None, target_range=None):
    part = loss(spec)
    return part.refusal(
        activation(final), classification=classes is not None, classes=classes, target_range=target_range
    )


@pytest.mark.parametrize(
    ("combination", "message"),
    [
        (
            ("absolute_error", "identity", 3),
            "loss 'absolute_error' is for numbers and the target is a class: use categorical_cross_entropy,"
            " or squared_error for the distance to one-hot codes",
        ),
        (
            ("poisson", "identity", 2),
            "loss 'poisson' is for numbers and the target is a class: use binary_cross_entropy,"
            " or squared_error for the distance to one-hot codes",
        ),
        (
            ("categorical_cross_entropy", "identity", None),
            "loss 'categorical_cross_entropy' is for classes and the target is a number: use squared_error",
        ),
        (
            ("binary_cross_entropy", "identity", 3),
            "loss 'binary_cross_entropy' is for two classes, not 3: use categorical_cross_entropy",
        ),
        (
            ("poisson", "identity", None, (-2.5, 9)),
            "loss 'poisson' is for counts and the lowest target is -2.5: use squared_error",
        ),
        (
            ("kl_divergence", "log_softmax", None, (0, 7)),
            "loss 'kl_divergence' is for target probabilities and the targets range from 0 to 7:"
            " use squared_error",
        ),
        (
            ("categorical_cross_entropy", "softmax", 3),
            "loss 'categorical_cross_entropy' takes logits and activation 'softmax' gives probabilities"
            + IDENTITY,
        ),
        (
            ("categorical_cross_entropy", "log_softmax", 3),
            "loss 'categorical_cross_entropy' takes logits and activation 'log_softmax' gives"
            " log-probabilities: use activation identity, or loss negative_log_likelihood",
        ),
        (
            ("binary_cross_entropy", "sigmoid", 2),
            "loss 'binary_cross_entropy' takes logits and activation 'sigmoid' gives probabilities"
            + IDENTITY,
        ),
        (
            ("hinge", "softmax", 3),
            "loss 'hinge' takes margins and activation 'softmax' gives probabilities" + IDENTITY,
        ),
        (
            ("categorical_cross_entropy", "tanh", 3),
            "loss 'categorical_cross_entropy' takes logits and activation 'tanh' gives only -1 to 1"
            + IDENTITY,
        ),
        (
            ("binary_cross_entropy", "relu", 2),
            "loss 'binary_cross_entropy' takes logits and activation 'relu' gives only 0 to inf" + IDENTITY,
        ),
        (
            ("perceptron", "softplus", 2),
            "loss 'perceptron' takes margins and activation 'softplus' gives only 0 to inf" + IDENTITY,
        ),
        (
            ("poisson", "relu", None, (0, 9)),
            "loss 'poisson' takes log-rates and activation 'relu' gives only 0 to inf" + IDENTITY,
        ),
        (
            ("negative_log_likelihood", "identity", 3),
            "loss 'negative_log_likelihood' takes log-probabilities and activation 'identity' gives none:"
            " use activation log_softmax, or loss categorical_cross_entropy on these logits",
        ),
        (
            ("negative_log_likelihood", "softmax", 3),
            "loss 'negative_log_likelihood' takes log-probabilities and activation 'softmax' gives none:"
            " use activation log_softmax",
        ),
        (
            ("kl_divergence", "identity", None, (0, 1)),
            "loss 'kl_divergence' takes log-probabilities and activation 'identity' gives none:"
            " use activation log_softmax",
        ),
        (
            ("squared_error", "relu", None, (-1, 7)),
            "the targets range from -1 to 7 and activation 'relu' gives only 0 to inf" + IDENTITY,
        ),
        (
            ("huber", "sigmoid", None, (0, 1.5)),
            "the targets range from 0 to 1.5 and activation 'sigmoid' gives only 0 to 1" + IDENTITY,
        ),
        (
            ("absolute_error", "tanh", None, (-1.5, 0)),
            "the targets range from -1.5 to 0 and activation 'tanh' gives only -1 to 1" + IDENTITY,
        ),
        (
            ("squared_error", "log_softmax", 3),
            "one-hot codes range from 0 to 1 and activation 'log_softmax' gives only -inf to 0" + IDENTITY,
        ),
    ],
)
def test_refusal(combination, message):
    assert refused(*combination) == message


@pytest.mark.parametrize(
    "combination",
    [
        ("squared_error", "identity", 3),
        ("squared_error", "softmax", 3),
        ("squared_error", "tanh", 2),
        ("squared_error", "identity", None, (-5, 5)),
        ("squared_error", "sigmoid", None, (0, 1 + 1e-7)),
        ("squared_error", "relu", None, (0, 1e9)),
        ("huber", "relu", None, None),
        ("quantile(0.9)", "elu", None, (-1, 3)),
        ("cross_entropy", "identity", 2),
        ("cross_entropy", "relu", 5),
        ("bce", "identity", 2),
        ("bce", "leaky_relu", 2),
        ("hinge", "tanh", 2),
        ("hinge", "relu", 3),
        ("perceptron", "identity", 2),
        ("nll", "log_softmax", 3),
        ("kl_divergence", "log_softmax", 3),
        ("kl_divergence", "log_softmax", None, (0, 1)),
        ("poisson", "identity", None, (0, 12)),
    ],
)
def test_valid_combinations_are_not_refused(combination):
    assert refused(*combination) is None


def test_every_refusal_is_one_line_and_its_advice_is_accepted():
    """For all combinations, the loss or activation that a refusal recommends must be accepted."""
    count = 0
    for name in (cls for cls in LOSSES if cls not in ALIASES):
        for final in ACTIVATIONS:
            for classes, target_range in ((2, None), (3, None), (None, (0.0, 1.0)), (None, (-5.0, 50.0))):
                line = refused(name, final, classes, target_range)
                if line is None:
                    continue
                count += 1
                assert "\n" not in line
                advice = line.partition(": use ")[2]
                assert advice
                if advice.startswith("activation "):
                    better = advice.split()[1].strip(",")
                    assert refused(name, better, classes, target_range) is None, line
                else:
                    assert refused(advice.split(",")[0], "identity", classes, target_range) is None, line
    assert count > 200
