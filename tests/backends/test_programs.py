"""Running programs: every backend against a hand-written NumPy loop, in one call and in chunks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backends.programs import BATCH, FEATURES, NOISE, ROWS, feed, regression, shortened
from backends.runners import BACKENDS
from glassgrad.backends.base import Executable, Feed, Result
from glassgrad.common.errors import InputError
from glassgrad.common.orders import Epochs
from glassgrad.graph.node import DType
from glassgrad.ops.op import make_input
from glassgrad.ops.random import random_words
from glassgrad.ops.structure import convert, reduce_sum
from glassgrad.program import Input, Output, Program

every_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(scope="module")
def compiled() -> dict[str, Executable]:
    return {name: backend.compile(regression()) for name, backend in BACKENDS.items()}


def by_hand(given: Feed, dtype: DType) -> dict[str, np.ndarray]:
    """The same training in NumPy, with a short last batch instead of padding."""
    w, b = given.params["w"].astype(float), float(given.params["b"])
    velocity = given.state["velocity"].astype(float)
    seed = np.array([given.seed & 0xFFFFFFFF, given.seed >> 32], np.uint32)
    outputs: dict[str, list[Any]] = {"loss": [], "prediction": [], "kept": [], "row": []}
    for step, start in enumerate(range(0, given.order.size, BATCH)):
        rows = given.order[start : start + BATCH]
        number = np.uint32(given.first_step + step)
        with np.errstate(over="ignore"):
            words = random_words(seed, number, rows.astype(np.uint32), NOISE, FEATURES)
        kept = words < np.uint32(round(0.75 * 2**32))
        x, y = given.data["x"][rows] * kept, given.data["y"][rows]
        prediction = x @ w + b
        error = prediction - y
        rate = np.asarray(given.hyper["rate"], dtype)[step]
        velocity = 0.5 * velocity - rate * 2 * (error @ x) / len(rows)
        w, b = w + velocity, b - rate * 2 * error.sum() / len(rows)
        outputs["loss"].append([np.mean(error**2)])
        for name, array in (("prediction", prediction), ("kept", kept), ("row", rows)):
            outputs[name].append(array)
    joined = {name: np.concatenate(parts) for name, parts in outputs.items()}
    return joined | {"w": w, "b": np.array(b), "velocity": velocity}


@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [20, 18, 3])
def test_training_equals_a_hand_written_loop(backend: str, dtype: DType, rows: int) -> None:
    given = shortened(feed(dtype), rows)
    result = BACKENDS[backend].compile(regression(dtype)).run(given)
    expected = by_hand(given, dtype)
    actual = {"loss": result.outputs["loss"], "prediction": result.outputs["prediction"]}
    actual |= result.params | {"velocity": result.state["velocity"]}
    for name, array in actual.items():
        assert (array.dtype, array.shape) == (dtype, expected[name].shape)
        # Fewer than 100 operations, each exact to eps, on numbers of magnitude 10.
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1000 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(result.outputs["kept"], expected["kept"])
    np.testing.assert_array_equal(result.outputs["row"], expected["row"])
    assert result.state["count"] == rows
    assert result.outputs["step"].tolist() == [100 + i for i in range(-(-rows // BATCH))]


def chunk(whole: Feed, start: int, stop: int, before: Result | None) -> Feed:
    """The feed for steps ``start`` to ``stop`` of ``whole``, which continues from the result ``before``."""
    part = replace(
        whole,
        order=whole.order[start * BATCH : stop * BATCH],
        hyper={"rate": whole.hyper["rate"][start:stop], "momentum": 0.5},
        first_step=whole.first_step + start,
    )
    return part if before is None else replace(part, params=before.params, state=before.state)


def assert_same_bits(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert actual.keys() == expected.keys()
    for name, array in actual.items():
        assert (array.dtype, array.shape, array.tobytes()) == (
            expected[name].dtype,
            expected[name].shape,
            expected[name].tobytes(),
        )


@every_backend
def test_a_run_in_chunks_has_the_bits_of_one_call(backend: str, compiled: dict[str, Executable]) -> None:
    whole = shortened(feed(), 18)
    expected = compiled[backend].run(whole)
    before, outputs = None, []
    for start, stop in ((0, 1), (1, 3), (3, 4), (4, 5)):
        before = compiled[backend].run(chunk(whole, start, stop, before))
        outputs.append(before.outputs)
    assert before is not None
    assert_same_bits(before.params, expected.params)
    assert_same_bits(before.state, expected.state)
    assert_same_bits({k: np.concatenate([o[k] for o in outputs]) for k in expected.outputs}, expected.outputs)


@every_backend
def test_a_second_run_gives_the_same_bits_and_the_feed_is_not_changed(
    backend: str, compiled: dict[str, Executable]
) -> None:
    given = feed()
    groups = (given.data, given.params, given.state)
    copies = [{name: array.copy() for name, array in group.items()} for group in groups]
    first, second = compiled[backend].run(given), compiled[backend].run(given)
    for a, b in ((first.params, second.params), (first.state, second.state), (first.outputs, second.outputs)):
        assert_same_bits(a, b)
    for group, copy in zip(groups, copies, strict=True):
        assert_same_bits(dict(group), copy)
    first.params["w"][:] = 0  # the caller may change the result
    assert_same_bits(second.params, compiled[backend].run(given).params)


@every_backend
def test_threads_can_share_a_compiled_program(backend: str, compiled: dict[str, Executable]) -> None:
    feeds = [replace(feed(), seed=seed) for seed in range(6)]
    alone = [compiled[backend].run(item) for item in feeds]
    with ThreadPoolExecutor(3) as pool:
        for actual, expected in zip(pool.map(compiled[backend].run, feeds), alone, strict=True):
            assert_same_bits(actual.params, expected.params)


@every_backend
def test_one_call_runs_several_epochs_separated_by_padding(
    backend: str, compiled: dict[str, Executable]
) -> None:
    """Two epochs of 10 rows in batches of 4 give the same bits in one call and in two calls."""
    whole = replace(feed(), hyper={"rate": 0.05, "momentum": 0.5})
    epochs = whole.order[:ROWS], whole.order[ROWS:]
    padding = np.full(2, -1, np.int32)
    together = compiled[backend].run(
        replace(whole, order=np.concatenate([epochs[0], padding, epochs[1], padding]))
    )
    first = compiled[backend].run(replace(whole, order=epochs[0]))
    second = compiled[backend].run(
        replace(whole, order=epochs[1], params=first.params, state=first.state, first_step=103)
    )
    assert_same_bits(together.params, second.params)
    assert_same_bits(together.state, second.state)
    joined = np.concatenate([first.outputs["loss"], second.outputs["loss"]])
    assert_same_bits({"loss": together.outputs["loss"]}, {"loss": joined})


@every_backend
@pytest.mark.parametrize("worth_code", [-1, 1 << 60])
def test_epochs_give_the_results_of_the_listed_order(
    backend: str, worth_code: int, compiled: dict[str, Executable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassgrad.backends.native.runtime.orders.WORTH_CODE", worth_code)
    whole = replace(feed(), hyper={"rate": 0.05, "momentum": 0.5})
    epochs = Epochs(ROWS, BATCH, seed=11, first=3, count=4)
    for part in (epochs, epochs[2 * BATCH : 7 * BATCH], epochs[: 5 * BATCH]):
        actual = compiled[backend].run(replace(whole, order=part))
        expected = compiled[backend].run(replace(whole, order=np.asarray(part)))
        for a, b in (
            (actual.params, expected.params),
            (actual.state, expected.state),
            (actual.outputs, expected.outputs),
        ):
            assert_same_bits(a, b)


@every_backend
def test_epochs_that_do_not_fit_are_rejected(backend: str, compiled: dict[str, Executable]) -> None:
    whole = replace(feed(), hyper={"rate": 0.05, "momentum": 0.5})
    for epochs, message in (
        (Epochs(ROWS, BATCH + 1, seed=0), "the epochs have batches of 5, but the program takes 4"),
        (Epochs(ROWS + 1, BATCH, seed=0), "rows outside of 0 to 9"),
        (Epochs(ROWS, BATCH, seed=0)[:0], "at least one row"),
    ):
        with pytest.raises(InputError, match=message):
            compiled[backend].run(replace(whole, order=epochs))


@every_backend
def test_the_order_selects_the_rows(backend: str, compiled: dict[str, Executable]) -> None:
    given = replace(feed(), order=np.array([9, 0, 9, 3], np.int32), hyper={"rate": 0.0, "momentum": 0.0})
    result = compiled[backend].run(given)
    assert result.outputs["row"].tolist() == [9, 0, 9, 3]
    np.testing.assert_array_equal(result.outputs["kept"][0], result.outputs["kept"][2])
    assert_same_bits(result.params, dict(given.params))


@every_backend
def test_padding_does_not_affect_the_results(backend: str, compiled: dict[str, Executable]) -> None:
    """Padding refers to row 0, so changing row 0 must not affect a batch without it."""
    given = replace(feed(), order=np.array([5, 2, 7], np.int32), hyper={"rate": 0.1, "momentum": 0.5})
    expected = compiled[backend].run(given)
    data = {name: array.copy() for name, array in given.data.items()}
    for array in data.values():
        array[0] = 1e6
    actual = compiled[backend].run(replace(given, data=data))
    assert_same_bits(actual.params, expected.params)
    assert_same_bits(actual.outputs, expected.outputs)
    assert expected.outputs["prediction"].shape == (3,)


@every_backend
def test_the_random_numbers_depend_on_seed_and_step(backend: str, compiled: dict[str, Executable]) -> None:
    def masks(**changes: Any) -> np.ndarray:
        return compiled[backend].run(replace(feed(), **changes)).outputs["kept"]

    base = masks()
    assert 0.5 < base.mean() < 0.95
    assert (masks(seed=2**40 + 18) != base).any()
    assert (masks(seed=17) != base).any()  # only the upper word differs
    assert (masks(first_step=0) != base).any()


@every_backend
def test_a_program_may_have_no_data_inputs(backend: str) -> None:
    w, row_mask = make_input("w", (2,), "float32"), make_input("row_mask", (BATCH,), "bool")
    inputs = (Input("w", "param", w), Input("row_mask", "row_mask", row_mask))
    program = Program(
        "count", BATCH, inputs, {"w": w + reduce_sum(convert(row_mask, "float32"))}, (Output("w", w),)
    )
    given = Feed({}, np.arange(6, dtype=np.int32), {"w": np.zeros(2, np.float32)}, {}, {})
    result = BACKENDS[backend].compile(program).run(given)
    assert result.params["w"].tolist() == [6, 6]
    assert result.outputs["w"].tolist() == [[0, 0], [4, 4]]


def bad(**changes: Any) -> Feed:
    """The feed with entries replaced; None removes an entry."""
    given = feed()
    for kind, change in changes.items():
        if isinstance(change, dict):
            table = {**getattr(given, kind), **change}
            given = replace(given, **{kind: {k: v for k, v in table.items() if v is not None}})
        else:
            given = replace(given, **{kind: change})
    return given


@every_backend
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"x": None}}, r"data 'x': the program takes float32\[4, 3\] per batch, got nothing"),
        ({"data": {"x": np.zeros((ROWS, FEATURES))}}, r"data 'x': .* got float64\[10, 3\]"),
        ({"data": {"x": np.zeros((ROWS, 2), np.float32)}}, r"data 'x': .* got float32\[10, 2\]"),
        ({"data": {"y": np.zeros(9, np.float32)}}, "data 'y' has 9 rows, but other data has 10"),
        ({"order": np.array([3, 10])}, "rows outside of 0 to 9"),
        ({"order": np.array([-2])}, "rows outside of 0 to 9"),
        ({"order": np.array([0, 1, 2, 3, -1])}, "padding only"),
        ({"order": np.array([], np.int32)}, "at least one row"),
        ({"params": {"w": None}}, r"parameter 'w': the program takes float32\[3\], got nothing"),
        ({"params": {"b": np.zeros(1, np.float32)}}, r"parameter 'b': .* got float32\[1\]"),
        ({"state": {"count": np.array(0)}}, r"state 'count': the program takes int32, got int64\[\]"),
        ({"hyper": {"momentum": None}}, "hyperparameter 'momentum' is missing"),
        ({"hyper": {"rate": np.ones(4)}}, r"hyperparameter 'rate' must be one number or one per step \(5\)"),
    ],
)
def test_an_invalid_feed_is_rejected_and_the_entry_is_named(
    backend: str, changes: dict[str, Any], message: str, compiled: dict[str, Executable]
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        compiled[backend].run(bad(**changes))
    assert "\n" not in str(caught.value)
