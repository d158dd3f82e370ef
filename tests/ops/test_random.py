"""Random numbers: the published generator, the distributions, and independence of the division into batches.

``test_op_results.py`` tests that every backend gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from glassgrad.backends.reference import evaluate
from glassgrad.graph.node import DType, Graph, Value
from glassgrad.ops.op import make_input
from glassgrad.ops.random import random_bits, random_mask, random_normal, random_uniform, threefry2x32

ROWS = 1000


def draw(
    build: Callable[[Value, Value, Value], Value],
    rows: np.ndarray | None = None,
    seed: tuple[int, int] = (12, 0),
    step: int = 3,
) -> np.ndarray:
    rows = np.arange(ROWS) if rows is None else rows
    inputs = make_input("seed", (2,), "uint32"), make_input("step", (), "uint32")
    inputs = (*inputs, make_input("rows", rows.shape, "uint32"))
    (actual,) = evaluate(Graph(inputs, (build(*inputs),)), [np.array(seed), np.array(step), rows])
    return actual


def bits(seed: Value, step: Value, rows: Value, *, stream: int = 5) -> Value:
    return random_bits(seed, step, rows, stream=stream, shape=(7,))


# Known answers from the authors' Random123 library (kat_vectors, threefry2x32, 20 rounds).
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_numbers(
    counter: tuple[int, int], key: tuple[int, int], expected: tuple[int, int]
) -> None:
    def words(pair: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([pair[0]], np.uint32), np.array([pair[1]], np.uint32)

    with np.errstate(over="ignore"):
        actual = threefry2x32(words(key), words(counter))
    assert tuple(int(word[0]) for word in actual) == expected


def test_the_numbers_of_a_row_do_not_depend_on_its_batch() -> None:
    whole = draw(bits)
    order = np.random.default_rng(0).permutation(ROWS)[:30]
    parts = [draw(bits, rows) for rows in (order[:13], order[13:])]
    np.testing.assert_array_equal(np.concatenate(parts), whole[order])


def test_seed_step_stream_row_and_element_each_change_the_bits() -> None:
    rows = np.arange(40)
    variants = [
        draw(bits, rows),
        draw(bits, rows, seed=(13, 0)),
        draw(bits, rows, seed=(12, 1)),
        draw(bits, rows, step=4),
        draw(lambda *inputs: bits(*inputs, stream=6), rows),
    ]
    all_bits = np.concatenate([item.ravel() for item in variants])
    assert len(np.unique(all_bits)) > len(all_bits) - 2  # 1400 numbers below 2**32 rarely collide


@pytest.mark.parametrize(("dtype", "unit"), [("float32", 2.0**-24), ("float64", 2.0**-32)])
def test_uniform_numbers(dtype: DType, unit: float) -> None:
    x = draw(lambda *inputs: random_uniform(*inputs, stream=1, shape=(50,), dtype=dtype))
    assert x.dtype == dtype
    assert x.min() >= 0
    assert x.max() < 1
    np.testing.assert_array_equal(x / unit, np.floor(x / unit))
    counts = np.histogram(x, bins=100, range=(0, 1))[0]
    expected = x.size / 100
    # Chi-square with 99 degrees of freedom: mean 99, standard deviation 14.
    assert 99 - 5 * 14 < ((counts - expected) ** 2 / expected).sum() < 99 + 5 * 14
    for lag in (1, 2):
        assert abs(np.corrcoef(x[:, lag:].ravel(), x[:, :-lag].ravel())[0, 1]) < 5 / np.sqrt(x.size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers(dtype: DType) -> None:
    x = draw(lambda *inputs: random_normal(*inputs, stream=2, shape=(50,), dtype=dtype))
    assert (x.dtype, x.shape) == (dtype, (ROWS, 50))
    assert np.isfinite(x).all()
    n = x.size
    moments = [(x.astype(float) ** k).mean() for k in (1, 2, 3, 4)]
    spreads = np.sqrt([1, 2, 15, 96])  # standard deviations of x, x^2, x^3, x^4
    assert (np.abs(np.array(moments) - [0, 1, 0, 3]) < 5 * spreads / np.sqrt(n)).all()
    assert (np.abs(x) < 1.959964).mean() == pytest.approx(0.95, abs=5 * np.sqrt(0.95 * 0.05 / n))


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.97, 1.0])
def test_a_mask_is_true_with_its_probability(probability: float) -> None:
    mask = draw(lambda *inputs: random_mask(*inputs, stream=3, shape=(50,), probability=probability))
    assert mask.dtype == bool
    spread = np.sqrt(probability * (1 - probability) / mask.size)
    assert abs(mask.mean() - probability) <= 5 * spread


def test_a_mask_contains_the_mask_of_a_smaller_probability() -> None:
    few, many = (
        draw(lambda *inputs, p=p: random_mask(*inputs, stream=3, shape=(50,), probability=p))
        for p in (0.2, 0.6)
    )
    assert (many | ~few).all()
