"""The learning rate: edges of stability against theory, planted faults of the step, and healthy runs.

This is one file because all tests share the examined runs and the planted rates.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from diagnosis.planting import suspected
from glassgrad.backends.base import Feed
from glassgrad.common.errors import GraphError
from glassgrad.diagnosis.core.budget import Clock
from glassgrad.diagnosis.core.examination import Examination
from glassgrad.diagnosis.core.findings import Diagnosis
from glassgrad.diagnosis.core.subject import Subject, examine
from glassgrad.diagnosis.kinds import KINDS
from glassgrad.diagnosis.learning_rate import question as learning_rate
from glassgrad.diagnosis.learning_rate.optimizer_settings import factors, unusual_settings
from glassgrad.diagnosis.measures.curvature import (
    GRADIENT,
    PRODUCT,
    VECTOR,
    Curvatures,
    curvatures,
    edge,
    largest_eigenvalue,
)
from glassgrad.diagnosis.measures.pace import ended, pace
from glassgrad.diagnosis.measures.range_test import range_test, usual_rates
from glassgrad.diagnosis.measures.short_runs import ShortRuns
from glassgrad.diagnosis.measures.stable_step import stable_step
from glassgrad.optim.optimizers import optimizer
from glassgrad.report.page import Figure, Page
from glassgrad.report.questions import section
from glassgrad.report.sections.learning_rate import draw
from glassgrad.report.words import number
from glassgrad.training.given import Given
from glassgrad.training.settings import Settings, make_settings
from training.small import blobs

LINE: dict[str, Any] = {
    "layers": (),
    "optimizer": "sgd(0.1)",
    "batch_size": 300,
    "epochs": 3,
    "validation": 0.0,
}


def look(data: gg.Dataset, budget: float = 30.0, **options: Any) -> Subject:
    return examine(Given(data), make_settings(options), Clock(budget))


@cache
def plane() -> gg.Dataset:
    """A linear function of four inputs, two of which nearly agree."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(300, 4))
    X[:, 3] = X[:, 2] + 0.5 * X[:, 3]
    return gg.from_arrays(X, X @ [1.0, -2.0, 0.5, 1.0] + 0.1 * rng.normal(size=300), name="plane")


@cache
def waves() -> gg.Dataset:
    """A wavy function of three inputs."""
    rng = np.random.default_rng(4)
    X = rng.uniform(-1.5, 1.5, size=(800, 3))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=800)
    return gg.from_arrays(X, y, name="waves")


# --- curvature against theory --------------------------------------------------------------------------------


def test_lanczos_finds_the_largest_eigenvalue() -> None:
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(60, 60)))
    values = np.r_[-30.0, rng.uniform(-1, 1, 57), 4.0, 9.0]
    matrix = basis * values @ basis.T
    assert largest_eigenvalue(lambda v: matrix @ v, 60, iterations=40) == pytest.approx(9.0, rel=0.01)
    assert largest_eigenvalue(lambda v: 3 * v, 7) == pytest.approx(3.0)
    assert math.isnan(largest_eigenvalue(lambda v: v * np.nan, 7))


STEPS = ["sgd(0.1)", "sgd(0.1, momentum=0.9)", "sgd(0.1, momentum=0.9, nesterov=True)"]


@pytest.mark.parametrize("name", [*STEPS, "adam"])
def test_above_the_edge_the_optimizer_diverges_on_a_parabola(name: str) -> None:
    part = optimizer(name)

    def grows(rate: float) -> bool:
        """Whether (weight, velocity or first moment) grows on x^2 / 2, step by step."""
        b = getattr(part, "momentum", getattr(part, "beta1", 0.0))
        columns = []
        for x, v in ((1.0, 0.0), (0.0, 1.0)):
            moment = b * v + ((1 - b) * x if name == "adam" else x)
            ahead = x + b * moment if getattr(part, "nesterov", False) else moment
            columns.append((x - rate * ahead, moment))
        return bool(np.abs(np.linalg.eigvals(np.array(columns).T)).max() > 1)

    assert not grows(0.99 * edge(part))
    assert grows(1.01 * edge(part))


def test_the_curvature_of_a_linear_network_is_that_of_its_inputs() -> None:
    subject = look(plane(), **LINE)
    features, _ = subject.probe
    whole = np.c_[features.astype(float), np.ones(len(features))]
    exact = float(np.linalg.eigvalsh(2 * whole.T @ whole / len(whole))[-1])  # of the mean of (y - t)^2
    found = curvatures(subject)
    assert found["start"].sharpness == pytest.approx(exact, rel=0.01)
    assert found["end"].sharpness == pytest.approx(exact, rel=0.01)
    assert found["start"].bound == pytest.approx(2 / exact, rel=0.01)


