"""The core of a diagnosis: what confirms a fix, trials, the run under examination, ranking, budget."""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import glassgrad as gg
from diagnosis.planting import fault_of
from glassgrad.common.durations import seconds_of
from glassgrad.common.errors import InputError
from glassgrad.common.plain import plain
from glassgrad.diagnosis.core.baseline import constant_scores
from glassgrad.diagnosis.core.budget import Clock
from glassgrad.diagnosis.core.evidence import Intervention, Suspicion, Trial
from glassgrad.diagnosis.core.examination import Examination
from glassgrad.diagnosis.core.findings import Diagnosis, Fault
from glassgrad.diagnosis.core.judging import chance, judged
from glassgrad.diagnosis.core.kinds import Kind, Symptoms
from glassgrad.diagnosis.core.questions import QUESTIONS
from glassgrad.diagnosis.core.ranking import explained, reached
from glassgrad.diagnosis.core.ranking import ranked as ranked_by
from glassgrad.diagnosis.core.scores import levels_of
from glassgrad.diagnosis.core.subject import Subject, examine
from glassgrad.diagnosis.core.trials import FINE, Outcome, Trials
from glassgrad.diagnosis.core.variants import columns, transformed
from glassgrad.diagnosis.diagnose import QUESTION_MODULES
from glassgrad.diagnosis.kinds import KINDS, register
from glassgrad.losses.table import LOSSES, loss
from glassgrad.training.changes import changed_settings
from glassgrad.training.given import Given
from glassgrad.training.settings import Settings, make_settings
from glassgrad.training.task import Preparation
from glassgrad.training.train import train
from training.small import blobs, counts, merged, surface

WANTED = {
    "learning_rate_too_high",
    "learning_rate_too_low",
    "zero_init",
    "constant_init",
    "init_too_large",
    "init_too_small",
    "dead_neurons",
    "saturated_neurons",
    "vanishing_gradient",
    "exploding_gradient",
    "loss_output_mismatch",
    "unsuitable_loss",
    "wrong_gradient",
    "unscaled_inputs",
    "shuffled_labels",
    "class_imbalance",
    "overfitting",
    "underfitting",
    "too_few_epochs",
    "plateau",
    "oscillation",
    "batch_size",
    "wrong_optimizer_setting",
    "regularization_too_strong",
    "missing_nonlinearity",
    "target_leak",
    "constant_feature",
}


GROUPS = typing.get_args(Symptoms)
CAUSE_ORDER = {name: place for place, name in enumerate(KINDS)}


def quick(**options: Any) -> Settings:
    return make_settings(
        merged({"backend": "reference", "layers": (8,), "epochs": 12, "batch_size": 16}, options)
    )


def look(data: gg.Dataset, budget: float = 600.0, **options: Any) -> Subject:
    return examine(Given(data), quick(**options), Clock(budget))


@pytest.fixture(scope="module")
def healthy() -> Subject:
    """Three clouds of points, learned well."""
    return look(blobs(150), learning_rate=0.02)


# --- kinds ---------------------------------------------------------------------------------------------------


def test_the_list_of_kinds_is_whole() -> None:
    assert set(KINDS) >= WANTED
    assert {kind.question for kind in KINDS.values()} == set(QUESTIONS)
    for kind in KINDS.values():
        assert set(kind.brings) <= {*KINDS, *GROUPS}
        assert not kind.brings_about(kind)
    assert {kind.group for kind in KINDS.values()} == {None, *GROUPS}


def test_causes_come_before_what_they_bring_about() -> None:
    """The order in which equally good explanations are named never puts a symptom first, but for mutual ones."""
    for kind in KINDS.values():
        for symptom in KINDS.values():
            if kind.brings_about(symptom) and not symptom.brings_about(kind):
                assert CAUSE_ORDER[kind.name] < CAUSE_ORDER[symptom.name], (kind.name, symptom.name)


def test_a_new_kind_takes_its_place_in_the_order_of_causes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassgrad.diagnosis.kinds.KINDS", known := dict(KINDS))
    register(new := replace(KINDS["plateau"], name="new"), before="dead_neurons")
    names = list(known)
    assert names[names.index("new") + 1] == "dead_neurons"
    assert known["new"] is new
    assert [name for name in names if name != "new"] == list(KINDS)
    register(replace(new, name="newest"))
    assert list(known)[-1] == "newest"
    for kind, before in (
        (new, None),
        (replace(new, name="a", question="neuron"), None),
        (replace(new, name="a"), "x"),
    ):
        with pytest.raises(InputError):
            register(kind, before=before)


