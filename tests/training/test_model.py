"""A trained model: predictions, metrics and neurons against plain NumPy, and the same after saving."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.files.model_file import model_bytes, read_model
from training.small import blobs, counts, distributions, same_bits, surface, train


@pytest.fixture(scope="module")
def trained():
    return train(blobs(), layers=[6, 5], epochs=15, learning_rate=0.02)


def scaled(model, x):
    """The preprocessing, and what its float32 leaves of it."""
    return ((x - model.schema.feature_mean) / model.schema.feature_scale).astype(np.float32).astype(float)


def forward(model, x):
    """The two hidden layers and the output of the model, in float64."""
    w = {name: array.astype(float) for name, array in model.weights.items()}
    first = np.maximum(scaled(model, x) @ w["dense_1.weights"] + w["dense_1.bias"], 0)
    second = np.maximum(first @ w["dense_2.weights"] + w["dense_2.bias"], 0)
    return first, second, second @ w["dense_3.weights"] + w["dense_3.bias"]


# --- predictions -------------------------------------------------------------------------------------------


def test_predictions_and_probabilities_are_those_of_numpy(trained):
    x = blobs(seed=9).features
    logits = forward(trained.model, x)[2]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    found = trained.model.predict_probabilities(x)
    np.testing.assert_allclose(found, p, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(trained.model.predict(x), logits.argmax(axis=1))
    np.testing.assert_allclose(trained.model.outputs(x), logits, rtol=1e-4, atol=1e-5)


def test_metrics_are_those_of_numpy(trained):
    data = blobs(100, seed=9)
    logits = forward(trained.model, data.features)[2]
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    found = trained.model.evaluate(data.features, data.targets)
    assert found["loss"] == pytest.approx(-logs[np.arange(100), data.targets].mean(), rel=1e-4)
    assert found["accuracy"] == (logits.argmax(1) == data.targets).mean()


@pytest.mark.parametrize("rows", [1, 2, 3, 255, 256, 257, 600])
def test_any_number_of_rows_is_predicted_row_by_row(trained, rows):
    x = np.random.default_rng(0).normal(size=(rows, 2))
    found = trained.model.outputs(x)
    assert found.shape == (rows, 3)
    np.testing.assert_allclose(found[-1:], trained.model.outputs(x[-1:]), rtol=1e-5, atol=1e-6)


def test_predicted_labels_have_the_form_of_the_given_ones():
    data = blobs(classes=2)
    names = np.array(["no", "yes"])[data.targets]
    run = train(gg.from_arrays(data.features, names), layers=[4], epochs=20, learning_rate=0.05)
    assert set(run.model.predict(data.features)) == {"no", "yes"}
    assert (run.model.predict(data.features) == names).mean() > 0.9
    p = run.model.predict_probabilities(data.features)
    assert p.shape == (90, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert (names[p[:, 1] > 0.5] == "yes").mean() > 0.9


def test_a_regression_predicts_and_is_evaluated_in_its_own_units():
    data = surface()
    run = train(data, layers=[16], epochs=60, learning_rate=0.02, test=0, validation=0)
    predicted = run.model.predict(data.features)
    assert predicted.shape == data.targets.shape
    error = predicted - data.targets
    metrics = run.metrics["train"]
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
    assert metrics["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-6)
    assert metrics["r2"] == pytest.approx(1 - np.mean(error**2) / np.var(data.targets), rel=1e-6)
    assert metrics["r2"] > 0.9
    assert metrics["loss"] == pytest.approx(metrics["rmse"] ** 2 / np.var(data.targets), rel=1e-4)


def test_each_target_has_its_own_units():
    data = surface()
    both = np.stack([data.targets, data.features[:, 0] * 1e-3], axis=1)
    run = train(gg.from_arrays(data.features, both), layers=[16], epochs=60, learning_rate=0.02)
    error = run.model.predict(data.features) - both
    assert error.shape == both.shape
    assert (error.std(axis=0) < 0.5 * both.std(axis=0)).all()


def test_poisson_predicts_rates():
    data = counts(400)
    run = train(data, loss="poisson", layers=[8], epochs=40, learning_rate=0.02)
    rates = run.model.predict(data.features)
    assert (rates > 0).all()
    np.testing.assert_allclose(rates, np.exp(run.model.outputs(data.features)[:, 0]), rtol=1e-6)
    assert np.abs(np.log(rates) - (1 + data.features[:, 0])).mean() < 0.15
    assert rates.mean() == pytest.approx(data.targets.mean(), rel=0.1)


def test_a_distribution_is_predicted_as_probabilities():
    data = distributions()
    run = train(data, loss="kl", layers=[8], epochs=40, learning_rate=0.02)
    found = run.model.predict(data.features)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert run.model.evaluate(data.features, data.targets)["mae"] < 0.1


def test_models_without_probabilities_raise_a_clear_error():
    with pytest.raises(
        gg.InputError, match="trained with hinge has no probabilities; train with a cross-entropy"
    ):
        train(blobs(), loss="hinge", epochs=0).model.predict_probabilities(np.ones((1, 2)))
    with pytest.raises(gg.InputError, match="squared_error has no probabilities"):
        train(surface(), epochs=0).model.predict_probabilities(np.ones((1, 2)))


def test_features_that_do_not_fit_are_refused(trained):
    with pytest.raises(gg.InputError, match=r"takes \[rows, 2\]"):
        trained.model.predict(np.ones((4, 3)))
    with pytest.raises(gg.InputError, match="no rows"):
        trained.model.predict(np.ones((0, 2)))


# --- neurons -----------------------------------------------------------------------------------------------


def test_neurons_are_those_of_numpy(trained):
    x = blobs(7, seed=4).features
    first, second, logits = forward(trained.model, x)
    model = trained.model
    np.testing.assert_allclose(model.neuron("dense_1[5]", x), first[:, 5], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.neuron("dense_2[0]", x), second[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.neuron("dense_3.preactivation[2]", x), logits[:, 2], rtol=1e-4, atol=1e-5
    )
    found = model.inside(x, "dense_2", "dense_1.preactivation", "dense_2")
    assert list(found) == ["dense_2", "dense_1.preactivation"]
    np.testing.assert_allclose(np.maximum(found["dense_1.preactivation"], 0), first, rtol=1e-4, atol=1e-6)


def test_neurons_of_images_are_those_of_numpy():
    generator = np.random.default_rng(0)
    images, labels = generator.normal(size=(20, 4, 5, 2)), np.arange(20) % 2
    network = gg.Sequential(
        gg.nn.Conv2D(3, (2, 3), activation="relu"), gg.nn.MaxPool2D(3, 1), gg.nn.Flatten(), gg.nn.Dense(1)
    )
    model = train(gg.from_arrays(images, labels), network=network, epochs=1).model
    x = scaled(model, images)
    w, b = (model.weights[f"conv2d_1.{part}"].astype(float) for part in ("weights", "bias"))
    for i, j, k in ((0, 0, 0), (2, 1, 2)):
        wanted = np.maximum((x[:, i : i + 2, j : j + 3] * w[..., k]).sum(axis=(1, 2, 3)) + b[k], 0)
        np.testing.assert_allclose(
            model.neuron(f"conv2d_1[{i}, {j}, {k}]", images), wanted, rtol=1e-4, atol=1e-5
        )
    pooled = model.inside(images, "conv2d_1")["conv2d_1"].max(axis=(1, 2))
    np.testing.assert_array_equal(model.neuron("flatten_1[2]", images), pooled[:, 2])


@pytest.mark.parametrize("layers", [("output", "input_2"), ("row_loss", "output")])
def test_layers_may_be_called_like_outputs_of_the_program(layers):
    """A layer called "output" is its own value, not the network's, and not both in turn."""
    network = gg.Sequential((layers[0], gg.nn.Dense(4, "relu")), (layers[1], gg.nn.Dense(3)))
    data = blobs(30)
    model = train(data, network=network, epochs=1).model
    w = model.weights
    hidden = np.maximum(scaled(model, data.features) @ w[f"{layers[0]}.weights"] + w[f"{layers[0]}.bias"], 0)
    found = model.inside(data.features, *layers)
    np.testing.assert_allclose(found[layers[0]], hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[layers[1]], model.outputs(data.features), rtol=1e-6)