def test_the_product_is_the_difference_of_two_gradients() -> None:
    subject = look(blobs(90), layers=(6,), activation="tanh", epochs=2, dtype="float64")
    found = Curvatures(subject)
    rng, model = np.random.default_rng(1), subject.start
    vectors = {name: rng.normal(size=a.shape) for name, a in model.weights.items()}

    def gradients(step: float) -> dict[str, Any]:
        weights = {name: a + step * vectors[name] for name, a in model.weights.items()}
        state = model.statistics | {VECTOR + name: v for name, v in vectors.items()}
        return found.executable.run(Feed(found.data, np.arange(found.count), weights, state, {})).outputs

    high, low, here = gradients(1e-5), gradients(-1e-5), gradients(0.0)
    for name in vectors:
        difference = (high[GRADIENT + name] - low[GRADIENT + name]) / 2e-5
        np.testing.assert_allclose(here[PRODUCT + name], difference, rtol=1e-4, atol=1e-7)


def test_adams_curvature_is_preconditioned() -> None:
    subject = look(plane(), **(LINE | {"optimizer": "adam", "batch_size": 32}))
    products = Curvatures(subject)
    squares = products._squares(subject.start)
    features, targets = subject.probe
    whole = np.c_[features.astype(float), np.ones(len(features))]
    hessian = 2 * whole.T @ whole / len(whole)
    names = [item.name for item in products.program.params]
    order = [4, 0, 1, 2, 3] if "bias" in names[0] else [0, 1, 2, 3, 4]
    scale = 1 / np.sqrt(np.sqrt(squares) + 1e-8)
    exact = float(np.linalg.eigvalsh(scale[:, None] * hessian[np.ix_(order, order)] * scale)[-1])
    found = products.at(subject.start, 1)
    assert found.preconditioned == pytest.approx(exact, rel=0.01)
    assert found.preconditioned != pytest.approx(found.sharpness, rel=0.05)
    gradients = 2 * whole * (subject.start._run(features)["output"] - targets)
    single = gradients.var(axis=0)[order] / 32 + gradients.mean(axis=0)[order] ** 2
    np.testing.assert_allclose(squares, single, rtol=0.4)


def test_adams_curvature_does_not_depend_on_the_scale_of_inputs() -> None:
    """Inputs a hundred times larger have a curvature 10^4 times larger; Adam's curvature stays the same."""
    data = plane()
    large = gg.from_arrays(data.features * [100, 1, 1, 1], data.targets, name="large")
    common: dict[str, Any] = LINE | {"optimizer": "adam", "scaling": "none"}
    plain, scaled = (curvatures(look(d, **common))["start"] for d in (data, large))
    assert scaled.sharpness > 1000 * plain.sharpness
    assert scaled.preconditioned < 100 * plain.preconditioned
    assert scaled.edge == pytest.approx(38.0)


def test_a_network_that_cannot_be_differentiated_twice_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise GraphError("op 'odd' has no derivative rule")

    monkeypatch.setattr("glassgrad.diagnosis.measures.curvature.curvature_program", refuse)
    subject = look(blobs(60), layers=(4,), epochs=2, backend="reference")
    assert curvatures(subject) == {}
    assert any("curvature" in text for text in subject.clock.left_out)


# --- short runs, range test, largest stable step -------------------------------------------------------------


