"""A hundred random networks, native against reference; ``benchmarks/fuzz.py`` runs any number of them."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from backends.fuzzing import check
from backends.random_networks import draw, evaluation_task, training_task
from backends.rounding import compare, run
from glassgrad.backends.native.backend import NativeBackend
from glassgrad.nn.layer import LAYERS

PARTS, EACH = 10, 10
FIRST = 77_000_000


@pytest.mark.parametrize("part", range(PARTS))
def test_random_networks_train_alike_on_both_backends(part: int) -> None:
    compared = chaotic = 0
    for number in range(FIRST + part * EACH, FIRST + (part + 1) * EACH):
        recipe = draw(number)
        verdict = check(recipe)
        assert not verdict.complaints, (
            f"{verdict.complaints}\nreplay with benchmarks/fuzz.py --replay: {json.dumps(recipe)}"
        )
        compared += verdict.compared
        chaotic += verdict.chaotic
    assert compared > 10 * EACH
    assert chaotic < compared / 2, "most of this shows nothing: the networks must be drawn anew"


def test_the_networks_use_every_layer_and_survive_json() -> None:
    recipes = [draw(FIRST + i) for i in range(PARTS * EACH)]
    used = Counter(layer["type"] for recipe in recipes for layer in recipe["network"]["layers"])
    assert set(used) == set(LAYERS)
    assert {recipe["batch"] for recipe in recipes} >= {1, 2, 17}
    assert any(recipe["rows"] % recipe["batch"] for recipe in recipes)
    for key in (
        "dtype",
        "optimizer",
        "schedule",
        "loss",
        "clip_norm",
        "weighted",
        "machine",
        "small_units",
        "background",
    ):
        assert len({recipe[key] for recipe in recipes}) > 1, key
    assert any(recipe["frozen"] for recipe in recipes)
    assert json.loads(json.dumps(recipes)) == recipes


def test_a_small_error_is_detected() -> None:
    """Training by the float64 twin with one weight moved by 1e-9 of itself: far above any rounding error."""
    found = 0
    for number in range(FIRST, FIRST + 5):
        task = training_task(draw(number) | {"dtype": "float64"})
        name, array = next(iter(task.feed.params.items()))
        moved = array.copy()
        moved.flat[0] = moved.flat[0] * (1 + 1e-9) + 1e-12
        other = type(task.feed)(**{**vars(task.feed), "params": {**task.feed.params, name: moved}})
        found += bool(compare(task.program, task.feed, run(task.program, other), samples=3).wrong)
    assert found >= 4


def test_predictions_are_compared_too() -> None:
    task = evaluation_task(draw(FIRST) | {"dtype": "float64"})
    result = NativeBackend(cached=False).compile(task.program).run(task.feed)
    seen = compare(task.program, task.feed, result, samples=3)
    assert not seen.wrong
    assert seen.compared >= len(task.program.outputs)
    wrong = {name: np.where(array == 0, 1e-6, array * 1.001) for name, array in result.outputs.items()}
    spoiled = type(result)(result.params, result.state, wrong)
    assert compare(task.program, task.feed, spoiled, samples=3).wrong
