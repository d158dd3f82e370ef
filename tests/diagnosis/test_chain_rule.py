"""The gradient in the backward pass: compared with linear algebra, planted faults, and custom parts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
import glassgrad.ops.table as ops
from diagnosis.planting import asked, prescribed, suspected
from glassgrad.diagnosis.chain_rule import question as chain_rule
from glassgrad.diagnosis.chain_rule import wrong_gradient
from glassgrad.diagnosis.chain_rule.exploding_gradient import EXPLODES
from glassgrad.diagnosis.chain_rule.question import VANISHES, WRONG
from glassgrad.diagnosis.core.budget import Clock
from glassgrad.diagnosis.core.findings import Diagnosis
from glassgrad.diagnosis.core.subject import Subject, examine
from glassgrad.diagnosis.initialization import question as initialization
from glassgrad.diagnosis.measures.flow import flow_of, jacobian_norms
from glassgrad.graph.node import Shape, Value
from glassgrad.losses.base import Loss
from glassgrad.losses.regression import SquaredError
from glassgrad.nn.activations import Activation
from glassgrad.nn.layer import BuildContext, Layer, ParameterSpec
from glassgrad.ops.custom import custom_op
from glassgrad.report.page import Code, Figure, Page, Table
from glassgrad.report.questions import section
from glassgrad.report.sections.chain_rule import draw
from glassgrad.report.words import number
from glassgrad.training.given import Given
from glassgrad.training.settings import make_settings
from training.small import blobs, surface


@cache
def digits() -> gg.Dataset:
    return gg.load_source("digits")


def look(data: gg.Dataset, budget: float = 30.0, **options: Any) -> Subject:
    return examine(Given(data), make_settings({"epochs": 10} | options), Clock(budget))


def quick(data: gg.Dataset, **options: Any) -> Subject:
    return look(data, 600.0, **{"backend": "reference", "epochs": 2, **options})


def diagnosed(data: gg.Dataset, **options: Any) -> Diagnosis:
    return asked(look(data, **options), {"initialization": initialization, "chain_rule": chain_rule})


# --- measures ------------------------------------------------------------------------------------------------


def test_a_layers_jacobian_has_its_largest_singular_value() -> None:
    subject = quick(blobs(60), layers=(7, 9), activation="tanh")
    model = subject.start
    flow = flow_of(subject, model)
    found = jacobian_norms(model, flow)
    for name, given in (("dense_1", "input"), ("dense_2", "dense_1")):
        w = model.weights[f"{name}.weights"].astype(np.float64)
        z = flow.outputs[given][:24] @ w + model.weights[f"{name}.bias"]
        exact = [np.linalg.norm(w * (1 - np.tanh(row) ** 2), 2) for row in z]
        assert found[name] == pytest.approx(float(np.median(exact)), rel=0.03)
    linear = np.linalg.norm(model.weights["dense_3.weights"].astype(np.float64), 2)
    assert found["dense_3"] == pytest.approx(linear, rel=0.03)


def test_jacobians_of_layers_with_several_inputs() -> None:
    start = gg.Input()
    first = gg.nn.Dense(4)(start, name="first")
    network = gg.functional(start, gg.nn.Dense(3)(gg.nn.Add()(first, first, name="sum"), name="last"))
    subject = quick(blobs(60), network=network)
    found = jacobian_norms(subject.start, flow_of(subject, subject.start))
    assert found["sum"] == pytest.approx(math.sqrt(2), rel=1e-3)


def test_the_links_multiply_to_what_reaches_a_layer() -> None:
    subject = quick(blobs(60), layers=(8, 8, 8), activation="tanh")
    found = chain_rule.measure(subject)
    assert [link.layer for link in found.links] == ["dense_1", "dense_2", "dense_3", "dense_4"]
    for i, link in enumerate(found.links):
        assert link.start == pytest.approx(math.prod(one.factor for one in found.links[i:]))
    assert found.links[-1].start == pytest.approx(1.0)
    # The product of the Jacobian norms bounds the growth of the gradient.
    assert found.links[0].start <= found.product * 1.5


def test_eight_sigmoid_layers_leave_what_theory_says() -> None:
    """Each multiplies the gradient by about its gain times the slope at 0: a quarter (Glorot and Bengio, 2010)."""
    subject = quick(
        blobs(60), layers=(64,) * 8, activation="sigmoid", init="lecun_normal", epochs=1, batch_size=64
    )
    found = chain_rule.measure(subject)
    factors = [link.factor for link in found.links[1:7]]
    assert float(np.exp(np.mean(np.log(factors)))) == pytest.approx(0.24, abs=0.03)
    assert found.least is not None
    assert found.least.layer == "dense_1"
    assert found.least.start < VANISHES


def test_the_lenses_are_relative_to_the_output() -> None:
    subject = quick(blobs(90), layers=(8,), epochs=6)
    found = chain_rule.measure(subject)
    lenses = subject.run.lenses
    assert lenses is not None
    assert np.allclose(found.over_time["dense_2"], 1.0)
    whole = np.hypot(lenses["gradient_norm", "dense_1"], lenses["gradient_norm", "dense_2"])
    assert np.allclose(found.total, whole, rtol=1e-5)
    assert found.growth >= 1.0
    document = found.document()
    assert len(document["steps"]) == len(document["gradient_norm"]) <= 60
    json.dumps(document, allow_nan=False)


# --- planted faults ------------------------------------------------------------------------------------------


def the_fault(diagnosis: Diagnosis) -> Any:
    assert diagnosis.named is not None, [fault.kind for fault in diagnosis.faults]
    json.dumps(diagnosis.document(), allow_nan=False)
    return diagnosis.named


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (digits, {"activation": "sigmoid", "layers": (24,) * 8}),
        (digits, {"activation": "sigmoid", "layers": (24,) * 6, "optimizer": "sgd(0.1)"}),
        (blobs, {"activation": "sigmoid", "layers": (16,) * 7, "init": "xavier_uniform", "epochs": 30}),
        (blobs, {"activation": "step", "layers": (16, 16), "epochs": 5}),
    ],
)
def test_a_vanishing_gradient_is_found_and_fixed(
    data: Callable[[], gg.Dataset], options: dict[str, Any]
) -> None:
    diagnosis = diagnosed(data(), **options)
    found = the_fault(diagnosis)
    assert found.kind == "vanishing_gradient"
    assert found.evidence["share_of_the_gradient"] < VANISHES
    assert found.trial.means[1] < found.trial.means[0]
    assert diagnosis["initialization"].verdict == "ok"
    assert diagnosis["chain_rule"].sentence.startswith("Of the gradient at the output")


def test_the_layer_that_blocks_the_gradient_is_named() -> None:
    network = gg.Sequential(
        gg.nn.Flatten(),
        ("one", gg.nn.Dense(16, "relu")),
        ("two", gg.nn.Dense(16, "step")),
        ("three", gg.nn.Dense(16, "relu")),
        ("last", gg.nn.Dense(10)),
    )
    subject = look(digits(), network=network, epochs=3, force=True)
    (fault,) = suspected("chain_rule", chain_rule.measure(subject), subject)
    assert (fault.kind, fault.where) == ("vanishing_gradient", "two")
    assert fault.evidence["reached"] in ("one", "two")


def test_a_gradient_that_explodes_in_the_layers() -> None:
    subject = quick(blobs(90), layers=(32,) * 8, init="orthogonal(3.0)")
    found = chain_rule.measure(subject)
    (fault,) = [f for f in suspected("chain_rule", found, subject) if f.kind == "exploding_gradient"]
    assert fault.evidence["times_the_gradient_at_the_output"] >= EXPLODES
    (change,) = prescribed(fault, found, subject)
    assert change.options == {"init": "he_normal"}


def test_a_gradient_that_explodes_in_a_recurrent_layer() -> None:
    network = gg.Sequential(
        gg.nn.SimpleRNN(16, "relu", recurrent_init="orthogonal(3.0)", last=True), gg.nn.Dense(10)
    )
    subject = look(digits(), network=network, epochs=3)
    (fault,) = [
        f
        for f in suspected("chain_rule", chain_rule.measure(subject), subject)
        if f.kind == "exploding_gradient"
    ]
    assert fault.where == "simple_rnn_1"


def test_a_gradient_that_explodes_in_time_is_clipped() -> None:
    """A few rows are a thousand times as large as the others, so their steps destabilize the weights."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5))
    y = X @ [1.0, -1.0, 0.5, 0.0, 0.2]
    X[::60] *= 300
    data = gg.from_arrays(X, y, name="outliers")
    options: dict[str, Any] = {"layers": (16,), "scaling": "none", "optimizer": "sgd(0.05)", "epochs": 15}
    subject = look(data, **options)
    found = chain_rule.measure(subject)
    (fault,) = [f for f in suspected("chain_rule", found, subject) if f.kind == "exploding_gradient"]
    assert found.diverged or found.growth >= EXPLODES
    fixes = prescribed(fault, found, subject)
    assert {"clip_norm": 1.0} in [fix.options for fix in fixes]