def test_a_short_run_takes_the_same_steps_as_training() -> None:
    subject = look(waves(), layers=(16,), epochs=1, schedule="constant")
    runs = ShortRuns(subject)
    rows, batch = len(subject.train_rows[0]), runs.batch
    steps = -(-rows // batch)
    losses = runs.losses([subject.settings.resolved_optimizer.learning_rate], [subject.settings.seed], steps)[
        0, 0
    ]
    counts = np.minimum(rows - batch * np.arange(steps), batch)
    assert losses @ counts / rows == pytest.approx(subject.run.history[0]["train_loss"], rel=1e-5)


def test_far_below_the_edge_ten_times_the_rate_is_a_tenth_of_the_steps() -> None:
    runs = ShortRuns(look(plane(), **LINE))
    slow, fast = runs.losses([0.0005, 0.005], [0], 401)[:, 0]
    assert fast[40] == pytest.approx(slow[400], rel=0.01)
    assert slow[400] < 0.8 * slow[0]


@pytest.mark.parametrize("name", STEPS)
def test_the_largest_stable_step_is_the_one_of_theory(name: str) -> None:
    subject = look(plane(), **(LINE | {"optimizer": name}))
    runs = ShortRuns(subject)
    found = stable_step(runs, (1, 2, 3), 0.1, subject.constant["loss"], 300)
    assert found is not None
    features, _ = subject.train_rows
    whole = np.c_[features.astype(float), np.ones(len(features))]
    sharpness = float(np.linalg.eigvalsh(2 * whole.T @ whole / len(whole))[-1])
    theory = edge(subject.settings.resolved_optimizer) / sharpness
    assert found.rate == pytest.approx(theory, rel=0.1)
    low, high = found.interval
    assert 0.9 * low <= theory <= 1.1 * high
    assert high / low < 1.2


def test_no_step_is_stable_where_nothing_can_be_learned() -> None:
    subject = look(blobs(90), layers=(8,), init="zeros", epochs=2)
    assert stable_step(ShortRuns(subject), (1, 2), 0.01, 0.1 * subject.constant["loss"], 50) is None


def test_a_range_test_is_extended_if_the_best_rate_is_at_an_end() -> None:
    runs = ShortRuns(look(plane(), **LINE))
    low = range_test(runs, [1e-6, 3e-6, 1e-5], [1], 40)
    assert low.best > 1e-5
    high = range_test(runs, [10.0, 30.0, 100.0], [1], 40)
    assert high.best < 10
    assert np.isinf(range_test(runs, [0.1, 1e6], [1], 200).means[-1])


def test_the_rates_of_the_range_test_include_the_users() -> None:
    assert 2e-9 in usual_rates(2e-9, 0.001)
    assert usual_rates(0.0, 0.001)[0] == pytest.approx(1e-5)
    assert sorted(usual_rates(0.0011, 0.001)) == usual_rates(0.0011, 0.001)
    assert 0.001 not in usual_rates(0.0011, 0.001)


# --- the pace ------------------------------------------------------------------------------------------------


def told(losses: Any, validation: Any = None) -> list[dict[str, float]]:
    rows = [{"train_loss": float(value)} for value in losses]
    for row, value in zip(rows, () if validation is None else validation, strict=False):
        row["validation_loss"] = float(value)
    return rows


def test_the_pace_distinguishes_converged_falling_and_oscillating_losses() -> None:
    epochs = np.arange(30)
    settled = pace(told(np.exp(-epochs / 3.0)), 1.0, 0.0)
    falling = pace(told(1 - epochs / 40), 1.0, 0.0)
    swinging = pace(told(0.5 + 0.2 * (-1.0) ** epochs), 1.0, 0.0)
    assert settled.falling < 0.01 < 0.2 < falling.falling
    assert settled.swing == 0 == falling.swing
    assert swinging.swing > 0.1
    assert swinging.rises == pytest.approx(0.5, abs=0.1)
    assert math.isinf(pace(told([1, 2, 3]), 1.0, 0.0, diverged=True).end)
    assert math.isnan(pace(told([1.0]), 1.0, 0.0).falling)
    assert ended(told([9, 9, 9, 9, 9, 9, 1, 1])) == 1


def test_a_schedule_that_ends_at_zero_is_no_plateau() -> None:
    """The gain of the last third of the summed rates counts, wherever that third lies."""
    losses = 1 - np.minimum(np.arange(30), 14) / 20
    history = told(losses)
    for epoch, row in enumerate(history):
        row["learning_rate"] = 1.0 if epoch < 15 else 0.0
    assert pace(history, 1.0, 0.0).falling > 0.2
    assert pace(told(losses), 1.0, 0.0).falling < 0.01


def test_a_run_that_overfits_is_not_late() -> None:
    validation = np.abs(np.arange(30) - 8.0)
    assert not pace(told(1 - np.arange(30) / 40, validation), 1.0, 0.0).late
    assert pace(told(1 - np.arange(30) / 40, -np.arange(30)), 1.0, 0.0).late


# --- settings of the optimizer -------------------------------------------------------------------------------


def lenses(norm: float) -> Any:
    found = {("gradient_norm", "dense_1"): np.full(10, norm)}

    class Seen(dict[Any, Any]):
        def layers(self, measure: str) -> tuple[str, ...]:
            return tuple(layer for known, layer in self if known == measure)

    return Seen(found)


def odd(norm: float = 1.0, steps: int = 1000, **options: Any) -> list[str]:
    settings = make_settings(options)
    return [
        item.name for item in unusual_settings(settings, lenses(norm), weights=100, steps=steps, per_epoch=50)
    ]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"optimizer": "sgd(0.1, momentum=0.99)"}, "momentum"),
        ({"optimizer": "adam(beta1=0.99)"}, "beta1"),
        ({"optimizer": "adam(beta2=0.5)"}, "beta2"),
        ({"optimizer": "adam(beta2=0.99999)"}, "beta2"),
        ({"optimizer": "rmsprop(decay=0.1)"}, "decay"),
        ({"optimizer": "adam(epsilon=0.1)"}, "epsilon"),
        ({"clip_norm": 0.001}, "clip_norm"),
        ({"clip_value": 0.001}, "clip_value"),
        ({"schedule": "step(1, 0.1)"}, "schedule"),
        ({"schedule": "warmup(1000)"}, "schedule"),
        ({"schedule": "exponential(0.5)"}, "schedule"),
    ],
)
def test_unusual_settings_are_reset(options: dict[str, Any], name: str) -> None:
    assert odd(**options) == [name]
    settings = make_settings(options)
    (found,) = unusual_settings(settings, lenses(1.0), weights=100, steps=1000, per_epoch=50)
    assert found.strength > 1
    assert found.fixes
    json.dumps(found.fixes[0].document())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "sgd(0.1, momentum=0.9)"},
        {"optimizer": "adam(beta1=0.8, beta2=0.99, epsilon=1e-7)"},
        {"optimizer": "rmsprop(decay=0.99)"},
        {"clip_norm": 1.0},
        {"clip_value": 1.0},
        {"schedule": "cosine"},
        {"schedule": "one_cycle"},
        {"schedule": "step(10, 0.5)"},
        {"schedule": "warmup(2, 'cosine')"},
        {"schedule": "reduce_on_plateau"},
    ],
)
def test_usual_settings_are_not_suspected(options: dict[str, Any]) -> None:
    assert odd(**options) == []