# --- what confirms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "confirmed"),
    [
        ([1.0, 1.1, 1.05], [0.2, 0.21, 0.22], True),
        ([math.inf] * 3, [0.2, 0.21, 0.22], True),
        ([0.21, 0.20, 0.22], [0.2, 0.19, 0.21], False),  # tuning
        ([0.12, 0.10, 0.11], [0.06, 0.05, 0.055], False),  # half of next to nothing
        ([0.2, 2.0, 0.2], [0.2, 0.2, 0.2], False),  # one seed of three
        ([0.2, 0.2, 0.2], [1.0, 1.1, 1.05], False),
        ([math.inf] * 3, [math.inf] * 3, False),
        ([5.0, 5.0, 5.0], [2.4, 2.4, 2.4], False),  # better, and still no better than a constant
        ([1.0, 1.0, 1.0], [0.2, math.inf, 0.2], False),  # a fix that diverges is none
    ],
)
def test_an_improvement_is_large_and_beyond_chance(
    before: list[float], after: list[float], confirmed: bool
) -> None:
    assert judged(before, after, 2.3)[2] is confirmed


def test_more_is_better_where_it_is() -> None:
    low, high = [0.80, 0.81, 0.79], [0.95, 0.96, 0.94]
    assert judged(low, high, 0.1, better="higher")[2]
    assert not judged(high, low, 0.1, better="higher")[2]
    assert judged([-math.inf] * 3, high, 0.1, better="higher")[2]


def test_the_other_effects() -> None:
    same, worse = [0.2, 0.21, 0.19], [0.9, 0.95, 0.93]
    assert judged(same, same[::-1], 2.3, effect="unchanged")[2]
    assert not judged(same, worse, 2.3, effect="unchanged")[2]
    assert judged(same, worse, 2.3, effect="lowers")[2]
    assert not judged(worse, same, 2.3, effect="lowers")[2]
    assert not judged(same, [0.3, 0.31, 0.29], 2.3, effect="lowers")[2]


def test_faults_of_pace_need_more() -> None:
    before, after = [0.4, 0.41, 0.39], [0.1, 0.11, 0.09]
    assert judged(before, after, 2.3)[2]
    assert not judged(before, after, 2.3, least=KINDS["too_few_epochs"].gain)[2]


Scores = st.lists(st.floats(0.01, 3), min_size=3, max_size=6)


def test_harm_taken_away_may_be_enough_although_nothing_was_learned() -> None:
    harm, calm = [2.1, 1.9, 2.4, 2.0, 2.2], [0.65, 0.6, 0.62, 0.66, 0.61]
    assert judged(harm, calm, 0.55, relief=True)[2]
    assert not judged(harm, calm, 0.55)[2]
    assert not judged([0.9, 0.8, 0.85, 0.9, 0.88], calm, 0.55, relief=True)[2], "not far above the guess"
    assert not judged(harm, [1.2, 1.1, 1.3, 1.2, 1.25], 0.55, relief=True)[2], "half of the harm is left"


def test_a_sure_mechanism_needs_the_least_gain_or_the_cut_not_both() -> None:
    before = [0.330, 0.331, 0.329, 0.332, 0.328]
    after = [value - 0.05 for value in before]  # 7 % of the gap, 15 % of the score
    assert not judged(before, after, 1.0)[2]
    assert judged(before, after, 1.0, sure=True)[2]
    easy = [0.17, 0.171, 0.169, 0.172, 0.168]  # 2 % of the gap, 29 % of the score
    assert not judged(easy, [value - 0.05 for value in easy], 2.3)[2]
    assert judged(easy, [value - 0.05 for value in easy], 2.3, sure=True)[2]
    assert not judged(easy, [0.16, 0.18, 0.165, 0.175, 0.17], 2.3, sure=True)[2]


@given(Scores, Scores, st.floats(0.01, 100))
def test_the_verdict_knows_no_units_and_goes_one_way(
    one: list[float], other: list[float], scale: float
) -> None:
    size = min(len(one), len(other))
    before, after = np.array(one[:size]), np.array(other[:size])
    gain, noise, confirmed = judged(before, after, 2.3)
    again = judged(before * scale, after * scale, 2.3 * scale)
    if not math.isnan(gain) and abs(gain - noise) > 1e-9 and min(abs(gain - g) for g in (0.05, 0.25)) > 1e-9:
        assert again[:2] == pytest.approx((gain, noise), rel=1e-6, abs=1e-9)
    assert not (confirmed and judged(after, before, 2.3)[2])


def test_chance_is_students_t() -> None:
    assert chance(np.array([1.0, 2.0, 3.0])) == pytest.approx(2.92 / math.sqrt(3))
    assert chance(np.array([1.0])) == math.inf


# --- ranking -------------------------------------------------------------------------------------------------


def suspicion(kind: str, confirmed: bool = True, strength: float = 2.0, gain: float = 1.0) -> Fault:
    trial = Trial((1, 2, 3), "loss", (2.0,) * 3, (0.1,) * 3, confirmed, 0.0, gain=gain)
    return fault_of(kind, strength=strength, prescription=Intervention({}, ""), trial=trial)


def ranked(faults: Sequence[Fault], reach: Mapping[int, float]) -> list[Fault]:
    return ranked_by(faults, reach, CAUSE_ORDER)


def test_equally_good_fixes_name_the_cause() -> None:
    faults = [suspicion("vanishing_gradient"), suspicion("zero_init"), suspicion("dead_neurons")]
    order = ranked(faults, {0: 1.0, 1: 0.95, 2: 0.9})
    assert [fault.kind for fault in order] == ["zero_init", "dead_neurons", "vanishing_gradient"]


