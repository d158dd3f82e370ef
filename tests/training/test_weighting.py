"""The weights of rows: padding, sample weights and class weights."""

from __future__ import annotations

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.common.orders import epoch_order
from training.small import blobs, counts, same_bits, surface, train

WHOLE = {"validation": 0, "test": 0}
EXACT = WHOLE | {"dtype": "float64", "optimizer": "sgd", "learning_rate": 0.5, "epochs": 1}


def start_of(dataset, **options):
    return train(dataset, **(options | {"epochs": 0})).model


def by_hand(model, x, labels, weight):
    """Loss and gradients of softmax(relu(x W1 + b1) W2 + b2) under cross-entropy, as in a textbook."""
    w = model.weights
    before = x @ w["dense_1.weights"] + w["dense_1.bias"]
    hidden = np.maximum(before, 0)
    logits = hidden @ w["dense_2.weights"] + w["dense_2.bias"]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    share = weight / weight.sum()
    rows = np.arange(len(x))
    loss = -(share * np.log(p[rows, labels])).sum()
    back = p.copy()
    back[rows, labels] -= 1
    back *= share[:, None]
    inner = (back @ w["dense_2.weights"].T) * (before > 0)
    return loss, {
        "dense_1.weights": x.T @ inner,
        "dense_1.bias": inner.sum(0),
        "dense_2.weights": hidden.T @ back,
        "dense_2.bias": back.sum(0),
    }


@pytest.mark.parametrize("weighted", [False, True])
def test_one_step_equals_the_gradient_computed_by_hand(weighted):
    dataset = blobs(30)
    weight = np.linspace(0, 3, 30) if weighted else np.ones(30)
    options = EXACT | {"layers": [5], "batch_size": 30}
    run = train(dataset, sample_weight=weight if weighted else None, **options)
    model = start_of(dataset, **options)
    x = model.prepare(dataset.features)
    loss, gradients = by_hand(model, x, dataset.targets, weight)
    assert run.history[0]["train_loss"] == pytest.approx(loss, rel=1e-12)
    for name, g in gradients.items():
        np.testing.assert_allclose(
            run.model.weights[name], model.weights[name] - 0.5 * g, rtol=1e-10, atol=1e-13
        )


