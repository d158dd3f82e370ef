"""Constraints on values, and that all parts and settings use them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import glassgrad as gg
from glassgrad.common.constraints import Choice, Constraint, Flag, Optional, Real, Whole, check, check_fields
from glassgrad.common.errors import InputError, shown
from glassgrad.common.frozen import frozen
from glassgrad.init.initializers import INITIALIZERS
from glassgrad.losses.table import LOSSES
from glassgrad.nn.activations import ACTIVATIONS
from glassgrad.nn.layer import LAYERS
from glassgrad.optim.gradients import GradientTransformation
from glassgrad.optim.optimizers import OPTIMIZERS
from glassgrad.optim.schedules import SCHEDULES
from glassgrad.training.settings import CONSTRAINTS, Settings

HUGE = 10**5000
NOT_NUMBERS = [math.nan, math.inf, -math.inf, True, False, "1", None, [1], 1j, np.nan, np.True_, HUGE, -HUGE]

SHARE = Real(minimum=0, below=1)
EPOCHS = Whole(0, 100)


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=lambda value: shown(value, 20))
@pytest.mark.parametrize("constraint", [Real(), SHARE, EPOCHS, Optional(Real(above=0)), Optional(EPOCHS)])
def test_values_that_are_not_finite_numbers_are_rejected(constraint: Constraint, value: Any) -> None:
    if value is None and isinstance(constraint, Optional):
        assert check("rate", value, constraint) is None
        return
    with pytest.raises(InputError) as caught:
        check("rate", value, constraint)
    message = str(caught.value)
    assert message.startswith(f"rate must be {constraint.requirement}, not ")
    assert "\n" not in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("constraint", "allowed", "refused"),
    [
        (Real(), [0, -1.5, 1e308], [10**400]),
        (Real(minimum=0), [0, 5], [-1e-300]),
        (Real(above=0), [1e-300], [0, -1]),
        (SHARE, [0, 0.999], [1, -0.001]),
        (Real(minimum=0, maximum=1), [0, 1], [1.001, -0.001]),
        (Real(above=0, maximum=1), [1], [0, 1.001]),
        (EPOCHS, [0, 100], [-1, 101, 2.0, 10**30]),
        (Flag(), [True, False], [0, 1, "yes", None]),
        (Choice(("best", "last")), ["best"], ["bst", "", None, 3, ["best"], "x" * 10_000]),
        (Optional(SHARE), [None, 0.5], [1]),
    ],
)
def test_bounds_are_checked(constraint: Constraint, allowed: list[Any], refused: list[Any]) -> None:
    for value in allowed:
        assert check("it", value, constraint) == value
    for value in refused:
        with pytest.raises(InputError) as caught:
            check("it", value, constraint)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("constraint", "value", "message"),
    [
        (SHARE, 1.5, "rate must be a number of at least 0 and below 1, not 1.5"),
        (Real(minimum=0), -1, "rate must be a number of at least 0, not -1"),
        (Real(above=0, below=1), 1, "rate must be a number above 0 and below 1, not 1"),
        (Real(above=0, maximum=1), 2, "rate must be a number above 0 and of at most 1, not 2"),
        (Real(minimum=0, maximum=2**31), -1, "rate must be a number from 0 to 2147483648, not -1"),
        (Real(), "x", "rate must be a finite number, not 'x'"),
        (Optional(Real(above=0)), 0, "rate must be a number above 0, or None, not 0"),
        (EPOCHS, 10**30, f"rate must be a whole number from 0 to 100, not {10**30}"),
        (EPOCHS, HUGE, "rate must be a whole number from 0 to 100, not a whole number of about 5,001 digits"),
        (Flag(), 1, "rate must be True or False, not 1"),
        (Choice(("a", "b")), 1, "rate must be one of a, b, not 1"),
        (Choice(("best", "last")), "bst", "unknown rate 'bst'; did you mean 'best'? (known: best, last)"),
    ],
    ids=lambda value: shown(value, 20),
)
def test_messages(constraint: Constraint, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        check("rate", value, constraint)


def test_numpy_numbers_become_python_numbers() -> None:
    for value, plain in (
        (np.int64(3), int),
        (np.uint8(3), int),
        (np.float32(0.5), float),
        (np.float64(0.5), float),
    ):
        constraint = EPOCHS if plain is int else SHARE
        assert type(check("it", value, constraint)) is plain
    assert check("it", np.True_, Flag()) is True

    @frozen
    class Part:
        rate: float
        count: int

    part = Part(np.float32(0.5), np.int32(2))
    check_fields(part, {"rate": SHARE, "count": EPOCHS})
    assert (type(part.rate), type(part.count)) == (float, int)
    with pytest.raises(InputError, match=r"^Part: rate must be"):
        check_fields(Part(1.0, 2), {"rate": SHARE}, "Part")


def test_any_value_can_appear_in_a_message() -> None:
    class Faulty:
        def __repr__(self) -> str:
            raise ValueError

    assert shown([HUGE]) == "<list>"
    assert shown(Faulty()) == "<Faulty>"
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown("x" * 1000)) == 80
    assert "\n" not in shown(np.eye(30))


# --- every part ---------------------------------------------------------------------------------------------------

REQUIRED = {
    "constant": {"value": 1.0},
    "uniform": {"low": 0.0, "high": 1.0},
    "normal": {"std": 1.0},
    "truncated_normal": {"std": 1.0},
    "dense": {"units": 2},
    "conv2d": {"filters": 2},
    "embedding": {"entries": 2, "dimension": 2},
    "simple_rnn": {"units": 2},
    "dropout": {"rate": 0.5},
}
NUMBERS = [math.nan, math.inf, True, "x", HUGE, -HUGE, 10**400]


def fields_of_parts() -> list[tuple[str, str, str, Callable[..., Any]]]:
    fields: list[tuple[str, str, str, Callable[..., Any]]] = []
    for item in (ACTIVATIONS, INITIALIZERS, LAYERS, LOSSES, SCHEDULES):
        registry: Any = item
        fields += [
            (registry.kind, name, field, registry.make)
            for name in registry
            for field, constraint in registry[name].constraints.items()
            if isinstance(constraint, Real | Whole)
        ]
    numbers = [
        (name, field) for name in OPTIMIZERS for field in OPTIMIZERS.fields_of(name) if field != "nesterov"
    ]
    fields += [("optimizer", name, field, OPTIMIZERS.make) for name, field in numbers]
    return fields


@pytest.mark.parametrize(("kind", "name", "field", "make"), fields_of_parts())
def test_every_numeric_field_of_every_part_is_checked(
    kind: str, name: str, field: str, make: Callable[..., Any]
) -> None:
    required = REQUIRED.get(name, {})
    for value in NUMBERS:
        with pytest.raises(InputError) as caught:
            make({"name": name} | required | {field: value})
        message = str(caught.value)
        assert f": {field} must be " in message, message
        assert "\n" not in message
        assert len(message) < 250


@pytest.mark.parametrize("name", list(CONSTRAINTS))
def test_every_numeric_setting_is_checked(name: str) -> None:
    for value in [math.nan, HUGE, 10**30] if name in ("batch_size", "epochs", "seed") else [math.nan, HUGE]:
        with pytest.raises(InputError, match=f"^{name} must be ") as caught:
            Settings(optimizer="sgd", **{name: value})
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "value", [0, -1, 2.5, 10**30, HUGE, True, "3", math.nan], ids=lambda value: shown(value, 20)
)
def test_units_and_sizes_must_be_positive_integers(value: Any) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: gg.nn.Dense(value),
        lambda: gg.nn.Conv2D(value),
        lambda: gg.nn.Conv2D(2, kernel_size=value),
        lambda: gg.nn.MaxPool2D((2, value)),
        lambda: gg.nn.Embedding(value, 2),
        lambda: gg.nn.SimpleRNN(value),
        lambda: Settings(layers=[value]),
        lambda: gg.train_many("digits", [{}], threads=value),
        lambda: Settings(batch_size=value),
    ]
    for attempt in attempts:
        with pytest.raises(InputError, match="must be a whole number from 1 to "):
            attempt()


def test_other_numbers_are_checked_with_short_messages() -> None:
    for attempt in (
        lambda: GradientTransformation(clip_norm=HUGE),
        lambda: gg.nn.Reshape((HUGE,)),
        lambda: gg.Perceptron(learning_rate=math.nan),
        lambda: gg.Perceptron(epochs=HUGE),
        lambda: gg.check_derivative(lambda x: x, [1.0], step=0),
        lambda: gg.check_derivative(lambda x: x, [1.0], seed=-1),
        lambda: gg.diagnose("digits", budget=HUGE),
        lambda: gg.diagnose("digits", budget=math.nan),
        lambda: OPTIMIZERS.make(HUGE),  # type: ignore[arg-type]
        lambda: OPTIMIZERS.make({"name": HUGE}),
        lambda: Settings(optimizer="adam", momentum=HUGE),
        lambda: Settings(freeze=HUGE),
    ):
        with pytest.raises(InputError) as caught:
            attempt()  # type: ignore[no-untyped-call]
        assert len(str(caught.value)) < 250


def test_numpy_numbers_are_accepted_as_settings_and_options() -> None:
    settings = Settings(learning_rate=np.float64(0.5), epochs=np.int64(3), layers=np.array([4, 5]))
    assert (type(settings.epochs), type(settings.learning_rate), settings.layers) == (int, float, (4, 5))
    dense: Any = gg.nn.Dense(np.int64(3))
    assert type(dense.units) is int
    assert type(gg.nn.Dropout(np.float64(0.5)).rate) is float  # type: ignore[attr-defined]