def test_a_fix_that_reaches_much_more_comes_first() -> None:
    faults = [suspicion("zero_init"), suspicion("vanishing_gradient"), suspicion("plateau", confirmed=False)]
    order = ranked(faults, {0: 0.3, 1: 1.0})
    assert [fault.kind for fault in order] == ["vanishing_gradient", "zero_init", "plateau"]


def test_of_too_small_and_too_few_steps_the_stronger_suspicion_is_named() -> None:
    small, few = "learning_rate_too_low", "too_few_epochs"
    for first, second in ((small, few), (few, small)):
        order = ranked([suspicion(second, strength=1.5), suspicion(first, strength=6.0)], {0: 1.0, 1: 0.9})
        assert [fault.kind for fault in order] == [first, second]


def test_a_fix_of_the_same_time_goes_before_ten_times_as_many_epochs() -> None:
    faults = [suspicion("too_few_epochs", strength=6.0), suspicion("class_imbalance")]
    assert [fault.kind for fault in ranked(faults, {0: 1.0, 1: 0.9})] == ["class_imbalance", "too_few_epochs"]
    with_rate = [*faults, suspicion("learning_rate_too_low", strength=1.0)]
    first = ranked(with_rate, {0: 1.0, 1: 0.9, 2: 1.0})[0]
    assert first.kind == "too_few_epochs", "where both lacks show, the stronger suspicion of the two is named"


def test_what_makes_scores_untrustworthy_comes_before_all_and_harmless_things_last() -> None:
    leak = replace(suspicion("target_leak"), trial=replace(suspicion("target_leak").trial, effect="lowers"))  # type: ignore[type-var]
    useless = suspicion("constant_feature")
    order = ranked([useless, suspicion("zero_init"), leak], {1: 1.0})
    assert [fault.kind for fault in order] == ["target_leak", "zero_init", "constant_feature"]
    assert [fault.verdict for fault in order] == ["fault", "fault", "warning"]


def test_reach_is_in_units_of_the_best_fix() -> None:
    assert reached(2.3, [0.3, 1.3, 2.5], 2.3) == pytest.approx([1.0, 0.5, -0.1])
    assert reached(math.inf, [0.3, math.inf], 2.3) == pytest.approx([1.0, 0.0])
    assert reached(2.3, [math.inf], 2.3) == [0.0]


def test_unconfirmed_symptoms_are_put_down_to_the_cause() -> None:
    first = suspicion("zero_init")
    faults = [first, suspicion("dead_neurons", confirmed=False), suspicion("overfitting", confirmed=False)]
    assert [fault.because for fault in explained(faults, first)] == [None, "zero_init", None]


# --- budget --------------------------------------------------------------------------------------------------


def test_the_clock_counts_down_and_limits_nest() -> None:
    time = [0.0]
    clock = Clock(30, lambda: time[0])
    time[0] = 10
    assert (clock.spent(), clock.left()) == (10, 20)
    with clock.limit(5):
        time[0] = 12
        assert clock.left() == 3
        with clock.limit(100), clock.collecting() as skipped:
            assert not clock.allows(4, "a long look")
            assert clock.allows(3, "a short look")
        assert skipped == ["a long look"]
        time[0] = 20
        assert clock.left() == 0
    assert clock.left() == 10
    assert clock.left_out == []


def test_a_budget_is_a_time() -> None:
    assert [seconds_of(item) for item in ("30s", "2min", "0.5", 12, "500ms", "1e-3 s")] == [
        30,
        120,
        0.5,
        12,
        0.5,
        0.001,
    ]
    for wrong in ("", "0", "-3s", "3 weeks", "s", "nan"):
        with pytest.raises(InputError, match="30s"):
            seconds_of(wrong)


# --- variants ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_as",
    [
        {"optimizer": "sgd", "learning_rate": 3.0, "momentum": 0.9},
        {"optimizer": "sgd(learning_rate=3.0, momentum=0.9)"},
        {"optimizer": {"name": "sgd", "learning_rate": 3.0, "momentum": 0.9}},
    ],
)
def test_the_optimizer_changes_however_it_was_given(given_as: dict[str, Any]) -> None:
    settings = Settings(**given_as)
    made = changed_settings(settings, {"learning_rate": 0.001}).resolved_optimizer
    assert made.hyperparameters() == {"learning_rate": 0.001, "momentum": 0.9}
    other = changed_settings(settings, {"optimizer": "adam", "learning_rate": 0.01}).resolved_optimizer
    assert type(other).__name__ == "Adam"
    assert other.hyperparameters()["learning_rate"] == 0.01
    kept = changed_settings(settings, {"epochs": 3}).resolved_optimizer
    assert kept == settings.resolved_optimizer


