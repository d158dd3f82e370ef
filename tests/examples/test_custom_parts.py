"""The example of custom parts: its claims, and that its parts work like those of the package."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.training.register import REGISTRIES
from registries import restore_afterwards

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_parts.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture
def registered(example, monkeypatch):
    """The example with its parts registered for one test only: other tests count the registered names."""
    for registry in REGISTRIES.values():
        restore_afterwards(monkeypatch, registry)
    example["register"]()
    return example


def test_right_derivatives_pass_the_check_and_the_wrong_one_fails(example):
    errors = example["checks"]()
    assert errors.pop("wrong_log_cosh") > 0.01
    assert len(errors) == 4
    assert max(errors.values()) < 1e-6


def test_the_op_is_right_and_does_not_overflow(example):
    from glassgrad.backends.reference import evaluate

    x = gg.make_input("x", (3,), "float64")
    y = example["log_cosh"](x)
    (slope,) = gg.gradient(gg.ops.reduce_sum(y), [x])
    values, slopes = evaluate(gg.Graph((x,), (y, slope)), [np.array([0.5, -2.0, 1000.0])])
    np.testing.assert_allclose(values[:2], np.log(np.cosh([0.5, 2.0])))
    np.testing.assert_allclose(slopes, np.tanh([0.5, -2.0, 1000.0]))
    assert values[2] == pytest.approx(1000 - np.log(2))


def test_the_parts_train_by_name_and_can_be_loaded_from_a_file(registered, tmp_path):
    run = registered["train"](backend="reference")
    assert run.status == "finished"
    assert run.history[-1]["train_loss"] < 0.8 * run.history[0]["train_loss"]
    run.save(tmp_path / "run")
    model = gg.load_model(tmp_path / "run", backend="reference")
    assert model.network == run.model.network
    assert type(model.loss) is registered["SmoothAbsolute"]
    x = np.linspace(-2.5, 2.5, 40)[:, None]
    assert (model.predict(x) == run.model.predict(x)).all()
    assert np.abs(model.predict(x) - np.sin(2 * x[:, 0])).mean() < 0.15  # the outliers have little influence
    gate = model.inside(x, "gated_1.gate")["gated_1.gate"]
    assert ((gate > 0) & (gate < 1)).all()


def test_invalid_uses_of_the_parts_are_refused(registered):
    with pytest.raises(
        gg.InputError, match=r"layer 'gated_1' \(gated\) on \(2, 2\): takes one input of one axis"
    ):
        gg.Sequential(registered["Gated"](3)).shapes((2, 2))
    with pytest.raises(
        gg.InputError, match="loss 'smooth_absolute' is for numbers and the target is a class"
    ):
        gg.train("digits", loss="smooth_absolute")


def test_a_model_file_with_parts_that_are_not_registered_is_refused(example, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        for registry in REGISTRIES.values():
            restore_afterwards(patch, registry)
        example["register"]()
        example["train"](epochs=0, backend="reference").save(tmp_path / "run")
    with pytest.raises(gg.InputError, match="unknown activation 'bump'"):
        gg.load_model(tmp_path / "run")


class NoDataclass(gg.nn.Layer):
    def output_shape(self, inputs):
        return inputs[0]

    def build(self, context, inputs, weights, state):
        return inputs[0], {}


def test_invalid_registrations_are_refused(registered):
    with pytest.raises(gg.InputError, match="layer 'gated' is registered already"):
        gg.register("layer", "gated", registered["Gated"])
    with pytest.raises(gg.InputError, match="unknown kind 'layers'; did you mean 'layer'"):
        gg.register("layers", "other", registered["Gated"])
    with pytest.raises(gg.InputError, match="a loss derives from Loss"):
        gg.register("loss", "other", registered["Gated"])
    with pytest.raises(gg.InputError, match="NoDataclass is not a dataclass; put @dataclass"):
        gg.register("layer", "other", NoDataclass)
    with pytest.raises(gg.InputError, match="'two words' cannot name a layer"):
        gg.register("layer", "two words", registered["Gated"])


def test_it_runs_as_a_script(registered, monkeypatch, capsys):
    monkeypatch.setitem(
        registered["main"].__globals__, "register", lambda: None
    )  # the fixture has registered the parts
    registered["main"]()
    text = capsys.readouterr().out
    assert text.count("right") == 4
    assert text.count("WRONG") == 1
