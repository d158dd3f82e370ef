"""``Trainer``: stepping, reading and interrupting a training does not change its bits."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.training.compiled import Programs
from glassgrad.training.engine import Engine
from training.small import blobs, same_bits, surface

BACKENDS = ("reference", "native", "xla")
SMALL = {"layers": [6], "batch_size": 16, "epochs": 6}
OPTIMIZERS = (
    "sgd(0.05)",
    "sgd(0.05, momentum=0.9)",
    "sgd(0.05, momentum=0.9, nesterov=True)",
    "adam",
    "adamw",
    "rmsprop",
    "adagrad",
)
SCHEDULES = (
    "constant",
    "step(2, 0.5)",
    "exponential(0.9)",
    "cosine",
    "warmup(1.5)",
    "one_cycle",
    "reduce_on_plateau(patience=1)",
)


def images(rows: int = 70) -> gg.Dataset:
    digits = gg.load_source("digits")
    return gg.from_arrays(digits.features[:rows] / 16.0, digits.targets[:rows])


def convolution() -> gg.Network:
    return gg.Sequential(
        gg.nn.Reshape((8, 8, 1)),
        gg.nn.Conv2D(3, 3),
        gg.nn.BatchNorm(),
        gg.nn.ActivationLayer("relu"),
        gg.nn.Flatten(),
        gg.nn.Dropout(0.3),
        gg.nn.Dense(10),
    )


def same_state(a: gg.Trainer, b: gg.Trainer) -> bool:
    return (
        a.step == b.step
        and same_bits(a.state.weights, b.state.weights)
        and same_bits(a.state.statistics, b.state.statistics)
        and same_bits(a.state.slots, b.state.slots)
        and a.step_losses.tobytes() == b.step_losses.tobytes()
        and a.history == b.history
    )


# --- stepping ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_can_be_divided_anywhere(backend: str) -> None:
    """Convolution, batch normalization, dropout, a partial last batch, and lenses."""
    options = {"network": convolution(), "batch_size": 16, "epochs": 4, "watch": True, "backend": backend}
    whole, parts = gg.Trainer(images(), **options), gg.Trainer(images(), **options)
    assert whole.steps_per_epoch == 4
    assert whole.advance(steps=14) == 14
    for count in (1, 3, 0, 5, 5):
        assert parts.advance(steps=count) == count
    assert same_state(whole, parts)
    one, other = whole.run(), parts.run()
    assert same_bits(one.model.weights, other.model.weights)
    assert one.lenses is not None
    assert other.lenses is not None
    assert one.lenses.document() == other.lenses.document()
    assert same_bits(one.model.weights, gg.train(images(), **options).model.weights)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_continues_where_it_stopped(optimizer: str) -> None:
    whole, parts = (gg.Trainer(blobs(), optimizer=optimizer, **SMALL) for _ in range(2))
    whole.advance(steps=23)
    parts.advance(steps=9)
    parts.advance(epochs=2)
    parts.advance(steps=4)
    assert same_state(whole, parts)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_continues_where_it_stopped(schedule: str) -> None:
    options = {"schedule": schedule, "learning_rate": 0.2, "optimizer": "sgd", **SMALL}
    whole, parts = (gg.Trainer(blobs(), **options) for _ in range(2))
    whole.advance(steps=whole.total_steps)
    while parts.advance(steps=2):
        pass
    assert whole.ended
    assert parts.ended
    assert same_state(whole, parts)


def test_one_thread_and_two_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    from glassgrad.backends.native.backend import NativeBackend

    trainers = [
        gg.Trainer(images(), layers=[32], epochs=3, backend=NativeBackend(threads=count)) for count in (1, 2)
    ]
    for trainer in trainers:
        trainer.advance(steps=5)
        trainer.advance(steps=2)
    assert same_state(*trainers)


def test_advance_by_epochs_and_seconds() -> None:
    trainer = gg.Trainer(blobs(), **SMALL)
    each = trainer.steps_per_epoch
    assert trainer.advance(epochs=2) == 2 * each
    assert trainer.epochs_done == 2
    assert trainer.advance(seconds=1e-9) >= 0
    assert trainer.advance(seconds=60) > 0
    assert trainer.ended
    assert trainer.advance(steps=5) == 0
    assert trainer.seconds > 0


@pytest.mark.parametrize(
    "wrong", [{}, {"steps": 1, "epochs": 1}, {"steps": -1}, {"steps": 1.5}, {"steps": True}, {"seconds": "1"}]
)
def test_advance_refuses_invalid_amounts(wrong: dict[str, object]) -> None:
    trainer = gg.Trainer(blobs(), **SMALL)
    with pytest.raises(gg.InputError, match="advance takes"):
        trainer.advance(**wrong)
    assert trainer.step == 0


def test_the_seconds_of_a_training_leave_compilation_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of ours: compiling takes 100 seconds, and each call of the step one."""
    now = [0.0]
    monkeypatch.setattr("glassgrad.training.trainer.time.perf_counter", lambda: now[0])
    compiled, run = Programs.compiled, Engine._run

    def slow_compile(self, *args):
        result = compiled(self, *args)
        now[0] += 100.0
        result.training.seconds_compiling = 100.0
        return result

    def slow_run(self, feed):
        now[0] += 1.0
        return run(self, feed)

    monkeypatch.setattr(Programs, "compiled", slow_compile)
    monkeypatch.setattr(Engine, "_run", slow_run)
    trainer = gg.Trainer(blobs(), backend="reference", **SMALL)
    trainer.advance(epochs=2)
    calls = trainer.seconds
    assert 2 <= calls <= 2 * trainer.steps_per_epoch
    assert trainer.run().seconds_training == pytest.approx(trainer.seconds)