def test_options_of_layers_reach_a_given_network() -> None:
    network = gg.Sequential(
        gg.nn.Dense(8),
        gg.nn.ActivationLayer("sigmoid"),
        gg.nn.Dropout(0.9),
        gg.nn.Dense(8, "tanh", "zeros"),
        gg.nn.Dense(3),
    )
    options = {"activation": "relu", "init": "he_normal", "dropout": 0.1, "output_activation": "log_softmax"}
    changed = changed_settings(Settings(network=network), options).network
    assert isinstance(changed, gg.Network)
    first, second, drop, third, last = (node.layer for node in changed.nodes)
    names = [type(getattr(layer, "activation", None)).__name__ for layer in (first, second, third, last)]
    assert names == ["Identity", "ReLU", "ReLU", "LogSoftmax"]
    assert drop.rate == 0.1  # type: ignore[attr-defined]
    assert third.init == last.init == gg.nn.Dense(1).init  # type: ignore[attr-defined]


def test_a_network_without_any_activation_gets_one() -> None:
    network = gg.Sequential(gg.nn.Dense(8), gg.nn.Dense(8), gg.nn.Dense(3))
    changed = changed_settings(Settings(network=network), {"activation": "relu"}).network
    assert isinstance(changed, gg.Network)
    found = [type(node.layer.activation).__name__ for node in changed.nodes]  # type: ignore[attr-defined]
    assert found == ["ReLU", "ReLU", "Identity"]


def test_columns_can_be_left_out() -> None:
    data = blobs()
    assert columns(data) == ("x[0]", "x[1]")
    less = transformed(data, {"drop_inputs": ("x[0]",)})
    assert np.array_equal(less.features, data.features[:, 1:])
    for wrong, word in ((("x[7]",), "x\\[0\\]"), (("x[0]", "x[1]"), "nothing")):
        with pytest.raises(InputError, match=word):
            transformed(data, {"drop_inputs": wrong})


def test_targets_can_be_dealt_out_anew_and_read_as_another_task() -> None:
    data = gg.from_arrays(np.arange(30.0), np.arange(30) % 3 * 1.0)
    assert not data.classification
    assert transformed(data, {"task": "classification"}).classification
    dealt = transformed(data, {"shuffle_targets": 1}).targets
    assert sorted(dealt) == sorted(data.targets)
    assert not np.array_equal(dealt, data.targets)


# --- the constant predictor ----------------------------------------------------------------------------------

REGRESSIONS = [name for name in LOSSES if loss(name).task != "classification" and name != "kl_divergence"]
CLASSIFICATIONS = [name for name in LOSSES if loss(name).task != "regression" and name != "kl_divergence"]


@pytest.mark.parametrize("name", ["huber", "quantile", "absolute_error", "poisson", "squared_error"])
def test_no_constant_does_better_in_a_regression(name: str) -> None:
    task = Preparation(counts()).task(Settings(loss=name, layers=(), force=True))
    parts, part = task.parts, task.resolved.loss
    found = constant_scores(part, parts.schema, parts.train[1])["loss"]
    grid = np.linspace(-3, 3, 601)
    values = [_constant_loss(part, parts.train[1], np.array([c])) for c in grid]
    assert found == pytest.approx(min(values), rel=0.03, abs=0.003)


@pytest.mark.parametrize("spec", ["quantile(0.9)", "quantile(0.1)"])
def test_the_best_constant_of_the_quantile_loss_is_that_quantile(spec: str) -> None:
    task = Preparation(counts()).task(Settings(loss=spec, layers=(), force=True))
    found = constant_scores(task.resolved.loss, task.parts.schema, task.parts.train[1])["loss"]
    targets = task.parts.train[1]
    values = [_constant_loss(task.resolved.loss, targets, np.array([c])) for c in np.unique(targets)]
    assert found == pytest.approx(min(values), rel=1e-6)
    assert found < 0.8 * _constant_loss(task.resolved.loss, targets, np.median(targets, axis=0))


@pytest.mark.parametrize("name", CLASSIFICATIONS)
def test_the_constant_of_every_loss_of_classes_is_known(name: str) -> None:
    data = blobs(90, 2)
    task = Preparation(data).task(Settings(loss=name, layers=(), force=True))
    found = constant_scores(task.resolved.loss, task.parts.schema, task.parts.train[1])
    assert found["accuracy"] == pytest.approx(0.5, abs=0.02)
    assert found["nll"] == pytest.approx(math.log(2), abs=1e-3)
    assert math.isfinite(found["loss"])


def _constant_loss(part: Any, targets: np.ndarray, constant: np.ndarray) -> float:
    from glassgrad.backends.reference import evaluate
    from glassgrad.graph.node import Graph
    from glassgrad.ops.op import make_input

    outputs = make_input("o", targets.shape, "float64")
    wanted = make_input("t", targets.shape, "float64")
    graph = Graph((outputs, wanted), (part.row_losses(outputs, wanted),))
    return float(np.mean(evaluate(graph, [np.tile(constant, (len(targets), 1)), targets])[0]))


# --- the run under examination -------------------------------------------------------------------------------


def test_the_examined_run_is_the_one_that_train_makes(healthy: Subject) -> None:
    run = gg.train(blobs(150), quick(learning_rate=0.02))
    for name, weights in run.model.weights.items():
        assert np.array_equal(weights, healthy.run.model.weights[name])
    assert healthy.scaled_down == {}
    assert healthy.refusal is None
    assert healthy.run.lenses is not None