def test_a_long_memory_is_harmless_in_a_long_run() -> None:
    assert odd(optimizer="adam(beta2=0.9999)", steps=50_000) == []
    assert odd(optimizer="adam(beta2=0.9999)", steps=5_000) == ["beta2"]


def test_the_factors_are_those_of_the_schedule() -> None:
    found = factors(Settings(schedule="step(1, 0.1)"), 150, 50)
    np.testing.assert_allclose(found[[0, 60, 140]], [1, 0.1, 0.01])
    assert factors(Settings(schedule="reduce_on_plateau"), 150, 50).min() == 1


# --- planted faults, and runs that are all right -------------------------------------------------------------


def asked(data: Any, **options: Any) -> tuple[Diagnosis, Any]:
    """Only this question."""
    subject = examine(
        Given(gg.load_source(data) if isinstance(data, str) else data), make_settings(options), Clock(12.0)
    )
    examination = Examination(subject, {"learning_rate": learning_rate}, KINDS.values(), lambda phase: None)
    return examination.run(), examination.measured["learning_rate"]


PLANTED: list[tuple[str, dict[str, Any]]] = [
    ("learning_rate_too_high", {"learning_rate": 3.0}),
    ("learning_rate_too_high", {"optimizer": "sgd(2.0, momentum=0.9)"}),
    ("learning_rate_too_low", {"learning_rate": 1e-7}),
    ("learning_rate_too_low", {"optimizer": "sgd(1e-5)"}),
    ("too_few_epochs", {"epochs": 1}),
    ("batch_size", {"batch_size": 1500}),
    ("wrong_optimizer_setting", {"optimizer": "sgd(0.1, momentum=0.995)"}),
    ("wrong_optimizer_setting", {"schedule": "step(1, 0.1)"}),
    ("wrong_optimizer_setting", {"optimizer": "sgd(0.1)", "clip_norm": 1e-4}),
]


