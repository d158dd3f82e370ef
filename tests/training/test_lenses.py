"""Lenses: their measures and files; they change no bit of the training.

This is one file because all tests share the watched networks and the hand-computed measures.
"""

from __future__ import annotations

import numpy as np
import pytest

import glassgrad as gg
from backends.runners import BACKENDS
from glassgrad.backends.base import Feed
from glassgrad.backends.reference import evaluate
from glassgrad.common.errors import GraphError, InputError
from glassgrad.common.orders import epoch_order
from glassgrad.losses.table import LOSSES
from glassgrad.ops.op import make_input
from glassgrad.optim.optimizers import OPTIMIZERS
from glassgrad.program import Input, Output, Program
from glassgrad.training import lenses as module
from glassgrad.training.lenses import MEASURES, is_sampled, layer_gradients, read_lenses
from glassgrad.training.programs import training_program
from training.small import blobs, same_bits, surface, train

ALL = {"validation": 0, "test": 0, "schedule": "constant"}


def images(rows: int = 22, seed: int = 0) -> gg.Dataset:
    x = np.random.default_rng(seed).normal(size=(rows, 6, 6, 2))
    return gg.from_arrays(x, np.arange(rows) % 3, name="images")


def skips() -> gg.Network:
    """A network with branches, a layer that computes nothing, and one that nobody takes."""
    start = gg.Input()
    a = gg.nn.Dense(5, "tanh")(start)
    b = gg.nn.Dense(5, "relu")(a)
    c = gg.nn.Dropout(0.0)(b)
    both = gg.nn.Add()(a, c)
    wide = gg.nn.Concatenate()(both, a)
    return gg.functional(start, gg.nn.Dense(3)(gg.nn.LayerNorm()(wide)))


NETWORKS = {
    "convolutions": gg.Sequential(
        gg.nn.Conv2D(3, 3, activation="relu"),
        gg.nn.BatchNorm(),
        gg.nn.MaxPool2D(2),
        gg.nn.Conv2D(2, 1, activation="elu"),
        gg.nn.AveragePool2D(2),
        gg.nn.Flatten(),
        gg.nn.Dropout(0.3),
        gg.nn.Dense(4, "sigmoid"),
        gg.nn.Dense(3),
    ),
    "pooled": gg.Sequential(
        gg.nn.Conv2D(3, 3, activation="gelu"), gg.nn.GlobalAveragePool2D(), gg.nn.Dense(3)
    ),
    "in time": gg.Sequential(gg.nn.Reshape([6, 12]), gg.nn.SimpleRNN(4, last=True), gg.nn.Dense(3)),
    "branches": gg.Sequential(gg.nn.Flatten(), gg.nn.Dense(3)),
}


# --- the bits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_lenses_change_no_bit(optimizer):
    options = {"layers": [7, 5], "epochs": 3, "batch_size": 8, "optimizer": optimizer}
    plain, seen = (gg.train(blobs(), watch=watch, **options) for watch in (False, True))
    assert same_bits(plain.model.weights, seen.model.weights)
    assert plain.history == seen.history
    assert plain.lenses is None
    assert len(seen.lenses) > 0


# XLA compiles the larger ones for many seconds.
EVERYWHERE = [(name, backend) for name in NETWORKS for backend in ("reference", "native")] + [
    ("pooled", "xla")
]


@pytest.mark.parametrize(("name", "backend"), EVERYWHERE)
def test_lenses_change_no_bit_in_any_network(name, backend):
    options = {"network": NETWORKS[name], "epochs": 2, "batch_size": 8, "learning_rate": 0.002, **ALL}
    options |= {"backend": backend}
    plain, seen = (gg.train(images(), watch=watch, **options) for watch in (False, True))
    assert same_bits(plain.model.weights, seen.model.weights)
    assert same_bits(plain.model.statistics, seen.model.statistics)
    want = train(images(), watch=True, **{**options, "backend": "reference"}).lenses
    for key, array in seen.lenses.values.items():
        np.testing.assert_allclose(array, want[key], rtol=2e-3, atol=1e-5, err_msg=str(key))


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_lenses_change_no_bit_with_clipping_frozen_layers_and_sample_weights(backend):
    options = {
        "network": skips(),
        "freeze": ["dense_2"],
        "clip_norm": 0.3,
        "clip_value": 0.2,
        "sample_weight": np.linspace(0, 2, 90),
        "epochs": 2,
        "batch_size": 16,
        "backend": backend,
        **ALL,
    }
    plain, seen = (gg.train(blobs(), watch=watch, **options) for watch in (False, True))
    assert same_bits(plain.model.weights, seen.model.weights)
    assert plain.history == seen.history
    assert (seen.lenses["update_norm", "dense_2"] == 0).all()
    assert (seen.lenses["gradient_norm", "dense_2"] > 0).all()
    assert (seen.lenses["update_norm", "dense_1"] > 0).all()