def test_the_start_has_the_first_weights(healthy: Subject) -> None:
    before = healthy.start.weights["dense_1.weights"]
    assert not np.array_equal(before, healthy.run.model.weights["dense_1.weights"])


def test_trials_never_see_test_rows(healthy: Subject) -> None:
    kept = {tuple(row) for row in healthy.trials.dataset.features}
    assert len(kept) == 120
    test_rows, _ = healthy.task.parts.test or (np.zeros((0, 2)), None)
    mean, scale = healthy.task.parts.schema.feature_mean, healthy.task.parts.schema.feature_scale
    given_back = np.round(test_rows * scale + mean, 4)
    assert not {tuple(row) for row in given_back} & {tuple(np.round(row, 4)) for row in kept}
    assert healthy.trials.settings.test == 0


def test_rows_are_given_up_before_epochs() -> None:
    subject = look(blobs(30_000), budget=2.0, epochs=6)
    asked, examined = subject.scaled_down["rows"]
    assert asked == 21_600
    assert 900 <= examined < asked
    assert subject.steps[0] > 2 * subject.steps[1]
    labels, shares = np.unique(subject.dataset.targets, return_counts=True)
    assert len(labels) == 3
    assert shares.max() - shares.min() <= 2
    assert subject.document()["scaled_down"]["rows"] == [asked, examined]


def refused(data: gg.Dataset, **options: Any) -> Subject:
    with pytest.raises(InputError):
        gg.train(data, quick(**options))
    return look(data, **options)


def test_what_force_is_enough_for_is_trained_as_it_is() -> None:
    subject = refused(blobs(), output_activation="softmax")
    assert subject.refusal is not None
    assert subject.refusal.trainable
    assert "softmax" in subject.refusal.message
    assert "--force" not in subject.refusal.message
    assert subject.network.final_activation().name == "softmax"


@pytest.mark.parametrize(
    ("data", "options", "stand_in"),
    [
        (blobs(), {"loss": "absolute_error"}, {"loss": "auto"}),
        (surface(), {"loss": "cross_entropy"}, {"loss": "auto"}),
        (
            surface(),
            {"loss": "negative_log_likelihood", "output_activation": "log_softmax"},
            {"loss": "auto"},
        ),
    ],
)
def test_a_loss_for_other_targets_gets_a_stand_in(
    data: gg.Dataset, options: dict[str, Any], stand_in: dict[str, Any]
) -> None:
    subject = refused(data, **options)
    assert subject.refusal is not None
    assert not subject.refusal.trainable
    assert stand_in.items() <= subject.refusal.stand_in.items()
    trial = subject.trials.compare(
        Intervention(subject.refusal.stand_in, ""), KINDS["loss_output_mismatch"], refused=True
    )
    assert not np.isfinite(trial.before).any()
    assert np.isfinite(trial.after).all()
    json.dumps(trial.document(), allow_nan=False)


def test_a_network_with_too_few_outputs_is_resized() -> None:
    network = gg.Sequential(gg.nn.Dense(8, "relu"), gg.nn.Dense(2))
    subject = refused(blobs(), network=network)
    assert subject.refusal is not None
    assert "network" in subject.refusal.stand_in
    assert subject.network.shapes((2,))["dense_2"] == (3,)


@pytest.mark.parametrize(
    ("data", "options", "kind", "fix"),
    [
        (blobs(), {"output_activation": "softmax"}, "loss_output_mismatch", {"output_activation": "auto"}),
        (blobs(), {"activation": "step"}, "vanishing_gradient", {"activation": "relu"}),
        (surface(), {"output_activation": "relu"}, "loss_output_mismatch", {"output_activation": "auto"}),
        (
            gg.from_arrays(np.arange(90.0)[:, None] * 1e39, np.arange(90) % 2),
            {"scaling": "none"},
            "unscaled_inputs",
            {"scaling": "standard"},
        ),
    ],
)
def test_a_refusal_knows_the_smallest_change_that_train_accepts(
    data: gg.Dataset, options: dict[str, Any], kind: str, fix: dict[str, Any]
) -> None:
    subject = refused(data, **options)
    assert subject.refusal is not None
    assert KINDS[kind].refused_for == subject.refusal.option
    assert subject.refusal.fixes[0] == fix


def test_what_cannot_be_meant_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to train"):
        look(blobs(), freeze=("dense_1", "dense_2"))


# --- trials --------------------------------------------------------------------------------------------------


def test_nothing_is_trained_twice(healthy: Subject) -> None:
    trials = healthy.trials
    first = trials.run([{}, {"learning_rate": 0.5}], trials.seeds(3))
    count = trials.count
    second = trials.run([{"learning_rate": 0.5}, {}], trials.seeds(3))
    assert trials.count == count
    assert second == first[::-1]
    assert healthy.settings.seed not in trials.seeds()


