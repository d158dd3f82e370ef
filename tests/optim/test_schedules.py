"""Learning-rate schedules: closed forms, boundaries, and independence of how steps are split."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgrad.common.errors import InputError
from glassgrad.optim.schedules import SCHEDULES, ReduceOnPlateau, Warmup, needs_validation, schedule

ALL_SPECS = [
    "constant",
    "step",
    "step(3, 0.1)",
    "exponential",
    "cosine",
    "cosine(0.1)",
    "warmup",
    "warmup(2.5, 'cosine')",
    "warmup(1, 'warmup(1, \"step(2)\")')",
    "warmup(1, 'reduce_on_plateau(patience=1)')",
    "one_cycle",
    "one_cycle(0.5, 0.1, 0)",
    "reduce_on_plateau",
    "reduce_on_plateau(0.1, 2, 0, 0)",
]


def factors(spec, steps, total=100, per_epoch=10, losses=()):
    steps = np.arange(steps) if isinstance(steps, int) else np.array(steps, dtype=np.int64)
    part = schedule(spec)
    return part.factors(steps, total_steps=total, steps_per_epoch=per_epoch, validation_losses=losses)


def by_epoch(spec, losses):
    """The factor in each epoch of one step, from epoch 0 to the one after the last loss."""
    return factors(spec, len(losses) + 1, per_epoch=1, losses=losses).tolist()


def test_every_registered_name_is_covered():
    assert {spec.partition("(")[0] for spec in ALL_SPECS} == set(SCHEDULES)


def test_constant():
    assert (factors("constant", 100) == 1).all()


def test_step_falls_exactly_at_the_epoch():
    assert factors("step(2, 0.1)", [0, 19, 20, 39, 40]) == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_exponential_decays_by_factor_per_epoch_and_smoothly_within():
    values = factors("exponential(0.81)", [0, 5, 10, 20])
    assert values == pytest.approx([1, 0.9, 0.81, 0.6561])
    ratios = np.diff(np.log(factors("exponential(0.81)", 100)))
    np.testing.assert_allclose(ratios, math.log(0.81) / 10)


def test_cosine():
    assert factors("cosine", [0, 25, 50, 75]) == pytest.approx(
        [1, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4]
    )
    assert factors("cosine(0.2)", [0, 50, 100, 1000]) == pytest.approx([1, 0.6, 0.2, 0.2])
    assert factors("cosine", 100)[-1] > 0
    assert (np.diff(factors("cosine", 100)) < 0).all()


def test_warmup_rises_in_equal_steps_and_never_starts_at_zero():
    assert factors("warmup", 12) == pytest.approx([*np.arange(1, 11) / 10, 1, 1])
    assert factors("warmup(0.5)", 7) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])
    np.testing.assert_array_equal(factors("warmup(0, 'cosine')", 100), factors("cosine", 100))


def test_warmup_applies_the_inner_schedule_to_the_rest_of_the_run():
    after = factors("warmup(2, 'cosine(0.1)')", np.arange(20, 100))
    np.testing.assert_array_equal(after, factors("cosine(0.1)", 80, total=80))
    assert factors("warmup(1, 'step(2, 0.5)')", [29, 30]) == pytest.approx([1, 0.5])


def test_warmup_longer_than_the_run_only_rises():
    assert factors("warmup(20, 'cosine')", [0, 99], total=100) == pytest.approx([1 / 200, 0.5])
    assert factors("warmup(10, 'cosine')", [99, 100], total=100) == pytest.approx([1, 1])


def test_warmup_before_a_plateau_does_not_count_the_epochs_of_the_rise():
    losses = [9.0, 1.0, 1.0, 1.0]
    assert by_epoch("warmup(1, 'reduce_on_plateau(patience=1)')", losses) == [1, 1, 1, 0.5, 0.25]


def test_one_cycle():
    values = factors("one_cycle(0.4, 0.1, 0.01)", 101, total=101)
    assert values[[0, 20, 40, 70, 100]] == pytest.approx([0.1, 0.55, 1, 0.505, 0.01])
    assert (np.diff(values[:41]) > 0).all()
    assert (np.diff(values[40:]) < 0).all()
    default = factors("one_cycle", 1000, total=1000)
    assert default[[0, -1]] == pytest.approx([1 / 25, 1e-4])
    assert abs(int(np.argmax(default)) - 300) <= 1
    assert factors("one_cycle", [0], total=1) == pytest.approx([1 / 25])


# Plateau


def test_plateau_reduces_after_patience_epochs_without_progress():
    losses = [3, 2, 2, 2, 2, 2, 1, 1, 1]
    assert by_epoch("reduce_on_plateau(patience=2)", losses) == [
        1,
        1,
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.25,
        0.25,
        0.125,
    ]


def test_progress_restarts_the_count():
    losses = [5, 5, 4, 4, 3, 3, 2, 2, 1]
    assert by_epoch("reduce_on_plateau(patience=2)", losses) == [1] * 10


def test_progress_is_relative_to_the_best_loss():
    below_threshold, above_threshold = [100, 99, 99], [100, 98.9, 98.9]
    assert by_epoch("reduce_on_plateau(patience=2, threshold=0.01)", below_threshold)[-1] == 0.5
    assert by_epoch("reduce_on_plateau(patience=2, threshold=0.01)", above_threshold)[-1] == 1
    slow = [1 - 1e-5 * k for k in range(5)]  # each change, and the sum of all, is below the threshold
    assert by_epoch("reduce_on_plateau(patience=4)", slow)[-1] == 0.5


def test_progress_of_a_negative_loss():
    assert by_epoch("reduce_on_plateau(patience=1, threshold=0.1)", [-10, -11.5, -13]) == [1] * 4
    assert by_epoch("reduce_on_plateau(patience=1, threshold=0.1)", [-10, -10.5]) == [1, 1, 0.5]


def test_a_loss_that_is_not_finite_is_no_progress():
    assert by_epoch("reduce_on_plateau(patience=2)", [math.nan, math.inf, -math.inf, 1]) == [
        1,
        1,
        0.5,
        0.5,
        0.5,
    ]


def test_plateau_stops_at_its_minimum():
    assert by_epoch("reduce_on_plateau(0.1, 1, minimum=0.05)", [1] * 5) == pytest.approx(
        [1, 1, 0.1, 0.05, 0.05, 0.05]
    )


def test_plateau_holds_within_an_epoch_and_does_not_look_ahead():
    losses = [1.0] * 8
    values = factors("reduce_on_plateau(patience=1)", 80, losses=losses)
    assert (values.reshape(8, 10) == values[::10, None]).all()
    later = factors("reduce_on_plateau(patience=1)", 40, losses=[*losses[:3], 0.0, 0.0])
    np.testing.assert_array_equal(values[:40], later)


def test_plateau_refuses_missing_losses():
    assert factors("reduce_on_plateau", 10).tolist() == [1] * 10
    with pytest.raises(InputError, match="all 3 past epochs and got 2; hold out rows"):
        factors("reduce_on_plateau", [5, 30], losses=[1, 1])


def test_needs_validation():
    schedules_with_losses = [spec for spec in ALL_SPECS if needs_validation(schedule(spec))]
    assert schedules_with_losses == [spec for spec in ALL_SPECS if "reduce_on_plateau" in spec]
    assert len(schedules_with_losses) == 3


# Properties of all schedules


@st.composite
def parts(draw, nested=True):
    unit = st.floats(0, 1)
    positive = st.floats(0, 1, exclude_min=True)
    inside = st.floats(0, 1, exclude_min=True, exclude_max=True)
    count = st.integers(1, 20)
    options = {
        "constant": {},
        "step": {"every": count, "factor": positive},
        "exponential": {"factor": positive},
        "cosine": {"final": unit},
        "one_cycle": {"peak_at": inside, "start": positive, "final": unit},
        "reduce_on_plateau": {
            "factor": inside,
            "patience": count,
            "threshold": st.floats(0, 1, exclude_max=True),
            "minimum": unit,
        },
    }
    if nested:
        options["warmup"] = {"epochs": st.floats(0, 10), "then": parts(nested=False)}
    name = draw(st.sampled_from(sorted(options)))
    return {"name": name} | {key: draw(strategy) for key, strategy in options[name].items()}


@settings(max_examples=200, deadline=None)
@given(
    config=parts(),
    per_epoch=st.integers(1, 7),
    losses=st.lists(st.floats(), min_size=1, max_size=20),
    data=st.data(),
)
def test_factors_are_within_0_and_1_and_independent_of_how_the_steps_are_split(
    config, per_epoch, losses, data
):
    total = per_epoch * len(losses)
    run = {"total_steps": total, "steps_per_epoch": per_epoch}
    part, steps = schedule(config), np.arange(total)
    values = part.factors(steps, **run, validation_losses=losses)
    assert values.dtype == np.float64
    assert values.shape == steps.shape
    assert ((values >= 0) & (values <= 1)).all()  # NaN fails too
    cut = data.draw(st.integers(0, total))
    for piece in (steps[:cut], steps[cut:]):
        # Pass only the losses that are known when each epoch of the piece starts.
        for epoch in np.unique(piece // per_epoch):
            inside = piece[piece // per_epoch == epoch]
            past_losses = losses[: int(epoch)]
            np.testing.assert_array_equal(
                part.factors(inside, **run, validation_losses=past_losses), values[inside]
            )
    assert SCHEDULES.make(SCHEDULES.config(part)) == part


# Text and configuration


@pytest.mark.parametrize("spec", ALL_SPECS)
def test_round_trip_through_json(spec):
    part = schedule(spec)
    again = schedule(json.loads(json.dumps(SCHEDULES.config(part))))
    assert again == part
    assert hash(again) == hash(part)
    assert schedule(part) is part


def test_all_ways_to_write_a_nested_schedule_are_equal():
    inner = ReduceOnPlateau(patience=3)
    written = [
        Warmup(2, inner),
        schedule("warmup(2, 'reduce_on_plateau(patience=3)')"),
        schedule({"name": "warmup", "epochs": 2, "then": {"name": "reduce_on_plateau", "patience": 3}}),
    ]
    assert all(part == written[0] for part in written)
    assert SCHEDULES.config(written[1])["then"]["name"] == "reduce_on_plateau"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("step(0)", "'step': every must be a whole number from 1 to 2147483647, not 0"),
        ("step(2.5)", "'step': every"),
        ("step(True)", "'step': every"),
        ("step(factor=0)", "'step': factor must be a number above 0 and of at most 1, not 0"),
        ("exponential(1.1)", "'exponential': factor"),
        ("exponential('half')", "'exponential': factor"),
        ("cosine(-0.1)", "'cosine': final must be a number from 0 to 1, not -0.1"),
        ({"name": "cosine", "final": math.nan}, "'cosine': final"),
        ("warmup(-1)", "'warmup': epochs must be a number from 0 to 2147483647, not -1"),
        ("warmup(1e999)", "'warmup': epochs"),
        ("warmup(1, 'cosin')", "did you mean 'cosine'"),
        ("warmup(1, 3)", "a schedule is a name or a table, not 3"),
        ("one_cycle(0)", "'one_cycle': peak_at must be a number above 0 and below 1, not 0"),
        ("one_cycle(1)", "'one_cycle': peak_at"),
        ("one_cycle(start=0)", "'one_cycle': start"),
        ("one_cycle(final=2)", "'one_cycle': final"),
        ("reduce_on_plateau(1)", "'reduce_on_plateau': factor"),
        ("reduce_on_plateau(patience=0)", "'reduce_on_plateau': patience"),
        ("reduce_on_plateau(threshold=1)", "'reduce_on_plateau': threshold"),
        ("reduce_on_plateau(minimum=-1)", "'reduce_on_plateau': minimum"),
        ("linear", "unknown schedule 'linear'"),
        ("constant(1)", "takes no arguments"),
    ],
)
def test_wrong_parameters(spec, message):
    with pytest.raises(InputError) as error:
        schedule(spec)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