# --- all right -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layers": (24,) * 8},
        {"activation": "tanh", "init": "xavier_uniform", "layers": (24,) * 6},
        {"activation": "sigmoid", "layers": (24, 24)},
        {"init": "fan_in_uniform", "epochs": 3},
    ],
)
@pytest.mark.parametrize("data", [digits, surface])
def test_healthy_gradients_are_not_suspected(data: Callable[[], gg.Dataset], options: dict[str, Any]) -> None:
    subject = quick(data(), **{"epochs": 5} | options)
    found = chain_rule.measure(subject)
    assert suspected("chain_rule", found, subject) == []
    assert chain_rule.sentence(found, []).startswith("The gradient reaches every layer")


def test_a_converged_run_has_no_vanishing_gradient() -> None:
    """After convergence the gradient is small in all layers, which is no fault."""
    subject = look(blobs(150), layers=(16,), epochs=300, learning_rate=0.03, keep="last")
    found = chain_rule.measure(subject)
    assert found.at_output[1] < 0.3 * found.at_output[0]
    assert min(link.end for link in found.links) > 0.1
    assert suspected("chain_rule", found, subject) == []


# --- parts of one's own --------------------------------------------------------------------------------------


def own(name_: str, function: Any, rule: Any = None) -> Activation:
    """An activation with a custom op and a custom derivative rule."""
    derivative = None if rule is None else lambda ctx, cts, outs, ins: [rule(cts[0], outs[0], ins[0])]
    op = custom_op(function, derivative=derivative, name=name_)

    class Own(Activation):
        name = name_

        def __call__(self, x: Value) -> Value:
            y: Value = op(x)
            return y

    return Own()