def test_a_variant_that_is_refused_does_not_stop_the_others(healthy: Subject) -> None:
    options: list[Mapping[str, Any]] = [{"momentum": 0.5}, {"loss": "huber"}, {"learning_rate": 0.1}]
    found = healthy.trials.run(options, healthy.trials.seeds(2))
    assert found[0] == found[1] == (None, None)
    assert all(outcome is not None for outcome in found[2])


def test_a_fix_is_confirmed_and_a_change_of_taste_is_not(healthy: Subject) -> None:
    broken = look(blobs(150), learning_rate=1e-6)
    fixed = broken.trials.compare(Intervention({"learning_rate": 0.02}, ""), KINDS["learning_rate_too_low"])
    assert fixed.confirmed
    assert fixed.measure == "loss"
    assert fixed.gain > 0.5
    taste = healthy.trials.compare(Intervention({"activation": "tanh"}, ""), KINDS["dead_neurons"])
    assert not taste.confirmed


def test_losses_of_two_kinds_are_not_compared(healthy: Subject) -> None:
    trial = healthy.trials.compare(Intervention({"loss": "squared_error"}, ""), KINDS["unsuitable_loss"])
    assert trial.measure == "accuracy"
    assert trial.better == "higher"
    regression = look(surface(), learning_rate=0.02)
    assert (
        regression.trials.compare(Intervention({"loss": "huber"}, ""), KINDS["unsuitable_loss"]).measure
        == "rmse"
    )


def test_a_diverged_run_counts_as_the_worst() -> None:
    subject = look(surface(), optimizer="sgd", learning_rate=50.0)
    assert subject.run.status == "diverged"
    trial = subject.trials.compare(Intervention({"learning_rate": 0.05}, ""), KINDS["learning_rate_too_high"])
    assert trial.confirmed
    assert set(trial.before) == {math.inf}
    assert trial.document()["before"] == [None] * len(trial.seeds)


def test_weights_of_rows_and_classes_go_where_the_rows_go() -> None:
    data = blobs(150)
    weights = 1.0 + data.targets
    subject = examine(Given(data, weights, {0: 2.0}), quick(), Clock(600))
    kept = subject.trials.given
    assert kept.class_weight == {0: 2.0}
    assert np.array_equal(np.asarray(kept.sample_weight), 1.0 + kept.dataset.targets)
    assert subject.task.parts.weights is not None
    assert len(subject.trials.run([{}], subject.trials.seeds(2))[0]) == 2


def test_balanced_accuracy_judges_imbalance() -> None:
    data = blobs(300)
    keep = np.r_[np.flatnonzero(data.targets == 0), np.flatnonzero(data.targets == 1)[:9]]
    generator = np.random.default_rng(0)
    X = data.features[keep] + generator.normal(scale=1.2, size=(len(keep), 2))
    subject = look(gg.from_arrays(X, data.targets[keep]), learning_rate=0.02)
    trial = subject.trials.compare(Intervention({"class_weight": "balanced"}, ""), KINDS["class_imbalance"])
    assert trial.measure == "balanced_accuracy"
    assert trial.constant == 0.5
    assert np.mean(trial.after) > np.mean(trial.before)


def test_shuffled_labels_are_told_from_learned_ones() -> None:
    data = blobs(240)
    assert not look(data).trials.permutation().confirmed
    labels = np.random.default_rng(3).permutation(data.targets)
    trial = look(gg.from_arrays(data.features, labels)).trials.permutation()
    assert trial.confirmed
    assert trial.effect == "proof"


def test_targets_are_dealt_anew_until_the_experiment_is_fine_enough() -> None:
    random = np.random.default_rng(0)
    data = gg.from_arrays(random.normal(size=(160, 6)), random.normal(size=160) ** 3)
    subject = look(data)
    few = subject.trials.permutation(subject.trials.seeds(3))
    assert not few.confirmed, "three seeds of heavy tails say nothing"
    many = subject.trials.permutation()
    assert len(many.seeds) > 5
    assert many.confirmed is (many.noise <= FINE and many.gain <= max(many.noise, 0.01))


def test_weights_chosen_by_validation_rows_are_scored_on_others(healthy: Subject) -> None:
    trials = healthy.trials
    assert trials.settings.test == 0
    options = trials.unseen().options
    assert options["validation"] + options["test"] == pytest.approx(trials.settings.validation)
    (outcome,) = trials.run([{**options, "keep": "best"}], trials.seeds(1))[0]
    settings = replace(trials.settings, keep="best", seed=trials.seeds(1)[0], **options)
    run = train(trials.dataset, settings)
    assert outcome is not None
    assert outcome.validation["loss"] == run.metrics["test"]["loss"] != run.metrics["validation"]["loss"]
    assert trials.known({**options, "keep": "best"}, trials.seeds(1)) == [outcome]
    assert trials.known({"learning_rate": 0.123}, trials.seeds(1)) == []


def test_few_whole_numbers_are_scored_as_labels_too() -> None:
    assert levels_of(np.array([[0.0], [1.0], [1.0]])).tolist() == [0.0, 1.0]
    assert levels_of(np.array([0.0, 0.5, 1.0])) is None
    assert levels_of(np.arange(30.0)) is None
    assert levels_of(np.ones((5, 2))) is None


