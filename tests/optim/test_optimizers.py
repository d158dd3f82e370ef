"""Optimizers: comparison with plain NumPy; structural options and run-time inputs.

This is one file because all tests share the NumPy formulas and the small training step.
"""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgrad.autodiff.sweeps import gradient
from glassgrad.backends.base import Feed
from glassgrad.backends.reference import ReferenceBackend
from glassgrad.common.errors import GraphError, InputError
from glassgrad.ops.table import make_input, reduce_mean, reduce_sum, tanh
from glassgrad.optim.gradients import GradientTransformation
from glassgrad.optim.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Optimizer, layer_of, optimizer
from glassgrad.program import Input, Output, Program

ROWS, STEPS = 8, 50
SHAPES = {"first.weight": (3, 4), "first.bias": (4,), "second.weight": (4, 1), "scale": ()}


# --- the optimizers in plain NumPy, by their formulas, one array at a time ---------------------------------


def shrink(w, h):
    return w - h["learning_rate"] * h.get("weight_decay", 0) * w if w.ndim >= 2 else w


def plain_sgd(w, g, s, t, h, nesterov=False):
    """torch.optim.SGD's documented algorithm with dampening 0, but with decoupled decay."""
    w = shrink(w, h)
    if "momentum" in h:
        s["velocity"] = h["momentum"] * s["velocity"] + g
        g = g + h["momentum"] * s["velocity"] if nesterov else s["velocity"]
    return w - h["learning_rate"] * g


def plain_adam(w, g, s, t, h):
    """torch.optim.AdamW's documented algorithm, which is Adam's without decay."""
    w = shrink(w, h)
    s["first_moment"] = h["beta1"] * s["first_moment"] + (1 - h["beta1"]) * g
    s["second_moment"] = h["beta2"] * s["second_moment"] + (1 - h["beta2"]) * g**2
    mean = s["first_moment"] / (1 - h["beta1"] ** t)
    square = s["second_moment"] / (1 - h["beta2"] ** t)
    return w - h["learning_rate"] * mean / (np.sqrt(square) + h["epsilon"])


def plain_rmsprop(w, g, s, t, h):
    """torch.optim.RMSprop's documented algorithm, without momentum, not centred."""
    w = shrink(w, h)
    s["mean_square"] = h["decay"] * s["mean_square"] + (1 - h["decay"]) * g**2
    return w - h["learning_rate"] * g / (np.sqrt(s["mean_square"]) + h["epsilon"])


def plain_adagrad(w, g, s, t, h):
    """torch.optim.Adagrad's documented algorithm with lr_decay 0."""
    w = shrink(w, h)
    s["sum_of_squares"] = s["sum_of_squares"] + g**2
    return w - h["learning_rate"] * g / (np.sqrt(s["sum_of_squares"]) + h["epsilon"])


PLAIN = {
    "sgd": plain_sgd,
    "adam": plain_adam,
    "adamw": plain_adam,
    "rmsprop": plain_rmsprop,
    "adagrad": plain_adagrad,
}

SPECS = [
    "sgd",
    "sgd(0.1, weight_decay=0.05)",
    "sgd(0.05, momentum=0.9)",
    "sgd(0.05, 0.9, nesterov=True, weight_decay=0.02)",
    "adam",
    "adam(0.05, 0.8, 0.95, 1e-3)",
    "adam(0.05, weight_decay=0.1)",
    "adamw(0.02)",
    "adamw(0.02, weight_decay=0)",
    "rmsprop",
    "rmsprop(0.02, 0.7, 1e-4, 0.1)",
    "adagrad",
    "adagrad(0.2, weight_decay=0.1)",
]


# --- the training step of a small network ------------------------------------------------------------------


def build(spec, dtype="float64", transformation=None):
    """The training step of a small network, as a program."""
    part, transformation = optimizer(spec), transformation or GradientTransformation()
    x, y = make_input("x", (ROWS, 3), dtype), make_input("y", (ROWS, 1), dtype)
    params = {name: make_input(name, shape, dtype) for name, shape in SHAPES.items()}
    defaults = part.hyperparameters() | transformation.hyperparameters()
    hyper = {name: make_input(name, (), dtype) for name in defaults}
    state = {
        f"{slot}/{name}": make_input(f"{slot}/{name}", SHAPES[name], dtype)
        for slot in part.slots()
        for name in SHAPES
    }
    step = make_input("step", (), "uint32")
    hidden = tanh(x @ params["first.weight"] + params["first.bias"])
    error = (hidden @ params["second.weight"]) * params["scale"] - y
    loss = reduce_mean(reduce_sum(error * error, 1))
    gradients = dict(zip(params, gradient(loss, list(params.values())), strict=True))
    new_params, new_state = part.update(transformation.apply(gradients, hyper), params, state, hyper, step)
    inputs = [Input("x", "data", x), Input("y", "data", y)]
    for role, values in (("param", params), ("state", state), ("hyper", hyper)):
        inputs += [Input(name, role, value) for name, value in values.items()]
    inputs.append(Input("step", "step", step))
    outputs = [Output("loss", loss), *(Output(f"g {name}", g) for name, g in gradients.items())]
    return Program("step", ROWS, tuple(inputs), new_params | new_state, tuple(outputs))