RIGHT = own("right", ops.tanh, lambda ct, y, x: ct * (1 - y * y))
NO_RULE = own("no_rule", lambda x: x * ops.sigmoid(x))
KINKED = own("kinked", lambda x: ops.maximum(x, 0.1 * x), lambda ct, y, x: ops.select(x > 0, ct, 0.1 * ct))
ROUNDED = own("rounded", lambda x: ops.convert(x >= 0, x.dtype) * 2.0 - 1.0, lambda ct, y, x: ct)
CLIPPED = own("clipped", lambda x: x * 1.0, lambda ct, y, x: ops.minimum(ops.maximum(ct, -1.0), 1.0))
FORGOT_A_SQUARE = own("forgot", ops.tanh, lambda ct, y, x: ct * (1 - y))
BACKWARDS = own("backwards", ops.tanh, lambda ct, y, x: -1.0 * ct * (1 - y * y))
TWICE = own("twice", ops.tanh, lambda ct, y, x: 2.0 * ct * (1 - y * y))
CUT_OFF = own("cut_off", lambda x: ops.tanh(x) + ops.stop_gradient(0.5 * x))
NEGATIVE_SIDE = own(
    "side", lambda x: ops.maximum(x, 0.1 * x), lambda ct, y, x: ops.select(x > 0, ct, 0.3 * ct)
)


def with_part(part: Activation) -> Subject:
    network = gg.Sequential(("first", gg.nn.Dense(8, part)), ("last", gg.nn.Dense(3)))
    return quick(blobs(60), network=network, epochs=1)


@pytest.mark.parametrize("part", [RIGHT, NO_RULE, KINKED, ROUNDED, CLIPPED], ids=lambda part: part.name)
def test_right_derivatives_and_intended_differences_are_accepted(part: Activation) -> None:
    """A rule for a piecewise constant function, or one that only clips large gradients, differs on purpose."""
    subject = with_part(part)
    found = chain_rule.measure(subject)
    assert [one.part for one in found.parts] == [part.name]
    assert found.wrong == []
    assert "agree with central differences" in chain_rule.sentence(found, [])


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (FORGOT_A_SQUARE, "%. Without its derivative rule"),
        (BACKWARDS, "give the opposite. Without its derivative rule"),
        (TWICE, "give 0.5 times as much. Without its derivative rule"),
        (CUT_OFF, "differ from it by"),
        (NEGATIVE_SIDE, "%. Without its derivative rule"),
    ],
    ids=lambda item: getattr(item, "name", ""),
)
def test_wrong_derivatives_are_proven(part: Activation, words: str) -> None:
    subject = with_part(part)
    found = chain_rule.measure(subject)
    (fault,) = [fault for fault in suspected("chain_rule", found, subject) if fault.kind == "wrong_gradient"]
    assert fault.where == "first"
    assert words in fault.sentence
    trial = wrong_gradient.prove(fault, found, subject)
    assert trial is not None
    assert trial.confirmed
    assert min(trial.before) > WRONG
    if part is not CUT_OFF:
        assert max(trial.after) < 1e-6