BAD_NEURONS = [
    ("dense_1", "is not the name of a neuron; write layer.number., such as dense_1.7."),
    ("dense_1[]", "is not the name of a neuron"),
    ("dense_1[-1]", "is not the name of a neuron"),
    ("dense_1[6]", r"'dense_1\[6\]': the neurons of dense_1 go from dense_1\[0\] to dense_1\[5\]"),
    ("dense_1[1, 2]", r"go from dense_1\[0\] to dense_1\[5\]"),
    ("dense_9[0]", "unknown layer or value inside the network 'dense_9'; did you mean 'dense_"),
    ("dense_1.gate[0]", "unknown layer or value inside the network 'dense_1.gate'"),
    ("input[0]", "unknown layer or value"),
]


@pytest.mark.parametrize(("name", "message"), BAD_NEURONS)
def test_neurons_that_do_not_exist_are_refused(trained, name, message):
    with pytest.raises(gg.InputError, match=message):
        trained.model.neuron(name, np.ones((2, 2)))


def test_reading_a_missing_preactivation_is_refused():
    data = gg.from_arrays(np.random.default_rng(0).normal(size=(12, 3, 2)), np.arange(12) % 2)
    network = gg.Sequential(gg.nn.SimpleRNN(2, last=True), gg.nn.Dense(1))
    model = train(data, network=network, epochs=0).model
    with pytest.raises(
        gg.InputError, match=r"unknown layer or value inside the network 'simple_rnn_1.preactivation'"
    ):
        model.inside(data.features, "simple_rnn_1.preactivation")


