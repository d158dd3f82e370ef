"""User-defined steps: the same loop, bits and run-time inputs as ``train``."""

from __future__ import annotations

import numpy as np
import pytest

import glassgrad as gg
from training.small import same_bits

BACKENDS = ("reference", "native", "xla")
X = np.random.default_rng(0).normal(size=(70, 3))
Y = X @ [[1.0], [-2.0], [0.5]] + 0.3


def line(inputs: gg.StepInputs) -> tuple[dict, dict, dict]:
    w, b = inputs.params["w"], inputs.params["b"]
    error = gg.ops.matmul(inputs.data["x"], w) + b - inputs.data["y"]
    rows = gg.ops.select(inputs.row_mask, gg.ops.reduce_sum(error * error, 1), 0.0)
    loss = gg.ops.reduce_sum(rows) / gg.ops.reduce_sum(gg.ops.convert(inputs.row_mask, inputs.dtype))
    slopes = gg.gradient(loss, [w, b])
    rate = inputs.hyper["rate"]
    steps = inputs.state["steps"] + 1.0
    return {"w": w - rate * slopes[0], "b": b - rate * slopes[1]}, {"steps": steps}, {"loss": loss, "w": w}


def compiled(**options: object) -> gg.CompiledStep:
    start = {"w": np.zeros((3, 1)), "b": np.zeros(1)}
    settings = {"hyper": {"rate": 0.1}, "state": {"steps": 0.0}, "batch_size": 16, "seed": 4} | options
    return gg.compile_step(line, params=start, data={"x": X, "y": Y}, **settings)


