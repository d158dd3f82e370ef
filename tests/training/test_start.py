"""Initial weights: layer-sequential unit variance, saved models, frozen layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.init.initializers import LSUV, initializer
from glassgrad.nn.layer import ParameterSpec
from training.small import blobs, same_bits, surface, train

WHOLE = {"validation": 0, "test": 0}


def part(model, layer):
    arrays = model.weights | model.statistics
    return {name: array for name, array in arrays.items() if name.startswith(f"{layer}.")}


# --- layer-sequential unit variance ------------------------------------------------------------------------


def test_lsuv_gives_every_layer_unit_variance_on_the_data():
    data = gg.load_source("digits")
    data = gg.from_arrays(data.features[:300], data.targets[:300])
    depth = 6
    options = {"layers": [24] * depth, "activation": "relu", "epochs": 0, **WHOLE}
    variances = {}
    for init in ("lsuv", "lsuv(variance=4.0)", "normal(0.01)"):
        model = train(data, init=init, **options).model
        names = [f"dense_{i}.preactivation" for i in range(1, depth + 2)]
        found = model.inside(data.features, *names)
        variances[init] = np.array([found[name].astype(float).var() for name in names])
    assert np.abs(variances["lsuv"] - 1).max() <= LSUV().tolerance
    assert np.abs(variances["lsuv(variance=4.0)"] - 4).max() <= LSUV().tolerance + 1e-3
    assert variances["normal(0.01)"][-1] < 1e-6


def test_lsuv_fits_convolutions_and_leaves_other_weights():
    images = np.random.default_rng(0).normal(3, 2, size=(40, 6, 6, 1))
    network = gg.Sequential(
        gg.nn.Conv2D(4, 3, activation="tanh", init="lsuv"),
        gg.nn.Flatten(),
        gg.nn.Dense(5, "relu", init="he_normal"),
        gg.nn.Dense(2, init="lsuv"),
    )
    data = gg.from_arrays(images, np.arange(40) % 2, name="images")
    model = train(data, network=network, epochs=0, loss="cross_entropy", **WHOLE).model
    found = model.inside(images, "conv2d_1.preactivation", "dense_2.preactivation")
    for array in found.values():
        assert array.var() == pytest.approx(1, abs=0.03)
    plain = gg.Sequential(
        gg.nn.Conv2D(4, 3), gg.nn.Flatten(), gg.nn.Dense(5, "relu", init="he_normal"), gg.nn.Dense(2)
    )
    untouched = train(data, network=plain, epochs=0, loss="cross_entropy", **WHOLE).model
    assert same_bits(part(model, "dense_1"), part(untouched, "dense_1"))


def test_lsuv_uses_the_weights_of_a_saved_model(tmp_path):
    data = blobs()
    train(data, layers=[8, 8], init="normal(3.0)", epochs=0, **WHOLE).save(tmp_path / "run")
    options = {"layers": [8, 8], "init": "lsuv", "init_from": str(tmp_path / "run"), "epochs": 0, **WHOLE}
    model = train(data, init_layers=["dense_1"], **options).model
    saved = gg.load_model(tmp_path / "run")
    assert same_bits(part(model, "dense_1"), part(saved, "dense_1"))
    found = model.inside(data.features, "dense_2.preactivation", "dense_3.preactivation")
    for array in found.values():
        assert array.var() == pytest.approx(1, abs=0.03)
    assert same_bits(train(data, **options).model.weights, saved.weights)


def test_lsuv_names_layers_that_it_cannot_fit():
    tokens = gg.from_arrays(np.arange(40).reshape(20, 2) % 4, np.arange(20) % 2)
    network = gg.Sequential(gg.nn.Embedding(4, 2, init="lsuv"), gg.nn.Flatten(), gg.nn.Dense(1))
    with pytest.raises(gg.InputError, match=r"layer 'embedding_1': 'weights' cannot use lsuv.*no pre-act"):
        train(tokens, network=network, scaling="none")
    dead = gg.Sequential(gg.nn.Dense(3, "relu", init="zeros"), gg.nn.Dense(3, init="lsuv"))
    with pytest.raises(gg.InputError, match=r"layer 'dense_2': initializer 'lsuv': .* have variance 0.0"):
        train(blobs(), network=dead)


# --- from a saved model ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "run"
    network = gg.Sequential(gg.nn.Dense(6, "relu"), gg.nn.BatchNorm(), gg.nn.Dense(3))
    train(blobs(), network=network, epochs=3).save(path)
    return path


def test_all_weights_and_statistics_come_from_the_model(saved):
    before = gg.load_model(saved)
    after = gg.train(blobs(), network=before.network, init_from=str(saved), epochs=0, seed=7).model
    assert same_bits(after.weights, before.weights)
    assert same_bits(after.statistics, before.statistics)
    file = str(saved / "model.safetensors")
    again = gg.train(blobs(), network=before.network, init_from=file, epochs=0, dtype="float64").model
    assert {array.dtype.name for array in again.weights.values()} == {"float64"}


def test_named_layers_are_loaded_and_the_others_are_drawn(saved):
    before = gg.load_model(saved)
    network = gg.Sequential(gg.nn.Dense(6, "relu"), gg.nn.BatchNorm(), gg.nn.Dense(5, "relu"), gg.nn.Dense(3))
    options = {"network": network, "epochs": 0}
    after = train(blobs(), init_from=str(saved), init_layers=["dense_1", "batch_norm_1"], **options).model
    drawn = train(blobs(), **options).model
    for layer, source in (
        ("dense_1", before),
        ("batch_norm_1", before),
        ("dense_2", drawn),
        ("dense_3", drawn),
    ):
        assert same_bits(part(after, layer), part(source, layer))


def test_weights_that_do_not_fit_are_named_with_both_shapes(saved):
    with pytest.raises(
        gg.InputError, match=r"'dense_1.weights' with shape \[2, 9\], .* with shape \[2, 6\].*init-layers"
    ):
        train(blobs(), layers=[9], init_from=str(saved))
    network = gg.Sequential(("other", gg.nn.Dense(3)))
    with pytest.raises(
        gg.InputError, match=r"needs 'other.weights' with shape .2, 3., the model does not have it"
    ):
        train(blobs(), network=network, init_from=str(saved))
    with pytest.raises(gg.InputError, match="unknown layer 'dense_9'; did you mean 'dense_"):
        train(blobs(), layers=[6], init_from=str(saved), init_layers=["dense_9"])
    with pytest.raises(gg.InputError, match="nowhere: no such file or folder"):
        train(blobs(), init_from="nowhere")


# --- frozen layers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd(momentum=0.9, weight_decay=0.1)", "adamw"])
def test_frozen_layers_keep_their_bits_and_their_statistics(optimizer):
    network = gg.Sequential(
        gg.nn.Dense(6, "relu"), gg.nn.BatchNorm(), gg.nn.Dense(5, "relu"), gg.nn.BatchNorm(), gg.nn.Dense(3)
    )
    options = {"network": network, "optimizer": optimizer, "keep": "last"}
    start = train(blobs(), **(options | {"epochs": 0})).model
    end = train(blobs(), freeze=["dense_1", "batch_norm_1"], epochs=3, **options).model
    for layer in ("dense_1", "batch_norm_1"):
        assert same_bits(part(end, layer), part(start, layer))
    for layer in ("dense_2", "batch_norm_2", "dense_3"):
        assert not any(
            (array == part(start, layer)[name]).all() for name, array in part(end, layer).items()
        ), layer


@dataclass(frozen=True)
class Scaled(gg.nn.Layer):
    """Its input times a weight whose own name has a dot in it."""

    def output_shape(self, inputs):
        return inputs[0]

    def weights(self, inputs):
        return {"inner.scale": ParameterSpec(inputs[0], initializer("constant(1.0)"), (1, 1))}

    def build(self, context, inputs, weights, state):
        return inputs[0] * weights["inner.scale"], {}


@pytest.mark.parametrize("freeze", [[], ["scaled"]])
def test_a_layer_is_frozen_whatever_its_weights_are_called(freeze):
    network = gg.Sequential(gg.nn.Dense(4), ("scaled", Scaled()), gg.nn.Dense(3))
    model = train(blobs(), network=network, freeze=freeze, epochs=2).model
    assert (model.weights["scaled.inner.scale"] == 1).all() == bool(freeze)


def test_other_layers_learn_beside_frozen_ones():
    run = train(surface(), layers=[16], freeze=["dense_1"], epochs=40, learning_rate=0.05)
    assert run.metrics["train"]["r2"] > 0.8


def test_a_frozen_dropout_is_off():
    network = gg.Sequential(gg.nn.Dense(6, "relu"), gg.nn.Dropout(0.5), gg.nn.Dense(3))
    without = gg.Sequential(gg.nn.Dense(6, "relu"), gg.nn.Dropout(0.0), gg.nn.Dense(3))
    frozen = train(blobs(), network=network, freeze=["dropout_1"], epochs=2)
    assert same_bits(frozen.model.weights, train(blobs(), network=without, epochs=2).model.weights)