# --- reading -----------------------------------------------------------------------------------------------


def test_everything_can_be_read_at_any_time() -> None:
    trainer = gg.Trainer(surface(), **SMALL)
    first = trainer.evaluate("validation")["loss"]
    trainer.advance(steps=trainer.total_steps - 1)
    assert trainer.evaluate()["loss"] < first
    assert len(trainer.step_losses) == trainer.step
    assert [record["epoch"] for record in trainer.history] == list(range(1, 6))
    assert trainer.model.predict(surface().features[:3]).shape == (3,)
    with pytest.raises(gg.InputError, match="unknown part of the data 'tests'; did you mean 'test'"):
        trainer.evaluate("tests")


def test_epoch_losses_are_means_of_step_losses() -> None:
    run = gg.train(blobs(64), validation=0, test=0, **SMALL)
    assert run.step_losses is not None
    means = run.step_losses.reshape(6, 4).mean(axis=1)
    np.testing.assert_allclose(means, [record["train_loss"] for record in run.history], rtol=1e-5)


def test_a_model_does_not_change_when_training_continues() -> None:
    trainer = gg.Trainer(blobs(), **SMALL)
    model = trainer.model
    before = {name: array.copy() for name, array in model.weights.items()}
    trainer.advance(epochs=1)
    assert same_bits(model.weights, before)
    assert not same_bits(trainer.model.weights, before)


# --- changing ----------------------------------------------------------------------------------------------


def test_a_changed_learning_rate_applies_from_the_next_step_and_is_replayed(tmp_path) -> None:
    options = {"optimizer": "sgd(momentum=0.9)", "learning_rate": 0.1, "schedule": "constant", **SMALL}
    trainer = gg.Trainer("digits", **options)
    trainer.advance(steps=37)
    trainer.learning_rate = 0.01
    trainer.set(momentum=0.5)
    run = trainer.run()
    assert run.changes == ((37, "learning_rate", 0.01), (37, "momentum", 0.5))
    assert run.history[-1]["learning_rate"] == 0.01
    plain = gg.train("digits", **options)
    assert run.step_losses[:37].tobytes() == plain.step_losses[:37].tobytes()
    assert run.step_losses[38] != plain.step_losses[38]
    assert same_bits(gg.replay(run).model.weights, run.model.weights)
    run.save(tmp_path / "run")
    again = gg.replay(tmp_path / "run")
    assert same_bits(again.model.weights, run.model.weights)
    assert again.changes == run.changes


