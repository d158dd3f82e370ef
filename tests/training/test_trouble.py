"""NaN, Inf and Ctrl-C: a run ends with its last good weights, and names the step and layer where NaN began."""

from __future__ import annotations

import re
import signal
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.backends.base import Feed
from glassgrad.common.orders import epoch_order
from glassgrad.training import engine, loop, trainer
from glassgrad.training.backends import backend
from glassgrad.training.programs import training_program
from training.small import blobs, same_bits, surface, train

WHOLE = {"validation": 0, "test": 0, "optimizer": "sgd", "schedule": "constant"}


def named(run):
    """Step and place in the message."""
    assert run.status == "diverged"
    found = re.match(
        r"training met NaN or Inf at step (\d+) \(from 0\): it began in (.*?); the last", run.message
    )
    assert found is not None, run.message
    return int(found[1]), found[2]


def is_finite(model):
    return all(np.isfinite(array).all() for array in (*model.weights.values(), *model.statistics.values()))


def replay(data, epochs, batch, **options):
    """The losses and weights of every step, one at a time, from the same start; it knows of no chunks."""
    run = gg.train(data, epochs=0, batch_size=batch, **WHOLE, **options)
    model, settings = run.model, run.settings
    program = training_program(
        model.network,
        model.schema.feature_shape,
        model.loss,
        settings.resolved_optimizer,
        batch=batch,
        targets=1,
    )
    executable = backend(settings.backend).compile(program)
    arrays = {
        "features": model.prepare(data.features),
        "targets": model.schema.encode_targets(data.targets, "float32"),
    }
    weights, history, step = model.weights, [], 0
    for epoch in range(1, epochs + 1):
        order = epoch_order(len(data.targets), seed=0, epoch=epoch)
        for begin in range(0, len(order), batch):
            rows = order[begin : begin + batch]
            feed = Feed(arrays, rows, weights, {}, settings.resolved_optimizer.hyperparameters(), 0, step)
            result = executable.run(feed)
            history.append((float(result.outputs["loss"][0]), weights, result.params))
            weights, step = result.params, step + 1
    return history


def first_bad(history):
    for step, (loss, _, after) in enumerate(history):
        if not np.isfinite(loss) or not all(np.isfinite(array).all() for array in after.values()):
            return step
    raise AssertionError("all steps are finite")