def test_a_padded_last_batch_averages_over_its_own_rows():
    """30 rows in batches of 20: two steps, the second on 10 rows and 10 of padding, replayed by hand."""
    dataset = blobs(30)
    options = EXACT | {"layers": [5], "batch_size": 20}
    run = train(dataset, **options)
    model = start_of(dataset, **options)
    x = model.prepare(dataset.features)
    order = epoch_order(30, seed=0, epoch=1)
    total = 0.0
    for rows in (order[:20], order[20:]):
        loss, gradients = by_hand(model, x[rows], dataset.targets[rows], np.ones(len(rows)))
        total += loss * len(rows)
        model.weights = {name: w - 0.5 * gradients[name] for name, w in model.weights.items()}
    assert run.history[0]["train_loss"] == pytest.approx(total / 30, rel=1e-12)
    for name, array in model.weights.items():
        np.testing.assert_allclose(run.model.weights[name], array, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch", [16, 20, 33, 64])
def test_a_last_batch_of_any_length_trains_with_batch_statistics(batch):
    """A batch larger than the data is cut to it; a last batch of any length gives finite statistics."""
    network = gg.Sequential(gg.nn.Dense(4), gg.nn.BatchNorm(), gg.nn.Dense(3))
    run = train(blobs(33), network=network, epochs=2, batch_size=batch, **WHOLE)
    assert run.status == "finished"
    assert run.steps == 2 * -(-33 // batch)


def test_a_weight_of_two_equals_the_row_twice():
    dataset = blobs(30)
    twice = np.concatenate([np.arange(30), [3, 17]])
    doubled = gg.from_arrays(dataset.features[twice], dataset.targets[twice])
    weight = np.ones(30)
    weight[[3, 17]] = 2
    options = EXACT | {"layers": [5], "scaling": "none", "epochs": 3, "batch_size": 64}
    by_weight = gg.train(dataset, sample_weight=weight, **options)
    by_rows = gg.train(doubled, **options)
    for name, array in by_rows.model.weights.items():
        np.testing.assert_allclose(by_weight.model.weights[name], array, rtol=1e-10, atol=1e-13)


def test_weights_of_one_equal_no_weights():
    plain = train(blobs(), epochs=2, **WHOLE)
    ones = train(blobs(), epochs=2, sample_weight=np.ones(90), **WHOLE)
    for name, array in plain.model.weights.items():
        np.testing.assert_allclose(ones.model.weights[name], array, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "hinge"])
def test_a_row_of_weight_zero_has_no_effect(loss):
    dataset = blobs(30)
    dataset.features[7] = 1e3  # its gradient would be felt
    weight = np.ones(30)
    weight[7] = 0
    rest = np.delete(np.arange(30), 7)
    options = EXACT | {"layers": [5], "scaling": "none", "batch_size": 64, "loss": loss, "epochs": 3}
    with_zero = train(dataset, sample_weight=weight, **options)
    without = train(gg.from_arrays(dataset.features[rest], dataset.targets[rest]), **options)
    for name, array in without.model.weights.items():
        np.testing.assert_allclose(with_zero.model.weights[name], array, rtol=1e-10, atol=1e-13)


def test_a_row_of_weight_zero_may_have_an_infinite_loss():
    dataset = counts(40)
    dataset.features[5] = 1e5  # exp() of the output overflows
    weight = np.ones(40)
    weight[5] = 0
    options = WHOLE | {
        "loss": "poisson",
        "layers": [],
        "scaling": "none",
        "init": "constant(1.0)",
        "epochs": 2,
    }
    assert train(dataset, **options).status == "diverged"
    assert train(dataset, sample_weight=weight, **options).status == "finished"


def test_a_batch_of_weight_zero_is_skipped():
    weight = np.zeros(30)
    weight[3] = 1.0
    run = train(blobs(30), sample_weight=weight, batch_size=4, epochs=2, **WHOLE)
    assert run.status == "finished"


def test_class_weights_equal_sample_weights():
    dataset = blobs(60)
    by_class = train(dataset, class_weight={0: 2.0, 2: 0.5}, epochs=2, **WHOLE)
    weight = np.array([2.0, 1.0, 0.5])[dataset.targets]
    assert same_bits(
        by_class.model.weights, train(dataset, sample_weight=weight, epochs=2, **WHOLE).model.weights
    )


def test_balanced_classes_weigh_the_same():
    dataset = blobs(60)
    keep = np.flatnonzero((dataset.targets != 2) | (np.arange(60) < 12))
    uneven = gg.from_arrays(dataset.features[keep], dataset.targets[keep])
    numbers = np.bincount(uneven.targets)
    balanced = train(uneven, class_weight="balanced", epochs=2, **WHOLE)
    weight = (len(keep) / (3 * numbers))[uneven.targets]
    assert weight[uneven.targets == 2].sum() == pytest.approx(weight[uneven.targets == 0].sum())
    by_hand = train(uneven, sample_weight=weight, epochs=2, **WHOLE)
    assert same_bits(balanced.model.weights, by_hand.model.weights)


BAD = [
    ({"sample_weight": np.ones(29)}, "needs 30 finite numbers >= 0"),
    ({"sample_weight": np.full(30, -1.0)}, "sample_weight needs"),
    ({"sample_weight": np.full(30, np.nan)}, "sample_weight needs"),
    ({"sample_weight": ["much"] * 30}, "sample_weight needs"),
    ({"sample_weight": np.zeros(30)}, "all training rows have weight 0"),
    ({"class_weight": {5: 1.0}}, "unknown class '5'"),
    ({"class_weight": {0: -1.0}}, "class_weight of 0 must be a number of at least 0"),
    ({"class_weight": {0: "much"}}, "class_weight of 0 must be a number of at least 0"),
    ({"class_weight": "even"}, "a mapping or 'balanced', not 'even'"),
    ({"class_weight": [1, 2, 3]}, "a mapping or 'balanced'"),
    ({"class_weight": {0: 0, 1: 0, 2: 0}}, "all training rows have weight 0"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_invalid_weights_are_refused(options, message):
    with pytest.raises(gg.InputError, match=message):
        train(blobs(30), **options, **WHOLE)


def test_class_weights_are_for_classes():
    with pytest.raises(gg.InputError, match="class_weight is for classification; use sample_weight"):
        train(surface(), class_weight="balanced")
