"""``train``: the same bits for the same seed, every part on a test problem, and the options.

This is one file because all tests share the small problems and the options of one run.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.data.split import split
from glassgrad.diagnosis.core.scores import scored_rows
from glassgrad.losses.table import ALIASES, LOSSES
from glassgrad.nn.activations import ACTIVATIONS
from glassgrad.optim.optimizers import OPTIMIZERS
from glassgrad.optim.schedules import SCHEDULES, schedule
from glassgrad.report.run_pictures import unseen_rows
from training.small import blobs, counts, distributions, same_bits, surface, train

WHOLE = {"validation": 0, "test": 0}


def first_and_last(run):
    assert run.status == "finished", run.message
    losses = [record["train_loss"] for record in run.history]
    assert np.isfinite(losses).all()
    return losses[0], losses[-1]


# --- the same again ----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path):
    options = {
        "epochs": 2,
        "network": gg.Sequential(gg.nn.Dense(8), gg.nn.Dropout(0.3), gg.nn.Dense(3)),
    }
    runs = {name: gg.train(blobs(), seed=seed, **options) for name, seed in (("a", 5), ("b", 5), ("c", 6))}
    for name, run in runs.items():
        run.save(tmp_path / name)
    models = {name: gg.load_model(tmp_path / name) for name in runs}
    assert same_bits(models["a"].weights, models["b"].weights)
    assert runs["a"].history == runs["b"].history
    assert (tmp_path / "a" / "history.csv").read_bytes() == (tmp_path / "b" / "history.csv").read_bytes()
    for name, array in models["a"].weights.items():
        if name.endswith("weights"):
            assert (models["c"].weights[name] != array).any()


def test_training_does_not_modify_the_arrays_of_the_caller():
    dataset = blobs(30)
    features, targets = dataset.features.copy(), dataset.targets.copy()
    train(dataset, epochs=1)
    assert (dataset.features == features).all()
    assert (dataset.targets == targets).all()


# --- every part trains -------------------------------------------------------------------------------------

PROBLEMS = {
    "squared_error": surface,
    "root_mean_squared_error": surface,
    "absolute_error": surface,
    "huber": surface,
    "log_cosh": surface,
    "quantile": surface,
    "categorical_cross_entropy": blobs,
    "binary_cross_entropy": lambda: blobs(classes=2),
    "negative_log_likelihood": blobs,
    "hinge": blobs,
    "perceptron": blobs,
    "kl_divergence": distributions,
    "poisson": counts,
}
NEEDS = {"quantile": "quantile(0.7)"}


def test_every_loss_has_a_test_problem():
    assert set(PROBLEMS) == set(LOSSES) - set(ALIASES)


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_loss_falls(name):
    run = train(PROBLEMS[name](), loss=NEEDS.get(name, name), layers=[8], epochs=12, learning_rate=0.02)
    first, last = first_and_last(run)
    assert last < 0.9 * first if first > 0 else last < first
    if run.model.schema.classes is not None:
        assert run.metrics["train"]["accuracy"] > 0.8
    else:
        assert run.metrics["train"]["r2"] > 0.2


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_optimizer_lowers_the_loss(name):
    first, last = first_and_last(train(blobs(), optimizer=name, layers=[8], epochs=12, learning_rate=0.02))
    assert last < 0.8 * first


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "step"])
def test_every_activation_trains_as_a_hidden_layer(name):
    run = train(blobs(), activation=name, layers=[8, 8], epochs=15, learning_rate=0.02)
    first, last = first_and_last(run)
    assert last < 0.8 * first
    assert run.metrics["train"]["accuracy"] > 0.8


def test_a_network_of_every_kind_of_layer_trains():
    start = gg.Input()
    image = gg.nn.Conv2D(4, 3, padding="same", activation="relu")(start)
    image = gg.nn.MaxPool2D(2)(gg.nn.BatchNorm()(image))
    image = gg.nn.Concatenate()(image, gg.nn.AveragePool2D(2)(start))
    rows = gg.nn.SimpleRNN(6, last=True)(gg.nn.Reshape((4, -1))(image))
    pooled = gg.nn.Dense(6, "tanh")(gg.nn.GlobalAveragePool2D()(image))
    gate = gg.nn.Multiply()(rows, gg.nn.ActivationLayer("sigmoid")(pooled))
    total = gg.nn.LayerNorm()(gg.nn.Add()(gate, gg.nn.Dense(6)(gg.nn.Flatten()(image))))
    network = gg.functional(start, gg.nn.Dense(10)(gg.nn.Dropout(0.1)(total)))
    digits = gg.load_source("digits")
    images = digits.features[:200].reshape(-1, 8, 8, 1)
    run = train(gg.from_arrays(images, digits.targets[:200]), network=network, epochs=8, learning_rate=0.01)
    assert run.metrics["train"]["accuracy"] > 0.7


def test_an_embedding_learns_a_table():
    tokens = np.arange(60).reshape(-1, 1) % 6
    labels = np.array([0, 1, 1, 0, 1, 0])[tokens[:, 0]]
    network = gg.Sequential(gg.nn.Embedding(6, 3), gg.nn.Flatten(), gg.nn.Dense(1))
    data = gg.from_arrays(tokens, labels)
    run = train(data, network=network, scaling="none", epochs=30, learning_rate=0.1, **WHOLE)
    assert run.metrics["train"]["accuracy"] == 1.0
    with pytest.raises(gg.InputError, match=r"layer 'embedding_1' looks up whole numbers.* use scaling none"):
        train(data, network=network)


def test_float64_trains_in_float64():
    run = gg.train(blobs(), dtype="float64", epochs=1)
    assert {array.dtype.name for array in run.model.weights.values()} == {"float64"}


# --- schedules, plateaus -----------------------------------------------------------------------------------

SCHEDULE_SPECS = {
    "constant": "constant",
    "step": "step(2, 0.1)",
    "exponential": "exponential(0.5)",
    "cosine": "cosine",
    "warmup": "warmup(3)",
    "one_cycle": "one_cycle",
    "reduce_on_plateau": "reduce_on_plateau(0.5, 1, 0.9)",
}


def test_every_schedule_is_listed():
    assert set(SCHEDULE_SPECS) == set(SCHEDULES)


@pytest.mark.parametrize("spec", SCHEDULE_SPECS.values())
def test_the_program_uses_the_schedule(spec):
    run = train(blobs(), schedule=spec, epochs=6, learning_rate=0.3, optimizer="sgd", batch_size=16)
    steps = run.steps // 6
    factors = schedule(spec).factors(
        np.arange(6 * steps),
        total_steps=6 * steps,
        steps_per_epoch=steps,
        validation_losses=[record["validation_loss"] for record in run.history],
    )
    rates = [record["learning_rate"] for record in run.history]
    assert rates == pytest.approx(0.3 * factors[steps - 1 :: steps])
    if spec != "constant":
        assert len(set(rates)) > 1
        constant = train(blobs(), epochs=6, learning_rate=0.3, optimizer="sgd", batch_size=16)
        assert not same_bits(run.model.weights, constant.model.weights)


def test_a_learning_rate_of_zero_changes_nothing():
    options = {"optimizer": "sgd", "batch_size": 16, **WHOLE}
    start = train(blobs(), epochs=0, **options)
    assert same_bits(
        start.model.weights, train(blobs(), epochs=2, learning_rate=0.0, **options).model.weights
    )


def test_a_plateau_lowers_the_learning_rate():
    run = train(blobs(), schedule="reduce_on_plateau(0.5, 2)", epochs=8, learning_rate=0.0, optimizer="sgd")
    assert [record["learning_rate"] for record in run.history] == [0.0] * 8
    dataset = blobs()
    rough = train(
        dataset, schedule="reduce_on_plateau(0.1, 1)", epochs=20, learning_rate=3.0, optimizer="sgd"
    )
    rates = [record["learning_rate"] for record in rough.history]
    losses = [record["validation_loss"] for record in rough.history]
    assert rates[0] == 3.0
    assert rates[-1] < 1.0
    best = np.minimum.accumulate(losses)
    for epoch in range(1, 19):  # a rate falls only after an epoch that brought nothing
        assert rates[epoch + 1] == rates[epoch] or losses[epoch] >= best[epoch - 1] * (1 - 1e-3)


# --- parts of the data, and what is kept -------------------------------------------------------------------


def test_without_validation_and_test_all_rows_train():
    run = train(blobs(50), epochs=2, **WHOLE)
    assert run.rows == {"train": 50, "validation": 0, "test": 0}
    assert set(run.metrics) == {"train"}
    assert set(run.history[0]) == {"epoch", "learning_rate", "train_loss"}
    assert run.best_epoch is None


def test_shares_are_taken_one_after_the_other():
    run = train(blobs(100), epochs=0, test=0.5, validation=0.6)
    assert run.rows == {"train": 20, "validation": 30, "test": 50}


def test_the_best_epoch_or_the_last_is_kept():
    options = {"epochs": 25, "learning_rate": 0.3, "optimizer": "sgd", "batch_size": 8, "layers": [16]}
    data = blobs(60, seed=3)
    data.targets[::4] = 0  # labels that cannot be learned: it overfits
    best, last = (train(data, keep=keep, **options) for keep in ("best", "last"))
    losses = [record["validation_loss"] for record in best.history]
    assert best.best_epoch == 1 + int(np.argmin(losses)) < 25
    assert best.metrics["validation"]["loss"] == pytest.approx(min(losses), rel=1e-6)
    assert last.best_epoch is None
    assert last.metrics["validation"]["loss"] == pytest.approx(losses[-1], rel=1e-6)
    again = train(data, **(options | {"epochs": best.best_epoch}), keep="last")
    assert same_bits(again.model.weights, best.model.weights)


def test_no_epochs_leave_the_initial_weights():
    run = train(blobs(), epochs=0)
    assert run.status == "finished"
    assert run.history == []
    assert run.steps == 0
    assert set(run.metrics) == {"train", "validation", "test"}


def test_progress_reports_every_epoch_and_counts_the_steps():
    seen = []
    run = train(blobs(90), epochs=3, batch_size=10, progress=seen.append)
    records = [item for item in seen if item.record is not None]
    assert [dict(item.record) for item in records] == run.history
    assert [item.epoch for item in records] == [1, 2, 3]
    assert records[-1].steps == records[-1].total_steps == run.steps
    assert [item.steps for item in seen] == sorted(item.steps for item in seen)


def test_many_steps_run_in_several_calls_to_the_same_bits(monkeypatch):
    options = {
        "epochs": 3,
        "batch_size": 5,
        "network": gg.Sequential(gg.nn.Dense(4), gg.nn.Dropout(0.2), gg.nn.Dense(3)),
    }
    whole = gg.train(blobs(), **options)
    monkeypatch.setattr("glassgrad.training.pace.SECONDS_PER_CALL", 1e-9)
    monkeypatch.setattr("glassgrad.training.pace.BYTES_PER_SECOND", 1e15)
    calls = []
    parts = gg.train(blobs(), **options, progress=calls.append)
    later = [item.steps for item in calls if item.record is None and item.epoch > 1]
    # Each step is a call, once it is known how long one takes.
    assert later == list(range(whole.steps // 3 + 1, whole.steps + 1))
    assert same_bits(whole.model.weights, parts.model.weights)
    assert [r["train_loss"] for r in whole.history] == pytest.approx([r["train_loss"] for r in parts.history])


def test_a_run_stopped_in_its_first_epoch_is_not_evaluated():
    def stop(progress):
        raise KeyboardInterrupt

    run = gg.train(blobs(), epochs=3, progress=stop)
    assert (run.status, run.epochs, run.metrics) == ("interrupted", 0, {})
    assert gg.train(blobs(), epochs=0).metrics["test"]["loss"] > 0


def test_a_call_has_a_limited_duration(monkeypatch):
    """Steps take 10 ms by a clock of ours: a call of 0.1 s has ten, once that is known."""
    now = [0.0]
    monkeypatch.setattr("glassgrad.training.engine.time.perf_counter", lambda: now[0])
    lengths = []

    def run(self, feed):
        lengths.append(len(feed.order) // self.task.batch)
        now[0] += 0.01 * lengths[-1]
        return self.compiled.training.run(feed)

    monkeypatch.setattr("glassgrad.training.engine.Engine._run", run)
    done = gg.train(blobs(200), epochs=2, batch_size=1, validation=0, test=0)
    assert done.steps == 400
    assert lengths[0] == 200  # so small a network seemed to be fast
    assert max(lengths[1:]) <= 10
    assert sum(lengths) == 400


def test_the_first_call_of_a_large_network_is_short(monkeypatch):
    lengths = []

    def run(self, feed):
        lengths.append(len(feed.order) // self.task.batch)
        return self.compiled.training.run(feed)

    monkeypatch.setattr("glassgrad.training.engine.Engine._run", run)
    gg.train(blobs(600), layers=[600, 600], optimizer="sgd", epochs=1, batch_size=60, validation=0, test=0)
    assert lengths[0] == 5  # of 10: 364,203 weights and 60 rows, 13 ms a step
    assert sum(lengths) == 10


# --- clipping ----------------------------------------------------------------------------------------------


def test_the_norm_of_a_step_is_clipped():
    options = {"optimizer": "sgd", "learning_rate": 1.0, "batch_size": 200, "dtype": "float64", **WHOLE}
    start = train(surface(), epochs=0, **options).model.weights

    def moved(**more):
        end = train(surface(), epochs=1, **options, **more).model.weights
        return np.sqrt(sum(np.sum((end[name] - start[name]) ** 2) for name in start))

    free = moved()
    assert moved(clip_norm=free / 3) == pytest.approx(free / 3, rel=1e-9)
    assert moved(clip_norm=free * 3) == free
    assert moved(clip_value=1e-4) <= 1e-4 * np.sqrt(sum(array.size for array in start.values())) * 1.000001


# --- the run -----------------------------------------------------------------------------------------------


def test_a_run_folder_describes_the_training(tmp_path):
    network = gg.Sequential(gg.nn.Dense(4, "tanh"), gg.nn.Dense(3))
    run = gg.train(blobs(), network=network, epochs=2, optimizer="sgd(momentum=0.9)", clip_norm=1.0)
    run.save(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["network"] == network.to_document()
    assert config.pop("source")["source"] is None, "these rows came from no file"
    again = gg.train(blobs(), gg.Settings(**config))
    assert same_bits(again.model.weights, run.model.weights)
    with pytest.raises(gg.InputError, match="not empty"):
        run.save(tmp_path / "run")


def test_settings_accept_numpy_numbers_and_a_single_item_for_a_list():
    settings = gg.Settings(
        layers=np.int64(8), learning_rate=np.float32(0.5), freeze="dense_1", epochs=np.int32(3)
    )
    assert settings == gg.Settings(layers=(8,), learning_rate=0.5, freeze=("dense_1",), epochs=3)
    assert gg.Settings(layers=np.array([4, 5])).layers == (4, 5)
    json.dumps(settings.to_document())
    assert gg.train(blobs(), settings).epochs == 3


BAD = [
    ({"layers": [0]}, "layers: entry 1 must be a whole number from 1"),
    ({"layers": None}, "layers must be a list, not None"),
    ({"learning_rat": 0.1}, "unknown option 'learning_rat'; did you mean 'learning_rate'"),
    ({"learning_rate": -1}, "learning_rate must be a number of at least 0, not -1"),
    ({"learning_rate": float("nan")}, "learning_rate"),
    ({"momentum": 1.0, "optimizer": "sgd"}, "momentum must be a number of at least 0 and below 1"),
    ({"momentum": 0.5}, "momentum 0.5 is not an option of 'adam'; use it with .*sgd"),
    ({"optimizer": "adamm"}, "unknown optimizer 'adamm'; did you mean 'adam'"),
    ({"optimizer": "adam("}, "not of the form"),
    ({"activation": "rellu"}, "did you mean 'relu'"),
    ({"init": "he_norml"}, "did you mean 'he_normal'"),
    ({"loss": "msee"}, "did you mean 'mse'"),
    ({"schedule": "cosin"}, "did you mean 'cosine'"),
    ({"epochs": -1}, "epochs must be a whole number from 0"),
    ({"epochs": 2.0}, "epochs must be a whole number"),
    ({"batch_size": 0}, "batch_size must be a whole number from 1"),
    ({"validation": 1.0}, "validation must be a number of at least 0 and below 1"),
    ({"test": -0.1}, "test must be"),
    ({"seed": -1}, "seed must be a whole number from 0"),
    ({"keep": "first"}, "unknown keep 'first'"),
    ({"scaling": "minmax"}, "unknown scaling 'minmax'"),
    ({"dtype": "float16"}, "unknown dtype 'float16'"),
    ({"backend": "nativ"}, "unknown backend 'nativ'"),
    ({"clip_norm": 0}, "clip_norm must be a number above 0, or None, not 0"),
    ({"clip_value": -1.0}, "clip_value must be a number above 0"),
    (
        {"schedule": "reduce_on_plateau", "validation": 0},
        "needs the validation loss; set validation",
    ),
    ({"schedule": "warmup(2, 'reduce_on_plateau')", "validation": 0}, "needs the validation loss"),
    ({"init_layers": ["dense_1"]}, "name it with init_from"),
    ({"freeze": ["dens_1"]}, "unknown layer 'dens_1'; did you mean 'dense_1'"),
    ({"network": {"layers": [{"type": "dens"}]}}, "layer 1: unknown layer 'dens'"),
    ({"network": {"layer": []}}, "unknown entry 'layer'"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_invalid_options_are_refused_in_one_line(options, message):
    with pytest.raises(gg.InputError, match=message) as caught:
        train(blobs(), **options)
    assert "\n" not in str(caught.value)


def test_the_arguments_of_train_are_checked():
    with pytest.raises(gg.InputError, match="either settings or options, not both"):
        train(blobs(), gg.Settings(), epochs=3)
    with pytest.raises(gg.InputError, match=r"not tuple; use from_arrays\(X, y\)"):
        train((np.ones((3, 2)), np.ones(3)))
    with pytest.raises(gg.InputError, match=r"network must be a network"):
        train(blobs(), network=gg.nn.Dense(3))
    with pytest.raises(
        gg.InputError,
        match=r"network has outputs of shape .4., but loss .* needs .3.; make its last layer .now",
    ):
        train(blobs(), network=gg.Sequential(gg.nn.Dense(4)))


def test_the_rows_are_split_once_and_carried_with_the_run(monkeypatch):
    calls = []

    def counted(*arguments, **options):
        calls.append(arguments)
        return split(*arguments, **options)

    monkeypatch.setattr("glassgrad.training.task.split", counted)
    run = train(blobs(), layers=[4], epochs=1)
    rows = unseen_rows(run)
    assert len(rows.targets) == len(run.task.parts.test[1]) == run.rows["test"]
    assert run.split is run.task.parts.split
    features, _ = scored_rows(run, run.dataset)
    assert np.array_equal(features, run.task.parts.test[0])
    assert len(calls) == 1