def start(spec, program, dtype="float64", **hyper):
    """A feed of ``STEPS`` steps over one batch, with seeded data and weights."""
    random = np.random.default_rng(7)
    part = optimizer(spec)
    defaults = {item.name: part.hyperparameters().get(item.name, 1.0) for item in program.hyper}
    return Feed(
        data={
            "x": random.normal(size=(ROWS, 3)).astype(dtype),
            "y": random.normal(size=(ROWS, 1)).astype(dtype),
        },
        order=np.tile(np.arange(ROWS, dtype=np.int32), STEPS),
        params={name: random.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()},
        state={
            item.name: np.full(item.type.shape, part.slots()[item.name.partition("/")[0]], dtype)
            for item in program.state
        },
        hyper=defaults | hyper,
    )


def run(program, feed):
    return ReferenceBackend().compile(program).run(feed)


def train_one_parameter(part, curvature, start_at, steps):
    """``steps`` steps on one parameter ``w`` with the gradient ``curvature * w``; returns its last value."""
    w, slope = (
        make_input("w", curvature.shape, "float64"),
        make_input("curvature", curvature.shape, "float64"),
    )
    state = {f"{slot}/w": make_input(f"{slot}/w", curvature.shape, "float64") for slot in part.slots()}
    hyper = {name: make_input(name, (), "float64") for name in part.hyperparameters()}
    step = make_input("step", (), "uint32")
    params, new_state = part.update({"w": slope * w}, {"w": w}, state, hyper, step)
    inputs = [Input("w", "param", w), Input("curvature", "param", slope)]
    inputs += [Input(name, "state", value) for name, value in state.items()]
    inputs += [Input(name, "hyper", value) for name, value in hyper.items()]
    program = Program("step", 1, (*inputs, Input("step", "step", step)), params | new_state)
    zeros = {name: np.zeros(curvature.shape) for name in state}
    feed = Feed(
        {}, np.zeros(steps, np.int32), {"w": start_at, "curvature": curvature}, zeros, part.hyperparameters()
    )
    return run(program, feed).params["w"]


def replay_in_numpy(spec, feed, gradients, steps=range(STEPS)):
    """The same steps in plain NumPy, with the gradients that the program returned."""
    part = optimizer(spec)
    rule = PLAIN[OPTIMIZERS.config(part)["name"]]
    choices = {"nesterov": part.nesterov} if isinstance(part, SGD) else {}
    params, state = {}, {}
    for name, weight in feed.params.items():
        w = weight
        slots = {slot: feed.state[f"{slot}/{name}"] for slot in part.slots()}
        for index in steps:
            hyper = {key: np.broadcast_to(value, (STEPS,))[index] for key, value in feed.hyper.items()}
            t = feed.first_step + index + 1
            w = rule(w, gradients[f"g {name}"][index], slots, t, hyper, **choices)
        params[name] = w
        state |= {f"{slot}/{name}": array for slot, array in slots.items()}
    return params, state


def assert_same(actual, expected, rtol=1e-11):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=rtol, atol=rtol, err_msg=name)


# --- against NumPy -----------------------------------------------------------------------------------------


def test_every_optimizer_is_covered():
    assert {spec.partition("(")[0] for spec in SPECS} == set(OPTIMIZERS) == set(PLAIN)


@pytest.mark.parametrize("spec", SPECS)
def test_fifty_steps_match_numpy(spec):
    program = build(spec)
    feed = start(spec, program)
    result = run(program, feed)
    params, state = replay_in_numpy(spec, feed, result.outputs)
    assert_same(result.params, params)
    assert_same(result.state, state)
    assert result.outputs["loss"][-1] < result.outputs["loss"][0]
    assert all((result.params[name] != feed.params[name]).any() for name in SHAPES)