def test_the_step_is_the_same_program():
    def program(watch):
        network = gg.Sequential(gg.nn.Dense(3, "relu"), gg.nn.Dense(2))
        parts = LOSSES.make("categorical_cross_entropy"), OPTIMIZERS.make("adam")
        return training_program(network, (5,), *parts, batch=4, targets=None, watch=watch)

    plain, seen = str(program(False)), str(program(True))
    assert seen.startswith(plain)
    assert not program(False).probes
    rest = seen.removeprefix(plain).splitlines()[1:]
    assert rest[0] == "probes, measured in the requested steps:"
    assert rest[1] == "  gradient_norm/dense_1  : float32"


def test_train_many_gives_the_lenses_of_single_runs():
    variants = [{"learning_rate": 0.01}, {"seed": 3}]
    runs = gg.train_many(blobs(), variants, watch=True, layers=[4], epochs=2)
    for variant, run in zip(variants, runs, strict=True):
        alone = gg.train(blobs(), watch=True, layers=[4], epochs=2, **variant)
        assert same_bits(dict(run.lenses.values), dict(alone.lenses.values))


# --- the numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_every_measure_against_numpy(backend):
    """One hidden layer of relu on 22 rows in batches of 8, the last of 6; the weights stay where they are."""
    data = surface(22)
    rate = {"learning_rate": 0.0, "optimizer": "sgd"}
    options = {"layers": [5], "batch_size": 8, "epochs": 2, "dtype": "float64", "backend": backend}
    run = gg.train(data, watch=True, **options, **rate, **ALL)
    (x, t), w = run.task.parts.train, run.start.weights
    found = run.lenses
    assert found.steps.tolist() == list(range(6))
    assert found.epochs.tolist() == [1, 1, 1, 2, 2, 2]
    for sample, (epoch, part) in enumerate((epoch, part) for epoch in (1, 2) for part in range(3)):
        rows = epoch_order(22, seed=0, epoch=epoch)[8 * part : 8 * part + 8]
        z = x[rows] @ w["dense_1.weights"] + w["dense_1.bias"]
        h = np.maximum(z, 0)
        y = h @ w["dense_2.weights"] + w["dense_2.bias"]
        dy = 2 * (y - t[rows]) / len(rows)  # the loss is the mean of the squares
        dh = dy @ w["dense_2.weights"].T
        dz = dh * (z > 0)
        want = {
            ("gradient_norm", "dense_1"): np.hypot(np.linalg.norm(x[rows].T @ dz), np.linalg.norm(dz.sum(0))),
            ("gradient_norm", "dense_2"): np.hypot(np.linalg.norm(h.T @ dy), np.linalg.norm(dy.sum(0))),
            ("weight_norm", "dense_1"): np.linalg.norm(w["dense_1.weights"]),
            ("weight_norm", "dense_2"): np.linalg.norm(w["dense_2.weights"]),
            ("update_norm", "dense_1"): 0.0,
            ("update_norm", "dense_2"): 0.0,
            ("output_gradient_norm", "dense_1"): np.linalg.norm(dh),
            ("output_gradient_norm", "dense_2"): np.linalg.norm(dy),
            ("active", "dense_1"): np.mean(h > 0),
            ("active", "dense_2"): 1.0,
            ("output_mean", "dense_1"): h.mean(),
            ("output_mean", "dense_2"): y.mean(),
            ("output_variance", "dense_1"): h.var(),
            ("output_variance", "dense_2"): y.var(),
        }
        assert list(found.values) == list(want)
        for key, value in want.items():
            np.testing.assert_allclose(found[key][sample], value, rtol=1e-9, err_msg=f"{key} {sample}")