@pytest.mark.parametrize(("kind", "options"), PLANTED)
def test_a_planted_fault_is_named_first(kind: str, options: dict[str, Any]) -> None:
    found, measured = asked("digits", **({"layers": (32,), "epochs": 20} | options))
    assert found.named is not None
    assert found.named.kind == kind
    assert found.named.trial is not None
    assert found.named.trial.gain > 0.05
    assert found["learning_rate"].sentence.startswith(found.named.sentence)
    json.dumps(found["learning_rate"].document())
    if kind.startswith("learning_rate"):
        assert found.named.prescription is not None
        new = found.named.prescription.options["learning_rate"]
        assert (new < measured.rate) == kind.endswith("high")
        assert measured.stable is not None
        assert (measured.rate > measured.stable.interval[1]) == kind.endswith("high")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "sgd(0.05, momentum=0.9)"},
        {"learning_rate": 0.005, "schedule": "cosine", "batch_size": 64},
        {"optimizer": "rmsprop", "activation": "tanh", "init": "xavier_normal", "epochs": 8},
    ],
)
def test_a_good_run_has_no_fault(options: dict[str, Any]) -> None:
    found, measured = asked("digits", **({"layers": (32,), "epochs": 20} | options))
    assert found.named is None
    assert f"{measured.rate:g} is right" in found["learning_rate"].sentence
    low, high = measured.stable.interval
    assert measured.rate < low <= measured.stable.rate <= high
    assert set(measured.curvature) == {"start", "end"}
    assert all(0 < ratio < 1 for ratio in measured.ratios.values())


def test_a_regression_with_too_high_a_rate_is_recognized() -> None:
    jumping, _ = asked(waves(), optimizer="sgd(1.0, momentum=0.9)", layers=(16,), epochs=40)
    assert jumping.named is not None
    assert jumping.named.kind == "learning_rate_too_high"
    calm, _ = asked(waves(), optimizer="sgd(0.03, momentum=0.9)", layers=(16,), epochs=40)
    assert calm.named is None


def test_a_short_run_does_not_blame_its_rate() -> None:
    """In one epoch a higher rate gets further; over a usual number of steps it hardly does."""
    found, measured = asked("digits", layers=(32,), epochs=1)
    assert measured.sweep is not None
    whole = np.median(measured.sweep.training, axis=1)
    own = whole[np.argmin(np.abs(measured.sweep.rates - measured.rate))]
    assert own - whole.min() > 0.2 * measured.constant > measured.higher_gain()[0] * measured.constant
    assert "learning_rate_too_low" not in [fault.kind for fault in found.faults]


def test_batches_of_single_rows_are_not_mistaken_for_a_high_rate() -> None:
    """With batches of 32 rows the same rate is right."""
    found, _ = asked(
        "digits", layers=(32,), epochs=10, batch_size=1, optimizer="sgd(0.1)", schedule="constant"
    )
    assert found.named is not None
    assert found.named.kind == "batch_size"


def test_a_short_budget_lists_what_was_left_out() -> None:
    subject = look(blobs(60), layers=(4,), epochs=3, backend="reference")
    with subject.clock.limit(0.0):
        measured = learning_rate.measure(subject)
    assert measured.range is None
    assert measured.stable is None
    assert len(subject.clock.left_out) >= 2
    suspected("learning_rate", measured, subject)
    assert learning_rate.sentence(measured, []).endswith(".")


def test_zero_epochs_and_a_zero_rate_are_faults() -> None:
    none, _ = asked(blobs(200), epochs=0, layers=(8,))
    still, _ = asked(blobs(200), learning_rate=0.0, layers=(8,), epochs=40)
    assert none.named is not None
    assert none.named.kind == "too_few_epochs"
    assert still.named is not None
    assert still.named.kind == "learning_rate_too_low"


def test_a_measurement_has_no_verdict() -> None:
    """Suspicions are in the faults of the answer, not in the measurement."""
    found, measured = asked(blobs(200), layers=(8,), epochs=20, learning_rate=100.0)
    assert found.faults[0].kind == "learning_rate_too_high"
    assert "classification" not in measured.document()
    text = found.faults[0].sentence
    assert "too high" in text or "diverged" in text


# --- the section of the report -------------------------------------------------------------------------------


def test_the_section_shows_the_rates_and_their_limits() -> None:
    found, measured = asked(blobs(200), layers=(8,), epochs=20, learning_rate=0.01)
    blocks = draw(measured, found.subject.run)
    page = Page("A page", "Its lead.", [section("learning_rate", "", blocks)]).html()
    assert measured.stable is not None
    low, high = measured.stable.interval
    for text in (number(low), number(high), number(measured.stable.rate), "largest stable rate", "0.01"):
        assert text in page
    figures = [block for block in blocks if isinstance(block, Figure)]
    assert len(figures) >= 4


def test_the_section_of_a_run_that_diverged() -> None:
    found, measured = asked(waves(), layers=(16,), optimizer="sgd(1000.0)", epochs=4)
    assert found.subject.run.status == "diverged"
    answer = found["learning_rate"].sentence
    page = Page(
        "A page", "Its lead.", [section("learning_rate", answer, draw(measured, found.subject.run))]
    ).html()
    assert "diverged" in page
    assert "nan" not in page.lower().replace("nanum", "")