@pytest.mark.parametrize("spec", SPECS)
def test_float32_stays_near_float64(spec):
    program = build(spec, "float32")
    feed = start(spec, program, "float32")
    result = run(program, feed)
    doubles = {name: array.astype(np.float64) for name, array in result.outputs.items()}
    params, state = replay_in_numpy(spec, feed, doubles)
    assert all(array.dtype == np.float32 for array in (result.params | result.state).values())
    # In float32, 1 - beta2 keeps only about four significant digits.
    assert_same(result.params, params, rtol=2e-4)
    assert_same(result.state, state, rtol=2e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_cleaning_changes_nothing(spec):
    program = build(spec)
    feed = start(spec, program)
    actual, expected = run(program.cleaned(), feed), run(program, feed)
    assert_same(actual.params, expected.params, rtol=0)
    assert_same(actual.state, expected.state, rtol=0)


@pytest.mark.parametrize("spec", SPECS)
def test_every_hyperparameter_is_a_run_time_input(spec):
    """One compiled program accepts other values of every hyperparameter, also one value per step."""
    program = build(spec)
    executable = ReferenceBackend().compile(program)
    default = executable.run(start(spec, program))
    other = {"learning_rate": np.linspace(0.03, 0.001, STEPS), "momentum": 0.5, "beta1": 0.6, "beta2": 0.9}
    other |= {"decay": 0.5, "epsilon": 0.3, "weight_decay": 0.4}
    names = set(optimizer(spec).hyperparameters())
    assert {item.name for item in program.hyper} == names <= set(other)
    for name in names:
        feed = start(spec, program, **{name: other[name]})
        result = executable.run(feed)
        assert_same(result.params, replay_in_numpy(spec, feed, result.outputs)[0])
        assert (result.params["first.weight"] != default.params["first.weight"]).any(), name


@pytest.mark.parametrize("spec", SPECS)
def test_a_run_in_two_parts_equals_one_run(spec):
    program = build(spec)
    feed = start(spec, program)
    complete, half = run(program, feed), STEPS // 2
    first = run(program, dataclasses.replace(feed, order=feed.order[: half * ROWS]))
    rest = dataclasses.replace(
        feed, order=feed.order[half * ROWS :], params=first.params, state=first.state, first_step=half
    )
    second = run(program, rest)
    assert_same(second.params, complete.params, rtol=0)
    assert_same(second.state, complete.state, rtol=0)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("rate", [0.0, 1e30])
def test_zero_and_huge_learning_rates_are_applied(spec, rate):
    part = dataclasses.replace(optimizer(spec), learning_rate=rate)
    program = build(part)
    feed = start(part, program)
    result = run(program, dataclasses.replace(feed, order=feed.order[:ROWS]))
    if rate == 0:
        assert_same(result.params, feed.params, rtol=0)
    else:
        assert (np.abs(result.params["first.weight"]) > 1e20).all()


# --- single optimizers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", ["adam(0.1)", "adam(0.1, 0, 0)", "adam(0.1, 0.99, 0.99999)", "adamw(0.1, weight_decay=0)"]
)
def test_the_first_step_of_adam_has_the_size_of_the_learning_rate(spec):
    """The bias corrections cancel the zero start of the moments: m = g and s = g^2 at t = 1."""
    program = build(spec)
    feed = start(spec, program)
    result = run(program, dataclasses.replace(feed, order=feed.order[:ROWS]))
    for name in SHAPES:
        slope = result.outputs[f"g {name}"][0]
        np.testing.assert_allclose(feed.params[name] - result.params[name], 0.1 * np.sign(slope), rtol=1e-5)


def test_adam_counts_the_steps_of_the_program_not_of_the_call():
    program = build("adam")
    feed = dataclasses.replace(start("adam", program), order=np.arange(ROWS, dtype=np.int32))
    later = dataclasses.replace(feed, first_step=9)
    result = run(program, later)
    assert_same(result.params, replay_in_numpy("adam", later, result.outputs, steps=[0])[0])
    assert (result.params["first.weight"] != run(program, feed).params["first.weight"]).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_uint32_step_does_not_wrap_around(dtype):
    program = build("adam", dtype)
    feed = start("adam", program, dtype)
    feed = dataclasses.replace(feed, order=feed.order[:ROWS], first_step=2**32 - 1)
    assert all(np.isfinite(array).all() for array in run(program, feed).params.values())


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_weight_decay_is_decoupled_and_skips_vectors(name):
    """Decay does not change the state or the update; it only shrinks matrices, by rate * decay."""
    decayed = OPTIMIZERS[name](learning_rate=0.1, weight_decay=0.3)
    without = OPTIMIZERS[name](learning_rate=0.1, weight_decay=0)
    results = []
    for part in (decayed, without):
        program = build(part)
        feed = start(part, program)
        results.append(run(program, dataclasses.replace(feed, order=feed.order[:ROWS])))
    actual, expected = results
    assert_same(actual.state, expected.state, rtol=0)
    for key, shape in SHAPES.items():
        extra = 0.03 * feed.params[key] if len(shape) >= 2 else 0
        np.testing.assert_allclose(actual.params[key], expected.params[key] - extra, rtol=1e-12, atol=1e-14)