def test_the_update_norm_is_the_norm_of_the_change_of_the_weights():
    """The norm of the update, after clipping, is that of the difference between two steps."""
    options = {"layers": [4], "batch_size": 90, "clip_norm": 0.1, "learning_rate": 0.5, "keep": "last", **ALL}
    options |= {"optimizer": "sgd(momentum=0.9)", "schedule": "constant", "dtype": "float64"}
    runs = [gg.train(blobs(), watch=True, epochs=epochs, **options) for epochs in (1, 2, 3)]
    for i in (1, 2):
        for layer in ("dense_1", "dense_2"):
            keys = [f"{layer}.weights", f"{layer}.bias"]
            moved = [runs[i].model.weights[key] - runs[i - 1].model.weights[key] for key in keys]
            norm = np.linalg.norm(np.concatenate([item.ravel() for item in moved]))
            np.testing.assert_allclose(runs[2].lenses["update_norm", layer][i], norm, rtol=1e-9)
    ratio = runs[2].lenses.update_ratio("dense_1")
    assert (
        ratio == runs[2].lenses["update_norm", "dense_1"] / runs[2].lenses["weight_norm", "dense_1"]
    ).all()


def test_layer_gradients_equal_the_gradients_of_the_whole_graph():
    """In a network with branches: by every weight, and by the outputs that a bias is added to."""
    network, batch = skips(), 6
    loss = LOSSES.make("categorical_cross_entropy")
    x, t = make_input("x", (batch, 4), "float64"), make_input("t", (batch,), "int32")
    row_mask = make_input("row_mask", (batch,), "bool")
    weights = {name: make_input(name, item.shape, "float64") for name, item in network.weights((4,)).items()}
    built = network.build(x, weights, {}, row_mask=row_mask)
    total = gg.ops.reduce_sum(loss.row_losses(built.output, t))
    by_output, by_weight = layer_gradients(network, built, total, weights)
    whole = dict(zip(weights, gg.gradient(total, list(weights.values())), strict=True))
    last = by_output[built.outputs["dense_3"]]
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(batch, 4)), np.arange(batch) % 3, np.ones(batch, bool)]
    arrays += [generator.normal(size=value.shape) for value in weights.values()]
    graph = gg.Graph(
        (x, t, row_mask, *weights.values()), (*by_weight.values(), *(whole[key] for key in by_weight), last)
    )
    *found, outputs = evaluate(graph, arrays)
    count = len(weights)
    for name, got, want in zip(by_weight, found[:count], found[count:], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12, err_msg=name)
        if name == "dense_3.bias":
            np.testing.assert_allclose(outputs.sum(axis=0), want, rtol=1e-9)
    assert built.outputs["dropout_1"] is built.outputs["dense_2"]
    assert {built.outputs[node.name] for node in network.nodes} == set(by_output)


ACTIVE = {
    "identity": np.ones_like,
    "relu": lambda z: z > 0,
    "leaky_relu(0.01)": np.ones_like,
    "leaky_relu(0.001)": lambda z: z > 0,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)) / (1 + np.exp(z)) > module.SLOPE,
    "tanh": lambda z: np.abs(z) < np.arctanh(np.sqrt(1 - module.SLOPE)),
    "elu": lambda z: z > np.log(module.SLOPE),
    "step": np.zeros_like,
}


@pytest.mark.parametrize("activation", list(ACTIVE))
def test_active_is_the_share_of_large_slopes(activation):
    wide = "normal(4.0)"
    network = gg.Sequential(("here", gg.nn.Dense(40, activation, init=wide)), gg.nn.Dense(3))
    run = train(blobs(), network=network, epochs=1, batch_size=90, watch=True, force=True, **ALL)
    z = run.start.inside(run.dataset.features, "here.preactivation")["here.preactivation"]
    expected = np.mean(ACTIVE[activation](z))
    np.testing.assert_allclose(run.lenses["active", "here"], expected, atol=2 / z.size)


def test_only_elementwise_activations_have_the_measure_active():
    network = gg.Sequential(
        ("over_all", gg.nn.Dense(4, "softmax")),
        ("own", gg.nn.ActivationLayer("silu")),
        ("norm", gg.nn.BatchNorm()),
        ("time", gg.nn.Reshape([2, 2])),
        ("recurrent", gg.nn.SimpleRNN(3)),
        ("flat", gg.nn.Flatten()),
        ("last", gg.nn.Dense(3, "log_softmax")),
    )
    run = train(
        blobs(), network=network, loss="negative_log_likelihood", epochs=1, watch=True, batch_size=30, **ALL
    )
    assert run.lenses.layers("active") == ("own", "recurrent")
    assert run.lenses.layers("gradient_norm") == ("over_all", "norm", "recurrent", "last")
    assert run.lenses.layers("output_mean") == tuple(node.name for node in network.nodes)
    states = run.start.inside(run.dataset.features, "recurrent")["recurrent"]
    assert np.mean(1 - states**2 > module.SLOPE) == 1.0
    np.testing.assert_allclose(run.lenses["active", "recurrent"], 1.0)