# --- the step ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [30.0, 1e3, 1e10, 1e30])
@pytest.mark.parametrize("batch", [8, 80])
@pytest.mark.parametrize("seconds", [0.1, 1e-9])
def test_an_absurd_learning_rate_ends_with_finite_weights_and_the_right_step(
    monkeypatch, rate, batch, seconds
):
    monkeypatch.setattr(
        "glassgrad.training.pace.SECONDS_PER_CALL", seconds
    )  # a step each, in the second case
    monkeypatch.setattr("glassgrad.training.pace.BYTES_PER_SECOND", 1e15)
    data = surface()
    run = gg.train(data, learning_rate=rate, batch_size=batch, epochs=40, layers=[4], **WHOLE)
    step, _ = named(run)
    steps_per_epoch = 80 // batch
    history = replay(data, step // steps_per_epoch + 1, batch, learning_rate=rate, layers=[4])
    assert step == first_bad(history)
    assert run.epochs == len(run.history) == step // steps_per_epoch
    assert is_finite(run.model)
    # The weights kept are the last that gave a finite loss.
    loss_is_good = np.isfinite(history[step][0])
    kept = history[step][1] if loss_is_good else history[step - 1][1]
    assert same_bits(run.model.weights, kept)


def test_state_that_overflows_while_the_loss_is_finite_is_found_at_its_step():
    """One row makes Adam's second moment infinite: no loss ever shows it, and all later steps are zero."""
    data = surface(60)
    data.features[:, 1] = 0
    data.features[23, 1] = 1e24
    network = gg.Sequential(gg.nn.Dense(1, init="constant(1e-24)"))
    run = gg.train(
        data, network=network, scaling="none", batch_size=4, epochs=3, **(WHOLE | {"optimizer": "adam"})
    )
    step, where = named(run)
    place = int(np.flatnonzero(epoch_order(60, seed=0, epoch=1) == 23)[0])
    assert step == place // 4
    assert where == "the update of dense_1 (multiply)"
    assert is_finite(run.model)
    assert np.isfinite(run.metrics["train"]["loss"])


# --- the layer ---------------------------------------------------------------------------------------------


def test_an_overflow_of_the_forward_pass_is_named_by_its_layer():
    big = "constant(1e25)"
    network = gg.Sequential(
        gg.nn.Dense(3, "relu"),
        ("first", gg.nn.Dense(3, init=big)),
        ("second", gg.nn.Dense(3, init=big)),
        gg.nn.Dense(3),
    )
    run = train(blobs(), network=network, epochs=1, **WHOLE)
    assert named(run) == (0, "the forward pass of second (matmul)")


@dataclass(frozen=True)
class Root(gg.nn.Layer):
    """sqrt(|x|): finite, with an infinite slope at 0."""

    def output_shape(self, inputs):
        return inputs[0]

    def build(self, context, inputs, weights, state):
        return gg.ops.sqrt(gg.ops.absolute(inputs[0])), {}


def test_an_infinite_slope_is_named_by_its_layer():
    network = gg.Sequential(gg.nn.Dense(3), gg.nn.Dense(3, init="zeros"), ("root", Root()), gg.nn.Dense(3))
    run = train(blobs(), network=network, epochs=1, **WHOLE)
    step, where = named(run)
    assert step == 0
    assert re.fullmatch(r"the gradient of root \(\w+\)", where)
    start = train(blobs(), network=network, epochs=0, **WHOLE)
    assert same_bits(run.model.weights, start.model.weights)


def test_values_that_are_infinite_in_good_steps_are_not_blamed():
    """A log of 0 that a select throws away is no trouble."""

    @dataclass(frozen=True)
    class Guarded(Root):
        def build(self, context, inputs, weights, state):
            (x,) = inputs
            zero = x * 0.0
            return gg.ops.select(gg.ops.less(gg.ops.log(gg.ops.stop_gradient(zero)), 0.0), x, 0.0), {}

    network = gg.Sequential(("odd", Guarded()), ("here", gg.nn.Dense(1)))
    run = train(surface(), network=network, learning_rate=1e10, epochs=5, batch_size=20, **WHOLE)
    step, where = named(run)
    assert step > 0
    assert "odd" not in where
    assert re.search(r"here|loss|update", where)


def test_clipping_or_a_lower_learning_rate_prevents_divergence():
    options = {"learning_rate": 2.0, "epochs": 20, "layers": [8], "batch_size": 8, **WHOLE}
    assert train(surface(), **options, init="normal(3.0)").status == "diverged"
    assert train(surface(), **options, init="normal(3.0)", clip_norm=0.1).status == "finished"


# --- what is kept ------------------------------------------------------------------------------------------


def test_a_diverged_run_keeps_its_best_epoch_and_can_be_saved(tmp_path):
    rising = {"schedule": "warmup(50)", "learning_rate": 5.0, "optimizer": "sgd"}
    run = train(surface(), epochs=50, batch_size=8, layers=[4], **rising)
    assert run.status == "diverged"
    assert run.best_epoch is not None
    losses = [record["validation_loss"] for record in run.history]
    assert run.metrics["validation"]["loss"] == pytest.approx(min(losses), rel=1e-6)
    run.save(tmp_path / "run")
    assert gg.load_model(tmp_path / "run").training["status"] == "diverged"


def test_a_run_with_metrics_that_are_not_finite_can_be_saved(tmp_path):
    big = "constant(1e25)"
    network = gg.Sequential(gg.nn.Dense(3, init=big), gg.nn.Dense(1, init=big))
    run = train(surface(), network=network, epochs=1)
    assert run.status == "diverged"
    assert not np.isfinite(run.metrics["train"]["loss"])
    run.save(tmp_path / "run")
    assert gg.load_model(tmp_path / "run").metrics["train"]["loss"] is None


def test_a_validation_loss_that_is_not_a_number_is_never_the_best(monkeypatch):
    evaluate = gg.Model.evaluate_prepared
    seen = []

    def spoiled(self, features, targets, *metrics):
        found = evaluate(self, features, targets, *metrics)
        seen.append(1)
        return found | {"loss": float("nan")} if len(seen) == 1 else found

    monkeypatch.setattr(gg.Model, "evaluate_prepared", spoiled)
    assert train(blobs(), epochs=4).best_epoch > 1


# --- Ctrl-C ------------------------------------------------------------------------------------------------


def stop_at(epoch, whole):
    def progress(item):
        if item.epoch == epoch and (item.record is not None) == whole:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize(("whole", "done"), [(True, 3), (False, 2)])
def test_an_interrupted_run_ends_with_its_last_good_weights(tmp_path, whole, done):
    options = {"layers": [8], "keep": "last", "batch_size": 8}
    run = train(blobs(), epochs=50, progress=stop_at(3, whole), **options)
    assert run.status == "interrupted"
    assert run.message == "stopped in epoch 3; the last good weights are kept"
    assert run.epochs == len(run.history) == done
    assert set(run.metrics) == {"train", "validation", "test"}
    shorter = train(blobs(), epochs=done, **options)
    assert same_bits(run.model.weights, shorter.model.weights)
    run.save(tmp_path / "run")
    assert gg.load_model(tmp_path / "run").training["status"] == "interrupted"


@pytest.fixture
def python_handler():
    """Python's own handler of Ctrl-C, as in a notebook; a job in the background has none."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def ctrl_c_before_instruction(number, **options):
    """Train with Ctrl-C before that instruction of the training: the run, or the number of epochs that are lost.

    Without any compiling, and without the few instructions between the end of the work and the return to the caller.
    """
    count, epochs, begun = 0, [], False

    def trace(frame, event, _):
        nonlocal count, begun
        if frame.f_code.co_filename not in (engine.__file__, loop.__file__, trainer.__file__):
            return None
        begun = begun or frame.f_code.co_name == "_advance_to"
        if not begun:
            return None if frame.f_code.co_name not in ("run", "_run_to_the_end") else trace
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_code.co_name not in ("run", "train"):
            count += 1
            if count == number:
                signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        return train(blobs(), progress=lambda item: epochs.append(item.epoch), **options)
    except KeyboardInterrupt:
        return len(epochs)
    finally:
        sys.settrace(None)
        if count < number:
            ctrl_c_before_instruction.over = True


def test_ctrl_c_at_any_moment_loses_no_run(python_handler):
    options = {"layers": [4], "backend": "reference", "epochs": 2, "keep": "last"}
    ctrl_c_before_instruction.over, number, ends = False, 1, set()
    while True:
        run = ctrl_c_before_instruction(number, **options)
        if ctrl_c_before_instruction.over:
            break
        assert isinstance(run, gg.Run), f"instruction {number}: lost after {run} epochs"
        assert run.status == "interrupted"
        assert len(run.history) == run.epochs
        ends.add(run.epochs)
        number += 29
    assert number > 1000, "hardly any instruction was traced"
    assert ends == {0, 1, 2}


def test_a_signal_handler_of_the_user_ends_a_training_between_two_calls(python_handler):
    class Enough(Exception):
        pass

    def handler(number, frame):
        raise Enough

    seen = []

    def progress(item):
        if not seen:
            signal.raise_signal(signal.SIGINT)
        seen.append(item.epoch)

    signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(Enough):
            train(blobs(), epochs=50, layers=[4], backend="reference", progress=progress)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert set(seen) == {1}


def test_an_interrupted_run_keeps_the_best_epoch_with_the_one_just_ended():
    run = train(blobs(), epochs=50, learning_rate=0.02, progress=stop_at(3, True))
    losses = [record["validation_loss"] for record in run.history]
    assert run.best_epoch == 1 + int(np.argmin(losses))
    assert run.metrics["validation"]["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_an_error_in_progress_is_not_swallowed():
    def progress(item):
        raise RuntimeError("the screen is gone")

    with pytest.raises(RuntimeError, match="the screen is gone"):
        train(blobs(), epochs=2, progress=progress)