@given(rate=st.floats(0, 1), decay=st.floats(1e-3, 1), name=st.sampled_from(sorted(OPTIMIZERS)))
@settings(max_examples=30, deadline=None)
def test_with_zero_gradient_a_matrix_changes_by_decay_only(rate, decay, name):
    part = OPTIMIZERS[name](learning_rate=rate, weight_decay=decay)
    before = np.arange(1.0, 7.0).reshape(2, 3)
    after = train_one_parameter(part, np.zeros((2, 3)), before, steps=2)
    np.testing.assert_allclose(after, before * (1 - rate * decay) ** 2, rtol=1e-12)


def test_nesterov_looks_ahead():
    """The result equals Sutskever's form, which takes the gradient at the point after the velocity step.

    His weights are those before this look-ahead; the weights here are the look-ahead point.
    """
    rate, mu, curvature = 0.1, 0.9, np.array([1.0, 4.0, 0.3])
    position, v = np.ones(3), np.zeros(3)
    for _ in range(STEPS):
        v = mu * v - rate * curvature * (position + mu * v)
        position = position + v
    after = train_one_parameter(SGD(rate, mu, nesterov=True), curvature, np.ones(3), STEPS)
    np.testing.assert_allclose(after, position + mu * v, rtol=1e-11, atol=1e-15)
    assert (np.abs(train_one_parameter(SGD(rate, mu), curvature, np.ones(3), STEPS) - after) > 1e-6).all()


def test_all_partial_derivatives_are_taken_at_the_old_weights():
    """Which parameter comes first in the tree makes no difference: none reads the update of another."""
    part = SGD(0.1)
    names = ("a.weight", "b.weight")
    values = {name: make_input(name, (), "float64") for name in names}
    rate, step = make_input("learning_rate", (), "float64"), make_input("step", (), "uint32")
    product = values["a.weight"] * values["b.weight"]
    slopes = dict(zip(names, gradient(product, list(values.values())), strict=True))
    for order in (names, names[::-1]):
        params = {name: values[name] for name in order}
        updates, _ = part.update(slopes, params, {}, {"learning_rate": rate}, step)
        inputs = [Input(name, "param", value) for name, value in values.items()]
        inputs += [Input("learning_rate", "hyper", rate), Input("step", "step", step)]
        weights = {"a.weight": np.array(2.0), "b.weight": np.array(3.0)}
        feed = Feed({}, np.zeros(1, np.int32), weights, {}, part.hyperparameters())
        result = run(Program("step", 1, tuple(inputs), updates), feed)
        assert_same(result.params, {"a.weight": np.array(1.7), "b.weight": np.array(2.8)})


# --- structure ---------------------------------------------------------------------------------------------


def test_without_momentum_there_is_no_state_and_no_input():
    assert SGD().slots() == {}
    assert SGD().hyperparameters() == {"learning_rate": 0.01}
    assert SGD(0.1, 0.5).slots() == {"velocity": 0.0}
    assert list(SGD(1, 0.5, weight_decay=0.1).hyperparameters()) == [
        "learning_rate",
        "momentum",
        "weight_decay",
    ]
    assert build("sgd").state == ()


def test_without_decay_the_term_is_not_built():
    assert "weight_decay" not in Adam().hyperparameters()
    assert AdamW().hyperparameters()["weight_decay"] == 0.01
    assert "weight_decay" not in AdamW(weight_decay=0).hyperparameters()
    assert len(build("adam").graph.nodes()) == len(build("adamw(weight_decay=0)").graph.nodes())
    assert len(build("adam").graph.nodes()) < len(build("adamw").graph.nodes())


def test_adam_with_decay_is_adamw():
    assert str(build("adam(weight_decay=0.01)")).replace("# Adam", "# AdamW") == str(build("adamw"))


@pytest.mark.parametrize("spec", SPECS)
def test_the_interface(spec):
    part = optimizer(spec)
    hyper = part.hyperparameters()
    assert next(iter(hyper)) == "learning_rate"
    assert all(type(value) is float and math.isfinite(value) for value in hyper.values())
    assert all(type(fill) is float for fill in part.slots().values())
    program = build(spec)
    assert set(program.updates) == set(SHAPES) | {
        f"{slot}/{name}" for slot in part.slots() for name in SHAPES
    }