def test_only_hyperparameters_can_be_set_as_attributes() -> None:
    trainer = gg.Trainer(blobs(), optimizer="sgd(momentum=0.9)", clip_norm=2.0, **SMALL)
    trainer.momentum = 0.5
    trainer.clip_norm = 1.0
    assert (trainer.momentum, trainer.clip_norm) == (0.5, 1.0)
    assert [name for _, name, _ in trainer.changes] == ["momentum", "clip_norm"]
    with pytest.raises(gg.InputError, match="did you mean 'momentum'"):
        trainer.momentun = 0.9
    with pytest.raises(AttributeError, match="no attribute 'momentun'"):
        _ = trainer.momentun


def test_a_trainer_without_engine_raises_a_clear_attribute_error() -> None:
    trainer = gg.Trainer.__new__(gg.Trainer)
    with pytest.raises(AttributeError, match="not initialized, so it has no attribute 'learning_rate'"):
        _ = trainer.learning_rate
    with pytest.raises(AttributeError, match="not initialized"):
        trainer.learning_rate = 0.1
    assert not hasattr(trainer, "__setstate__")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_trainer_cannot_be_copied_or_pickled(duplicate: Callable[[gg.Trainer], object]) -> None:
    with pytest.raises(TypeError, match=r"a Trainer cannot be copied or pickled; use trainer\.fork\(\)"):
        duplicate(gg.Trainer(blobs(), **SMALL))


def test_restoring_a_snapshot_undoes_later_changes() -> None:
    trainer = gg.Trainer(blobs(), learning_rate=0.02, **SMALL)
    trainer.advance(steps=3)
    snapshot = trainer.snapshot()
    trainer.learning_rate = 0.5
    trainer.restore(snapshot)
    assert trainer.learning_rate == 0.02
    assert trainer.changes == ()


def test_two_changes_before_one_step_are_recorded_once() -> None:
    trainer = gg.Trainer(blobs(), **SMALL)
    trainer.learning_rate = 0.1
    trainer.learning_rate = 0.2
    assert trainer.changes == ((0, "learning_rate", 0.2),)
    assert trainer.hyperparameters["learning_rate"] == 0.2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rat": 0.1}, "did you mean 'learning_rate'"),
        ({"momentum": 0.9}, "unknown hyperparameter of this training 'momentum'"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"clip_norm": 1.0}, "unknown hyperparameter of this training 'clip_norm'"),
    ],
)
def test_an_invalid_change_is_refused(values: dict[str, float], message: str) -> None:
    trainer = gg.Trainer(blobs(), **SMALL)
    with pytest.raises(gg.InputError, match=message):
        trainer.set(**values)
    assert trainer.changes == ()


# --- interruption ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "method"),
    [(gg.Trainer, "_call"), (gg.Trainer, "_close_epochs"), (Engine, "_run"), (Engine, "call")],
)
def test_an_interrupted_training_continues_to_the_same_bits(monkeypatch, owner: type, method: str) -> None:
    whole = gg.train(blobs(), watch=True, **SMALL)
    trainer = gg.Trainer(blobs(), watch=True, **SMALL)
    original, calls = getattr(owner, method), []

    def interrupted(self, *args):
        result = original(self, *args)
        calls.append(1)
        if len(calls) % 3 == 0 and len(calls) < 15:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, method, interrupted)
    interruptions = 0
    while True:
        run = trainer.run()
        if run.status == "finished":
            break
        interruptions += 1
    assert interruptions >= 2
    assert same_bits(run.model.weights, whole.model.weights)
    assert run.history == whole.history
    assert run.lenses.document() == whole.lenses.document()


def test_a_bound_on_the_gradients_cannot_be_taken_away() -> None:
    trainer = gg.Trainer(blobs(), clip_norm=1.0, **SMALL)
    with pytest.raises(gg.InputError, match="clip_norm must be a finite number"):
        trainer.clip_norm = None
    assert trainer.hyperparameters["clip_norm"] == 1.0
