"""Callbacks: when they are called, and what they can do."""

from __future__ import annotations

import numpy as np
import pytest

import glassgrad as gg
from training.small import blobs, same_bits

SMALL = {"layers": [6], "batch_size": 16, "epochs": 6}


class Recorder(gg.Callback):
    """Writes down every call."""

    def __init__(self, every_steps: int | None = None) -> None:
        self.every_steps = every_steps
        self.calls: list[tuple[str, int]] = []

    def on_start(self, trainer: gg.Trainer) -> None:
        self.calls.append(("start", trainer.step))

    def on_steps(self, trainer: gg.Trainer) -> None:
        self.calls.append(("steps", trainer.step))

    def on_epoch_end(self, trainer: gg.Trainer) -> None:
        self.calls.append(("epoch", trainer.step))
        assert trainer.history[-1]["epoch"] == trainer.epochs_done

    def on_stop(self, trainer: gg.Trainer) -> None:
        self.calls.append(("stop", trainer.step))


def test_callbacks_are_called_in_order_and_change_no_bit() -> None:
    recorder = Recorder(every_steps=3)
    run = gg.train(blobs(), callbacks=[recorder], **(SMALL | {"epochs": 2}))
    each = run.steps // 2
    steps = {("steps", step) for step in range(3, run.steps + 1, 3)}
    assert recorder.calls[0] == ("start", 0)
    assert recorder.calls[-1] == ("stop", run.steps)
    assert set(recorder.calls[1:-1]) == steps | {("epoch", each), ("epoch", 2 * each)}
    assert [step for _, step in recorder.calls] == sorted(step for _, step in recorder.calls)
    assert same_bits(run.model.weights, gg.train(blobs(), **(SMALL | {"epochs": 2})).model.weights)


def test_on_stop_is_called_once_however_the_training_ends() -> None:
    for options in ({}, {"learning_rate": 1e30, "optimizer": "sgd"}):
        recorder = Recorder()
        trainer = gg.Trainer(blobs(), callbacks=[recorder], **(SMALL | options))
        trainer.advance(steps=trainer.total_steps)
        assert recorder.calls[-1][0] == "stop"
        trainer.run()
        trainer.run()
        assert [name for name, _ in recorder.calls].count("stop") == 1


def test_a_custom_callback_changes_the_learning_rate() -> None:
    class Halve(gg.Callback):
        def on_epoch_end(self, trainer: gg.Trainer) -> None:
            trainer.learning_rate /= 2

    run = gg.train(
        blobs(), callbacks=[Halve()], learning_rate=0.08, schedule="constant", **(SMALL | {"epochs": 3})
    )
    assert [record["learning_rate"] for record in run.history] == [0.08, 0.04, 0.02]
    assert same_bits(gg.replay(run).model.weights, run.model.weights)


def test_early_stopping_ends_after_epochs_without_a_better_loss() -> None:
    options = SMALL | {"epochs": 400, "learning_rate": 0.05, "schedule": "constant"}
    run = gg.train(blobs(), callbacks=[gg.EarlyStopping(5)], **options)
    losses = [record["validation_loss"] for record in run.history]
    best = 1 + int(np.argmin(losses))
    assert run.status == "finished"
    assert run.epochs == len(losses) == best + 5 < 400
    assert run.best_epoch == best
    assert run.stopped == f"no better validation loss in 5 epochs; the best was in epoch {best}"


def test_early_stopping_on_a_metric_where_higher_is_better() -> None:
    options = SMALL | {"epochs": 60, "learning_rate": 0.05}
    run = gg.train(blobs(), callbacks=[gg.EarlyStopping(4, "accuracy")], **options)
    values = [record["validation_accuracy"] for record in run.history]
    assert len(values) == 1 + int(np.argmax(values)) + 4


@pytest.mark.parametrize(
    ("callback", "options", "message"),
    [
        (lambda: gg.EarlyStopping(0), {}, "patience must be a whole number of at least 1"),
        (lambda: gg.EarlyStopping(2, "acuracy"), {}, "did you mean 'accuracy'"),
        (lambda: gg.EarlyStopping(2), {"validation": 0}, "early stopping needs validation rows"),
        (lambda: gg.MaxTime(0), {}, "max_time must be a number of seconds above 0"),
        (lambda: gg.AveragedModel(1.0), {}, "decay must be a number"),
    ],
)
def test_invalid_callbacks_are_refused(callback, options, message: str) -> None:
    with pytest.raises(gg.InputError, match=message):
        gg.train(blobs(), callbacks=[callback()], **(SMALL | options))


def test_max_time_ends_a_long_training() -> None:
    run = gg.train(blobs(), callbacks=[gg.MaxTime(0.05)], **(SMALL | {"epochs": 10**6}))
    assert run.status == "finished"
    assert run.stopped == "the time limit of 0.05 seconds is reached"
    assert run.seconds_training >= 0.05
    assert run.epochs < 10**6


@pytest.mark.parametrize("decay", [0.7, None])
def test_an_averaged_model_averages_the_weights_of_the_epochs(decay: float | None) -> None:
    average = gg.AveragedModel(decay)
    trainer = gg.Trainer(blobs(), callbacks=[average], learning_rate=0.05, **SMALL)
    with pytest.raises(gg.InputError, match="no weights have been averaged yet"):
        average.model(trainer)
    kept = []
    for _ in range(4):
        trainer.advance(epochs=1)
        kept.append(trainer.state.weights)
    for name, array in average.model(trainer).weights.items():
        expected = kept[0][name]
        for weights in kept[1:]:
            expected = decay * expected + (1 - decay) * weights[name] if decay else expected
        if decay is None:
            expected = np.mean([weights[name] for weights in kept], axis=0)
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-7)
        assert array.dtype == np.float32
    assert average.model(trainer).evaluate(blobs().features, blobs().targets)["accuracy"] > 0.7


@pytest.mark.parametrize("cuts", [(100,), (7, 1, 100)])
def test_a_callback_of_every_step_is_called_after_every_step(cuts: tuple[int, ...]) -> None:
    recorder = Recorder(every_steps=1)
    trainer = gg.Trainer(blobs(), callbacks=[recorder], validation=0, **SMALL)
    for count in cuts:
        trainer.advance(steps=count)
    steps = [step for name, step in recorder.calls if name == "steps"]
    assert steps == list(range(1, trainer.total_steps + 1))


@pytest.mark.parametrize("every_steps", [0, -3, 1.5, True])
def test_a_wrong_interval_of_steps_is_refused(every_steps: object) -> None:
    with pytest.raises(gg.InputError, match="every_steps must be"):
        gg.AveragedModel(every_steps=every_steps)
    with pytest.raises(gg.InputError, match="every_steps must be"):
        gg.Trainer(blobs(), callbacks=[Recorder(every_steps)], **SMALL)


@pytest.mark.parametrize("callbacks", [Recorder(), [Recorder], ["early stopping"], 3])
def test_callbacks_that_are_none_are_refused(callbacks: object) -> None:
    with pytest.raises(gg.InputError, match="callbacks"):
        gg.Trainer(blobs(), callbacks=callbacks, **SMALL)