class Shifted(Layer):
    """A layer without options that blocks the gradient of its weight."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def weights(self, inputs: Sequence[Shape]) -> dict[str, ParameterSpec]:
        return {"shift": ParameterSpec(inputs[0], gg.nn.Dense(1).bias_init, (1, 1))}

    def build(
        self,
        context: BuildContext,
        inputs: Sequence[Value],
        weights: Mapping[str, Value],
        state: Mapping[str, Value],
    ) -> tuple[Value, dict[str, Value]]:
        return inputs[0] + ops.stop_gradient(weights["shift"]), {}


def downhill(ctx: Any, cotangents: Any, outputs: Any, inputs: Any) -> list[Value]:
    return [-2.0 * inputs[0] * cotangents[0]]


class Lopsided(Loss):
    """Squared errors whose derivative has the wrong sign."""

    name, task, target_kind, expects = "lopsided", "regression", "values", "values"

    def units(self, classes: int | None, targets: int) -> int:
        return targets

    def row_losses(self, outputs: Value, targets: Value) -> Value:
        square = custom_op(lambda d: d * d, derivative=downhill)
        total: Value = ops.reduce_sum(square(outputs - targets), 1)
        return total


def test_a_custom_layer_is_checked_for_each_weight() -> None:
    network = gg.Sequential(gg.nn.Dense(8, "tanh"), ("mine", Shifted()), gg.nn.Dense(3))
    found = chain_rule.measure(quick(blobs(60), network=network, epochs=1))
    assert [(one.where, one.by, one.error > WRONG) for one in found.parts] == [
        ("mine", "its input", False),
        ("mine", "shift", True),
    ]


def test_a_custom_loss_with_a_wrong_derivative_is_named_first() -> None:
    """A wrong derivative ranks before all other faults, and does not stop the diagnosis."""
    diagnosis = diagnosed(surface(), loss=Lopsided(), layers=(8,), epochs=5)
    found = the_fault(diagnosis)
    assert (found.kind, found.where) == ("wrong_gradient", "loss")
    assert diagnosis["chain_rule"].verdict == "fault"


def test_built_in_parts_are_not_checked() -> None:
    subject = quick(surface(), loss=SquaredError(), layers=(8,), activation="gelu")
    assert chain_rule.measure(subject).parts == ()


# --- the section ---------------------------------------------------------------------------------------------


def test_the_section_shows_the_product() -> None:
    subject = quick(blobs(60), layers=(8, 8), activation="tanh", epochs=3)
    found = chain_rule.measure(subject)
    blocks = draw(found, subject.run)
    (code,) = [block for block in blocks if isinstance(block, Code)]
    factors = [number(link.factor) for link in reversed(found.links)]
    assert code.text == f"{' × '.join(factors)} = {number(found.links[0].start)}"
    headings = [block.heading for block in blocks if isinstance(block, Figure)]
    assert headings == [
        "The gradient at each layer",
        "The factors of the chain rule",
        "The gradient, layer by layer",
    ]
    assert "agree with central differences" not in chain_rule.sentence(found, [])


def test_the_section_lists_custom_parts_and_supports_dead_networks() -> None:
    blocks = draw(chain_rule.measure(subject := with_part(TWICE)), subject.run)
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert [(row[0], row[-1]) for row in table.rows] == [("twice", "wrong")]
    dead = quick(blobs(60), layers=(8, 8), init="zeros", epochs=1)
    measured = chain_rule.measure(dead)
    assert "nothing" in chain_rule.sentence(measured, [])
    assert draw(measured, dead.run)
    single = quick(blobs(60), layers=(), epochs=0)
    measured = chain_rule.measure(single)
    sentence = chain_rule.sentence(measured, [])
    page = Page("single", "", [section("chain_rule", sentence, draw(measured, single.run))]).html()
    assert "single layer" in page