@pytest.mark.parametrize(("after", "measure"), [(3.0, "accuracy"), (0.4, "loss")])
def test_where_a_loss_says_nothing_accuracy_is_asked(
    healthy: Subject, monkeypatch: pytest.MonkeyPatch, after: float, measure: str
) -> None:
    """A few rows that a network is sure of and wrong about: both losses are above that of a constant guess."""
    trials, constant = healthy.trials, {"loss": 1.1, "accuracy": 0.33}

    def outcome(seed: int, loss: float, accuracy: float) -> Outcome:
        scores = {"loss": loss + 0.01 * seed, "accuracy": accuracy + 0.01 * (seed % 3)}
        return Outcome(seed, "finished", scores, scores, constant, (), 10)

    def run(variants: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> list[Any]:
        count = range(len(seeds))
        good, bad = tuple(outcome(s, after, 0.9) for s in count), tuple(outcome(s, 9.0, 0.5) for s in count)
        return [good, bad]

    monkeypatch.setattr(trials, "run", run)
    trial = trials.compare(Intervention({"init": "he_normal"}, ""), KINDS["zero_init"], trials.seeds(3))
    assert (trial.measure, trial.confirmed) == (measure, True)


# --- the whole examination, with questions made up -----------------------------------------------------------


@dataclass(frozen=True)
class Numbers:
    value: float

    def document(self) -> dict[str, Any]:
        return {"value": np.float32(self.value), "nan": math.nan}


@dataclass(frozen=True)
class Planned:
    """A question with a measurement made up, and kinds that are suspected, with given fixes."""

    fixes: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)
    prove: Callable[..., Trial] | None = None
    fails: bool = False

    def measure(self, subject: Subject) -> Numbers:
        if self.fails:
            raise InputError("cannot look into this layer")
        return Numbers(1.0)

    def sentence(self, measurement: Numbers, faults: Sequence[Fault]) -> str:
        return f"{len(faults)} suspicions."

    def kind(self, kind: Kind) -> Kind:
        """``kind``, which is suspected if it is one of the given ones."""
        fixes = [Intervention(options, f"Try {options}.") for options in self.fixes.get(kind.name, ())]
        suspicion = Suspicion("dense_1", {"found": np.float64(2)}, 1.0, "made up", 2.0)
        return replace(
            kind,
            judge=lambda measurement, subject: [suspicion] * (kind.name in self.fixes),
            prescribe=lambda suspicion, measurement, subject: fixes,
            prove=self.prove,
        )


def examined(subject: Subject, **questions: Any) -> Diagnosis:
    planned = {name: questions.get(name, Planned()) for name in QUESTIONS}
    kinds = [planned[kind.question].kind(kind) for kind in KINDS.values()]
    return Examination(subject, planned, kinds, lambda phase: None).run()


def test_a_healthy_network_has_no_fault(healthy: Subject) -> None:
    found = examined(
        healthy,
        neurons=Planned({"dead_neurons": [{"activation": "tanh"}]}),
        learning_rate=Planned({"learning_rate_too_high": [{"learning_rate": 0.01}]}),
    )
    assert found.named is None
    assert found.verdict == "warning"
    assert found["loss"].verdict == "ok"
    assert [fault.confirmed for fault in found.faults] == [False, False]
    assert all(fault.trial is not None for fault in found.faults)


def test_every_kind_is_judged_once() -> None:
    """By the questions themselves, from measuring to the answers."""
    judged_kinds: list[str] = []

    def counted(kind: Kind) -> Kind:
        def judge(measurement: Any, subject: Subject) -> list[Suspicion]:
            judged_kinds.append(kind.name)
            return list(kind.judge(measurement, subject))

        return replace(kind, judge=judge)

    kinds = [counted(kind) for kind in KINDS.values()]
    subject = look(blobs(90), learning_rate=1e-6, epochs=3)
    Examination(subject, QUESTION_MODULES, kinds, lambda phase: None).run()
    assert sorted(judged_kinds) == sorted(KINDS)


def test_a_fix_that_cannot_be_built_is_not_tried(healthy: Subject) -> None:
    def prescribe(*_: Any) -> list[Intervention]:
        raise InputError("no such layer")

    planned = {name: Planned({"dead_neurons": []}) for name in QUESTIONS}
    kind = replace(planned["neurons"].kind(KINDS["dead_neurons"]), prescribe=prescribe)
    found = Examination(healthy, planned, [kind], lambda phase: None).run()
    assert [(fault.kind, fault.prescription, fault.trial) for fault in found.faults] == [
        ("dead_neurons", None, None)
    ]