@pytest.mark.parametrize("backend", BACKENDS)
def test_linear_regression_on_every_backend(backend: str) -> None:
    training = compiled(backend=backend)
    assert training.steps_per_epoch == 5
    outputs = training.advance(epochs=30)
    assert outputs["loss"].shape == (150,)
    assert outputs["w"].shape == (150, 3, 1)
    assert (training.step, training.state["steps"]) == (150, 150)
    np.testing.assert_allclose(training.params["w"].ravel(), [1, -2, 0.5], atol=1e-3)
    np.testing.assert_allclose(training.params["b"], [0.3], atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_can_be_cut_anywhere(backend: str) -> None:
    whole, parts = compiled(backend=backend), compiled(backend=backend)
    losses = whole.advance(steps=23)["loss"]
    cut = [parts.advance(steps=count)["loss"] for count in (1, 4, 7, 11)]
    assert np.concatenate(cut).tobytes() == losses.tobytes()
    assert same_bits(whole.params, parts.params)


def test_a_custom_step_gives_the_same_bits_as_train() -> None:
    """The same rows in the same order, the same partial last batch, the same update."""
    options = {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "schedule": "constant",
        "scaling": "none",
        "keep": "last",
    }
    network = gg.Sequential(gg.nn.Dense(1, init="zeros"))
    run = gg.train(
        gg.from_arrays(X, (Y - Y.mean()) / Y.std()),
        network=network,
        epochs=3,
        batch_size=16,
        seed=4,
        validation=0,
        test=0,
        **options,
    )
    own = gg.compile_step(
        line,
        params={"w": np.zeros((3, 1)), "b": np.zeros(1)},
        state={"steps": 0.0},
        data={"x": X, "y": (Y - Y.mean()) / Y.std()},
        hyper={"rate": 0.1},
        batch_size=16,
        seed=4,
    )
    own.advance(epochs=3)
    np.testing.assert_allclose(own.params["w"], run.model.weights["dense_1.weights"], rtol=1e-4)


def test_a_hyperparameter_changes_between_two_calls_without_compiling() -> None:
    training = compiled()
    training.advance(epochs=1)
    before = training.params["w"].copy()
    training.hyper["rate"] = 0.0
    training.advance(epochs=1)
    assert (training.params["w"] == before).all()
    training.hyper["rat"] = 1.0
    with pytest.raises(gg.InputError, match="did you mean 'rate'"):
        training.advance(steps=1)
    assert training.step == 10


def test_random_numbers_differ_by_draw_and_step_and_agree_on_all_backends() -> None:
    def noisy(inputs: gg.StepInputs) -> tuple[dict, dict, dict]:
        draws = {"a": inputs.normal((2,)), "b": inputs.uniform((2,)), "c": inputs.uniform((2,))}
        masks = {"d": gg.ops.convert(inputs.mask((5,), 0.3), "float32")}
        return {}, {}, draws | masks

    found = [
        gg.compile_step(noisy, params={}, data={"x": X}, batch_size=35, backend=name).advance(epochs=100)
        for name in BACKENDS
    ]
    for other in found[1:]:
        assert other["b"].tobytes() == found[0]["b"].tobytes()
        assert other["d"].tobytes() == found[0]["d"].tobytes()
        np.testing.assert_allclose(other["a"], found[0]["a"], rtol=1e-4, atol=1e-5)
    flat = [found[0][name].ravel() for name in "abc"]
    assert abs(np.corrcoef(flat)[~np.eye(3, dtype=bool)]).max() < 0.02
    assert abs(found[0]["d"].mean() - 0.3) < 0.01
    assert abs(flat[0].mean()) < 0.03


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda i: {}, "must return three mappings"),
        (lambda i: ({}, {}, {}), "at least one output"),
        (lambda i: ({"v": i.params["w"]}, {}, {"w": i.params["w"]}), "unknown parameter of the step 'v'"),
        (lambda i: ({"w": 1.0}, {}, {"w": i.params["w"]}), "parameter 'w' of the step is float"),
        (lambda i: ({"w": i.params["w"] * 2.0}, [], {"w": i.params["w"]}), "must return mappings"),
        (
            lambda i: ({"w": gg.ops.reduce_sum(i.params["w"])}, {}, {"w": i.params["w"]}),
            "but its update is float32",
        ),
    ],
)
def test_invalid_results_of_a_step_are_refused(returned, message: str) -> None:
    with pytest.raises(gg.GlassgradError, match=message):
        gg.compile_step(returned, params={"w": np.zeros(2)}, data={"x": X})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": {}}, "data: give one or more arrays"),
        ({"data": {"x": X, "y": Y[:3]}}, "with the same number of rows"),
        ({"data": {"x": [["a"]]}}, "data 'x' must be an array of numbers"),
        ({"data": {"x": X * np.nan}}, "data 'x' contains NaN or Inf"),
        ({"data": {"x": [2**40]}}, "beyond 32 bits"),
        ({"params": [1.0]}, "params must be a mapping"),
        ({"hyper": {"rate": float("inf")}}, "hyper rate must be a"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"dtype": "int32"}, "unknown dtype 'int32'"),
        ({"backend": "nativ"}, "did you mean 'native'"),
    ],
)
def test_invalid_arrays_are_refused(options, message: str) -> None:
    good = {"params": {"w": 0.0}, "data": {"x": X}}
    with pytest.raises(gg.InputError, match=message):
        gg.compile_step(lambda i: ({}, {}, {"w": i.params["w"]}), **(good | options))


@pytest.mark.parametrize("arguments", [{}, {"steps": 1, "epochs": 1}, {"steps": 0}, {"epochs": 1.5}])
def test_advance_takes_one_whole_number(arguments: dict[str, float]) -> None:
    with pytest.raises(gg.InputError):
        compiled().advance(**arguments)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_and_state_can_be_assigned_as_numbers_and_lists(backend: str) -> None:
    training, other = compiled(backend=backend), compiled(backend=backend)
    training.params["b"], training.state["steps"] = [2.0], 7
    other.params["b"], other.state["steps"] = np.full(1, 2.0, np.float32), np.float32(7)
    assert same_bits(training.advance(steps=3), other.advance(steps=3))
    assert training.state["steps"] == other.state["steps"] == 10


@pytest.mark.parametrize("group", ["params", "state"])
def test_an_unknown_name_among_the_arrays_is_refused(group: str) -> None:
    training = compiled()
    getattr(training, group)["ww"] = np.zeros(1, np.float32)
    with pytest.raises(gg.InputError, match="of this step 'ww'"):
        training.advance(steps=1)
    assert training.step == 0