def test_the_bias_corrections_are_scalars_computed_once():
    """Adam's corrections need one scalar power per beta, whatever the number of parameters."""
    powers = [node for node in build("adam").graph.nodes() if node.op.name == "power"]
    assert [node.types[0].shape for node in powers] == [(), ()]


@pytest.mark.parametrize("spec", SPECS)
def test_the_printed_program_has_a_heading_per_layer(spec):
    text = str(build(spec, transformation=GradientTransformation(clip_norm=1.0)))
    lines = [line.strip() for line in text.splitlines()]
    sections = [line for line in lines if line in ("forward:", "backward:", "update:")]
    assert sections == ["forward:", "backward:", "update:"]
    headings = [line for line in lines[lines.index("update:") :] if line.startswith("#")]
    part = optimizer(spec)
    has_scalars = not {"beta1", "decay", "weight_decay"}.isdisjoint(part.hyperparameters())
    scalars = [f"# {type(part).__name__}"] if has_scalars else []
    assert headings == ["# clip by global norm", *scalars, "# first", "# second", "# scale"]


def test_layer_of():
    assert layer_of("block.inner.weight") == "block"  # a layer's name has no dot, its weight's may
    assert layer_of("scale") == "scale"


def test_a_missing_entry_is_named():
    part = optimizer("sgd(0.1, 0.9)")
    w, step, number = (
        make_input("w", (2,), "float64"),
        make_input("step", (), "uint32"),
        make_input("n", (), "float64"),
    )
    hyper = {"learning_rate": number, "momentum": number}
    state = {"velocity/w": w}
    for arguments, missing in (
        (({}, {"w": w}, state, hyper), "a gradient for parameter 'w'"),
        (({"w": w}, {}, state, hyper), "parameter 'w'"),
        (({"w": w}, {"w": w}, {}, hyper), "state 'velocity/w'"),
        (({"w": w}, {"w": w}, state, {"learning_rate": number}), "hyperparameter 'momentum'"),
    ):
        with pytest.raises(GraphError, match=f"lacks {missing}$"):
            part.update(*arguments, step)


# --- the registry ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
def test_text_object_and_configuration_are_equivalent(spec):
    part = optimizer(spec)
    config = json.loads(json.dumps(OPTIMIZERS.config(part)))
    assert optimizer(config) == part
    assert optimizer(part) is part
    assert hash(optimizer(config)) == hash(part)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_is_final_documented_and_frozen(name):
    cls = OPTIMIZERS[name]
    assert issubclass(cls, Optimizer)
    assert getattr(cls, "__final__", False)
    assert cls.__doc__
    assert cls.__name__.lower() == name  # the name in messages
    assert dataclasses.fields(cls)[0].name == "learning_rate"
    with pytest.raises(dataclasses.FrozenInstanceError):
        cls().learning_rate = 1.0


NUMBERS = [
    (name, field.name)
    for name in sorted(OPTIMIZERS)
    for field in dataclasses.fields(OPTIMIZERS[name])
    if not isinstance(field.default, bool)
]


@pytest.mark.parametrize(("name", "option"), NUMBERS)
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, -math.inf, 10**310, "0.1", None, True])
def test_invalid_numbers_are_refused(name, option, value):
    with pytest.raises(InputError) as caught:
        optimizer({"name": name, option: value})
    message = str(caught.value)
    assert message.startswith(f"optimizer {name!r}: {option} must be ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "spec",
    [
        "sgd(momentum=1)",
        "adam(beta1=1)",
        "adamw(beta2=1.0)",
        "rmsprop(decay=1)",
        "adam(epsilon=0)",
        "sgd(nesterov=1, momentum=0.9)",
        "sgd(nesterov=True)",
        "sgd(0.1, 0.9, True, 0.0, 5)",
        "sgd(beta1=0.9)",
        "adm",
    ],
)
def test_invalid_specifications_are_refused_in_one_line(spec):
    with pytest.raises(InputError) as caught:
        optimizer(spec)
    assert "\n" not in str(caught.value)


def test_the_nearest_name_is_suggested():
    with pytest.raises(InputError, match="did you mean 'adam'"):
        optimizer("adm")


def test_options_are_the_fields_and_defaults_come_from_the_class():
    part = optimizer("sgd(0.5)")
    assert part.options() == {"learning_rate": 0.5, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    assert part.default("learning_rate") == 0.01
    assert part.default("nesterov") is None
    assert part.default("epsilon") is None
