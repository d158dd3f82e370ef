"""Row orders drawn by machine code equal NumPy's bit for bit, on every kind of machine."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgrad.backends.native.driver.generate import generate_shuffle
from glassgrad.backends.native.runtime import orders
from glassgrad.backends.native.runtime.arguments import ORDER_SLACK
from glassgrad.backends.native.runtime.machine import host, machine
from glassgrad.backends.native.runtime.orders import Drawer
from glassgrad.common.orders import Epochs, epoch_order
from glassgrad.common.streams import SHUFFLE

MACHINES = [
    name
    for name, least in (("host", 0), ("avx2", 32), ("sse2", 16))
    if host().vector_bytes >= least and machine(name).triple == host().triple
]


@cache
def shuffle(target: str) -> tuple[Any, Any]:
    """The function, and what it lies in."""
    library = generate_shuffle(machine(target)).library()
    return library.function("shuffle", 1), library


def drawn(target: str, rows: int, batch: int, seed: int, first: int, count: int) -> np.ndarray:
    length = -(-rows // batch) * batch
    room = np.full(count * length + ORDER_SLACK + 1, -7, np.int32)
    args = np.array([room.ctypes.data, rows, length, seed, SHUFFLE, first, count], np.uint64)
    shuffle(target)[0](args.ctypes.data)
    assert room[-1] == -7, "it wrote behind its room"
    return room[: count * length].reshape(count, length)


@pytest.mark.parametrize("target", MACHINES)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 9, 63, 64, 65, 1437, 70_000])
def test_an_order_is_that_of_numpy(rows: int, target: str) -> None:
    for seed, first in ((0, 1), (7, 2**40), (2**64 - 1, 2**64 - 3)):
        found = drawn(target, rows, 7, seed, first, 2)
        for number, order in enumerate(found):
            np.testing.assert_array_equal(order[:rows], epoch_order(rows, seed=seed, epoch=first + number))
            assert not order[rows:].any()


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 700), st.integers(1, 50), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 4))
def test_any_order_is_that_of_numpy(rows: int, batch: int, seed: int, first: int) -> None:
    for number, order in enumerate(drawn("host", rows, batch, seed, first, 3)):
        np.testing.assert_array_equal(order[:rows], epoch_order(rows, seed=seed, epoch=first + number))
        assert not order[rows:].any()


@pytest.mark.parametrize("worth", [-1, 1 << 60])
def test_a_drawer_returns_any_part_and_draws_each_order_once(
    worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "WORTH_CODE", worth)
    drawer, before = Drawer(generate_shuffle), Drawer.drawn
    whole = Epochs(10, 4, seed=3, first=1, count=7)
    for begin, end in ((0, 3), (3, 9), (4, 5), (0, 21), (6, 12), (20, 21)):
        part = whole[begin * 4 : end * 4]
        listed = np.asarray(part).reshape(-1, 4)
        rows, row_mask = drawer.draw(part)
        assert rows.dtype == np.int32
        np.testing.assert_array_equal(row_mask, listed >= 0)
        np.testing.assert_array_equal(rows, np.maximum(listed, 0))
    assert Drawer.drawn - before == 10 * (1 + 2 + 1 + 7 + 2 + 1)
    drawer.draw(whole[20 * 4 :])
    assert Drawer.drawn - before == 10 * (1 + 2 + 1 + 7 + 2 + 1)