def test_the_summary_lists_layers_shapes_and_parameters(trained):
    rows = trained.model.summary()
    assert [row["name"] for row in rows] == ["dense_1", "dense_2", "dense_3"]
    assert [row["parameters"] for row in rows] == [18, 35, 18]
    assert sum(row["parameters"] for row in rows) == trained.model.parameters
    assert rows[0] == {
        "name": "dense_1",
        "type": "dense",
        "inputs": ["input"],
        "shape": [6],
        "parameters": 18,
    }


# --- files -------------------------------------------------------------------------------------------------


def test_a_model_predicts_the_same_bits_after_saving(tmp_path):
    network = gg.Sequential(
        gg.nn.Dense(5, "leaky_relu(0.2)"), gg.nn.BatchNorm(), gg.nn.Dropout(0.5), gg.nn.Dense(3)
    )
    run = gg.train(blobs(), network=network, epochs=3, loss="categorical_cross_entropy(0.1)")
    run.save(tmp_path / "run")
    for path in (tmp_path / "run", tmp_path / "run" / "model.safetensors"):
        model = gg.load_model(path)
        assert model.network == run.model.network
        assert model.loss == run.model.loss
        assert same_bits(model.weights, run.model.weights)
        assert same_bits(model.statistics, run.model.statistics)
        x = blobs(seed=8).features
        assert model.outputs(x).tobytes() == run.model.outputs(x).tobytes()
        assert (model.predict(x) == run.model.predict(x)).all()
        assert model.metrics["test"] == run.metrics["test"]
        assert model.to_bytes() == run.model.to_bytes()


def test_a_regression_model_keeps_its_units(tmp_path):
    run = gg.train(surface(), epochs=2, dtype="float64")
    run.save(tmp_path / "run")
    x = surface(seed=3).features
    assert (gg.load_model(tmp_path / "run").predict(x) == run.model.predict(x)).all()


SPOILED = [
    (lambda d, t: d["network"].update(layers=[]), "a network needs a list 'layers'"),
    (
        lambda d, t: d["network"]["layers"][0].update(units=7),
        r"'dense_1.weights' are missing or not of shape \[2, 7\]",
    ),
    (lambda d, t: t.pop("dense_1.bias"), "'dense_1.bias' are missing"),
    (
        lambda d, t: t.update({"dense_1.bias": np.zeros(6)}),
        r"'dense_1.bias' are missing or not of shape \[6\] and dtype float32",
    ),
    (
        lambda d, t: d["network"]["layers"].pop(),
        r"the network has outputs of shape \[5\], but loss 'categorical_cross_entropy' .* needs \[3\]",
    ),
    (
        lambda d, t: d["network"]["layers"][0].update(activation={"name": "elu", "alpha": 10**400}),
        "'elu': alpha must be a number above 0",
    ),
    (
        lambda d, t: d["network"]["layers"][0].update(activation="elu(" + "-" * 20_000 + "1)"),
        "is not of the form name or name",
    ),
    (lambda d, t: d["training"].update(loss="huber({[]: 1})"), "is not of the form name or name"),
    (lambda d, t: d["preprocessing"].update(classes=[0, 1, 2**64]), "classes are not a list"),
    (lambda d, t: d["preprocessing"].update(classes=[0]), "classes are not a list"),
    (lambda d, t: d["training"].pop("loss"), "'training' of the document has no 'loss'"),
    (lambda d, t: d["training"].update(dtype="float16"), "unknown dtype 'float16'"),
    (lambda d, t: d["training"].update(loss={"name": "secret"}), "unknown loss 'secret'"),
    (lambda d, t: d["preprocessing"].update(task="other"), "unknown preprocessing task"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED)
def test_a_file_that_contradicts_itself_is_refused_by_name(tmp_path, trained, spoil, message):
    trained.save(tmp_path / "run")
    file = tmp_path / "run" / "model.safetensors"
    tensors, document = read_model(file)
    document = json.loads(json.dumps(document))
    spoil(document, tensors)
    file.write_bytes(model_bytes(tensors, document))
    with pytest.raises(gg.InputError, match=message) as caught:
        gg.load_model(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class Own(gg.nn.Activation):
    """An activation that is not registered."""

    name = "own"

    def __call__(self, x):
        return x * gg.ops.sigmoid(x)

    def output_range(self):
        return (-0.3, float("inf"))


def test_an_unregistered_part_can_be_trained_but_not_saved(tmp_path):
    run = train(blobs(), activation=Own(), epochs=2)
    assert run.status == "finished"
    with pytest.raises(
        gg.InputError, match="Own is not a registered activation; register it by name to save it"
    ):
        run.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()