def test_the_root_is_named_and_its_symptoms_follow() -> None:
    """A network of zeros looks dead and stuck; small random numbers fix all of it."""
    found = examined(
        look(blobs(150), init="zeros", learning_rate=0.02),
        neurons=Planned({"dead_neurons": [{"activation": "tanh"}]}),
        learning_rate=Planned({"plateau": [{"init": "xavier_normal"}]}),
        initialization=Planned({"zero_init": [{"init": "he_normal"}]}),
    )
    assert found.named is not None
    assert found.named.kind == "zero_init"
    because = {fault.kind: fault.because for fault in found.faults}
    assert because == {"zero_init": None, "plateau": "zero_init", "dead_neurons": "zero_init"}
    assert [found[name].verdict for name in QUESTIONS] == ["warning", "warning", "fault", "ok", "ok"]


def test_two_faults_of_their_own_are_both_named() -> None:
    """A step far too small, and a network that cannot bend: each fix helps, and one does not replace the other."""
    rings = np.random.default_rng(0).uniform(-1, 1, size=(240, 2))
    data = gg.from_arrays(rings, ((rings**2).sum(axis=1) > 0.6).astype(int), name="rings")
    found = examined(
        look(data, activation="identity", learning_rate=0.002, epochs=15),
        neurons=Planned({"missing_nonlinearity": [{"activation": "relu"}]}),
        learning_rate=Planned({"learning_rate_too_low": [{"learning_rate": 0.03}]}),
        loss=Planned({"underfitting": [{"activation": "relu", "learning_rate": 0.03}]}),
    )
    faults = {fault.kind: fault for fault in found.faults}
    assert faults["underfitting"].confirmed
    assert found.named is not None
    json.dumps(found.document(), allow_nan=False)


def test_a_second_fix_is_tried_where_the_first_does_nothing() -> None:
    found = examined(
        look(blobs(150), learning_rate=1e-6),
        learning_rate=Planned({"learning_rate_too_low": [{"learning_rate": 2e-6}, {"learning_rate": 0.02}]}),
    )
    assert found.named is not None
    assert found.named.prescription is not None
    assert found.named.prescription.options == {"learning_rate": 0.02}


def test_a_proof_stands_for_itself(healthy: Subject) -> None:
    proof = Trial((0,), "error of the derivative", (0.5,), (1e-9,), True, 0.0, effect="proof")
    found = examined(healthy, chain_rule=Planned({"wrong_gradient": []}, prove=lambda *_: proof))
    assert found.named is not None
    assert found.named.kind == "wrong_gradient"
    assert found.named.trial is proof


def test_a_question_that_cannot_be_answered_says_so(healthy: Subject) -> None:
    found = examined(healthy, neurons=Planned(fails=True))
    assert found["neurons"].left_out == ("could not be measured: cannot look into this layer",)
    assert found["neurons"].verdict == "ok"


def test_a_refused_network_is_faulty_even_if_no_question_says_so() -> None:
    found = examined(look(blobs(), loss="absolute_error", learning_rate=0.02))
    assert found.named is not None
    assert found.named.kind == "loss_output_mismatch"
    assert found.document()["examined"]["refused"]


def test_what_there_is_no_time_for_is_said(healthy: Subject) -> None:
    late = Subject(
        healthy.dataset,
        healthy.given,
        healthy.settings,
        healthy.asked,
        healthy.run,
        clock := Clock(1.0, iter(range(1000)).__next__),
        Trials(healthy.trials.given, healthy.settings, clock, 0.1),
    )
    found = examined(late, neurons=Planned({"dead_neurons": [{"activation": "tanh"}]}))
    assert found["neurons"].left_out == ("trying a fix for dead neurons in dense_1",)
    assert found.faults[0].trial is None
    assert found.verdict == "warning"


def test_on_fewer_rows_nothing_is_said_of_overfitting_and_pace_takes_all_steps() -> None:
    subject = look(blobs(30_000), budget=2.0, epochs=6, learning_rate=0.02)
    assert subject.steps[0] > 2 * subject.steps[1]
    found = examined(
        subject,
        loss=Planned({"overfitting": [{"layers": (4,)}]}),
        learning_rate=Planned({"too_few_epochs": [{"epochs": 12}]}),
    )
    assert [fault.kind for fault in found.faults] == ["too_few_epochs"]
    assert "overfitting in dense_1" in found["loss"].left_out[0]


def test_the_document_is_plain_json(healthy: Subject) -> None:
    found = examined(healthy, neurons=Planned({"dead_neurons": [{"activation": "tanh"}]}))
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert [item["question"] for item in document["questions"]] == list(QUESTIONS)
    (fault,) = document["questions"][0]["faults"]
    assert fault["kind"] == "dead_neurons"
    assert fault["prescription"]["changes"] == {"activation": "tanh"}
    assert fault["trial"]["seeds"] == list(healthy.trials.seeds(len(fault["trial"]["seeds"])))
    assert document["questions"][0]["measured"] == {"value": 1.0, "nan": None}


def test_plain_has_no_numpy_left() -> None:
    given = {"a": np.arange(2), "b": (np.float32(1.5), math.inf), 3: {np.int64(1)}, "c": gg.nn.Dense(1)}
    found = plain(given)
    assert found["a"] == [0, 1]
    assert found["b"] == [1.5, None]
    assert found["3"] == [1]
    assert found["c"].startswith("Dense(")