def test_a_layer_before_all_weights_has_no_gradient():
    run = train(images(), network=NETWORKS["branches"], epochs=1, watch=True, **ALL)
    assert run.lenses.layers("output_gradient_norm") == ("dense_1",)
    assert run.lenses.layers("output_variance") == ("flatten_1", "dense_1")


def test_a_custom_activation_is_measured_by_its_own_derivative():
    hard = gg.ops.custom_op(lambda x: gg.ops.select(x > 0, 1.0 + 0.0 * x, 0.0 * x), name="hard")

    class Hard(gg.nn.Activation):
        def __call__(self, x):
            return hard(x)

        def output_range(self):
            return (0.0, 1.0)

    network = gg.Sequential(("first", gg.nn.Dense(5, Hard())), gg.nn.Dense(3))
    run = train(blobs(), network=network, epochs=1, watch=True, **ALL)
    assert (run.lenses["active", "first"] == 0).all()
    assert (run.lenses["gradient_norm", "first"] == 0).all()


# --- which steps -------------------------------------------------------------------------------------------


def test_large_steps_are_sampled_rarely_and_small_ones_often():
    steps = np.arange(1000)
    large = is_sampled(steps, steps_per_epoch=100, multiplications=module.LARGE)
    assert np.flatnonzero(large).tolist() == sorted({*range(0, 1000, module.EVERY), *module.START})
    for per_epoch in (1, 5, 40, 500, 1000):
        found = np.flatnonzero(is_sampled(steps, steps_per_epoch=per_epoch, multiplications=100))
        wanted = min(per_epoch, module.PER_EPOCH)
        epochs = np.bincount(found // per_epoch, minlength=1000 // per_epoch)
        assert epochs.min() >= wanted
        assert 0 in found


def test_the_mean_of_each_epoch():
    run = train(blobs(), layers=[3], epochs=3, batch_size=10, watch=True)
    means = run.lenses.per_epoch()
    assert means.epochs.tolist() == [1, 2, 3]
    for number, epoch in enumerate(means.epochs):
        here = run.lenses.epochs == epoch
        assert means.steps[number] == run.lenses.steps[here][0]
        for key, array in run.lenses.values.items():
            np.testing.assert_allclose(means[key][number], array[here].mean(), rtol=1e-5)
    document = means.document()
    assert document["epochs"] == [1, 2, 3]
    assert document["active"]["dense_1"] == means["active", "dense_1"].tolist()
    assert list(document) == ["steps", "epochs", *MEASURES]


def test_progress_reports_the_lenses_of_each_epoch():
    told = []
    run = train(blobs(), layers=[3], epochs=3, batch_size=10, watch=True, progress=told.append)
    seen = [item.lenses for item in told if item.record is not None]
    assert [set(item.epochs.tolist()) for item in seen] == [{1}, {2}, {3}]
    assert np.concatenate([item.steps for item in seen]).tolist() == run.lenses.steps.tolist()
    assert all(item.lenses is None for item in told if item.record is None)


def test_a_diverged_run_keeps_the_samples_up_to_the_bad_step():
    run = gg.train(
        surface(), layers=[4], learning_rate=1e10, optimizer="sgd", epochs=40, batch_size=4, watch=True
    )
    assert run.status == "diverged"
    step = int(run.message.split("step ")[1].split()[0])
    assert 0 <= run.lenses.steps[-1] <= step
    assert run.lenses["weight_norm", "dense_1"][-1] > 100 * run.lenses["weight_norm", "dense_1"][0]


def test_no_epochs_no_samples():
    run = train(blobs(), layers=[3], epochs=0, watch=True)
    assert len(run.lenses) == len(run.lenses.per_epoch()) == 0
    assert run.lenses.document()["steps"] == []


# --- kept --------------------------------------------------------------------------------------------------


def test_a_run_folder_keeps_the_lenses(tmp_path):
    run = train(blobs(), layers=[3], epochs=2, watch=True)
    run.save(tmp_path / "run")
    found = read_lenses(tmp_path / "run")
    assert list(found.values) == list(run.lenses.values)
    assert same_bits(dict(found.values), dict(run.lenses.values))
    assert (found.steps == run.lenses.steps).all()
    assert (found.epochs == run.lenses.epochs).all()


def test_a_run_folder_without_lenses_says_so(tmp_path):
    run = train(blobs(), layers=[3], epochs=1)
    run.save(tmp_path / "run")
    assert not (tmp_path / "run" / "lenses.safetensors").exists()
    with pytest.raises(InputError, match="has no lenses; train with watch=True"):
        read_lenses(tmp_path / "run")
    with pytest.raises(InputError, match="no such file or folder"):
        read_lenses(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, damage):
    run = train(blobs(), layers=[3], epochs=1, watch=True)
    run.save(tmp_path / "run")
    path = tmp_path / "run" / "lenses.safetensors"
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-9], "foreign": b"nothing of the kind", "empty": b""}[damage])
    with pytest.raises(InputError, match=r"damaged|empty") as caught:
        read_lenses(tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_an_unknown_lens_is_refused():
    found = train(blobs(), layers=[3], epochs=1, watch=True).lenses
    with pytest.raises(InputError, match="gradient_norm/dense_1"):
        found["gradient_norm", "dense_7"]
    with pytest.raises(InputError, match="unknown measure 'gradient'"):
        found.layers("gradient")


def test_a_run_holds_its_data_and_initial_model():
    data = blobs()
    run = gg.train(data, layers=[3], epochs=2)
    assert run.dataset is data
    assert run.task is run.task
    assert len(run.task.parts.train[0]) == run.rows["train"]
    start = train(data, layers=[3], epochs=0)
    assert same_bits(run.start.weights, start.model.weights)
    assert not same_bits(run.start.weights, run.model.weights)
    assert run.start.evaluate(data.features, data.targets) == run.start.evaluate(data.features, data.targets)


# --- probes of a program -----------------------------------------------------------------------------------


def counter(probes: bool = True) -> Program:
    """A number that grows by the batch's sum; the probes are the number before, and its batch."""
    x, total = make_input("x", (2,), "float64"), make_input("total", (), "float64")
    row_mask = make_input("row_mask", (2,), "bool")
    inputs = (Input("x", "data", x), Input("row_mask", "row_mask", row_mask), Input("total", "param", total))
    grown = total + gg.ops.reduce_sum(gg.ops.select(row_mask, x, 0.0))
    shown = (
        Output("before", total),
        Output("batch", x * 2.0),
        Output("one", gg.ops.constant(1.0, "float64")),
    )
    return Program("count", 2, inputs, {"total": grown}, (Output("loss", grown),), shown if probes else ())


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize("cleaned", [False, True])
def test_probes_read_the_values_before_the_update(backend, cleaned):
    program = counter().cleaned() if cleaned else counter()
    executable = BACKENDS[backend].compile(program)
    data = {"x": np.arange(7.0)}
    mask = np.array([True, False, True, True])
    feed = Feed(data, np.arange(7, dtype=np.int32), {"total": np.array(0.0)}, {}, {}, probed=mask)
    found = executable.run(feed)
    assert found.outputs["loss"].tolist() == [1, 6, 15, 21]
    assert found.probes["before"].tolist() == [0, 6, 15]
    assert found.probes["batch"][:2].tolist() == [[0, 2], [8, 10]]
    assert found.probes["one"].tolist() == [1, 1, 1]
    for probed in (None, np.zeros(4, bool)):
        blind = executable.run(Feed(data, feed.order, feed.params, {}, {}, probed=probed))
        assert blind.outputs["loss"].tolist() == [1, 6, 15, 21]
        assert {name: array.shape for name, array in blind.probes.items()} == {
            "before": (0,),
            "batch": (0, 2),
            "one": (0,),
        }


def test_a_program_without_probes_returns_none():
    feed = Feed({"x": np.arange(4.0)}, np.arange(4, dtype=np.int32), {"total": np.array(0.0)}, {}, {})
    for backend in BACKENDS.values():
        found = backend.compile(counter(False)).run(feed)
        assert found.probes == {}


def test_invalid_probes_are_refused():
    x = make_input("x", (2,), "float64")
    with pytest.raises(GraphError, match="probe 'x' is per row"):
        Program("p", 2, (Input("x", "data", x),), {}, (), (Output("x", x, per_row=True),))
    data = {"x": np.arange(4.0)}
    feed = Feed(data, np.arange(4, dtype=np.int32), {"total": np.array(0.0)}, {}, {}, probed=np.ones(3, bool))
    with pytest.raises(InputError, match=r"one bool per step \(2\)"):
        BACKENDS["reference"].compile(counter()).run(feed)


def test_compiled_probes_are_loaded_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GLASSGRAD_CACHE", str(tmp_path))
    options = {"layers": [3], "epochs": 1, "watch": True, "backend": "native"}
    first = gg.train(blobs(), **options)
    monkeypatch.setattr("glassgrad.backends.native.backend.generate", lambda *_: 1 / 0)
    second = gg.train(blobs(), **options)
    assert same_bits(dict(first.lenses.values), dict(second.lenses.values))
