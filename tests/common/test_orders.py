"""The row order of an epoch, and ``Epochs``, which draws orders later."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgrad.common.errors import InputError
from glassgrad.common.orders import Epochs, epoch_order


@given(st.integers(0, 200), st.integers(0, 2**64 - 1), st.integers(0, 2**40))
def test_an_order_is_a_permutation(rows: int, seed: int, epoch: int) -> None:
    order = epoch_order(rows, seed=seed, epoch=epoch)
    assert order.dtype == np.int32
    assert order.flags.c_contiguous
    assert np.array_equal(np.sort(order), np.arange(rows))
    assert np.array_equal(order, epoch_order(rows, seed=seed, epoch=epoch))


def test_each_seed_and_epoch_gives_a_different_order() -> None:
    orders = {tuple(epoch_order(50, seed=s, epoch=e).tolist()) for s in range(5) for e in range(5)}
    assert len(orders) == 25
    assert epoch_order(50, seed=1, epoch=3, shuffle=False).tolist() == list(range(50))


def test_the_order_does_not_change_between_releases() -> None:
    # If this fails, runs that were started with an older version no longer resume to the same bits.
    assert epoch_order(8, seed=0, epoch=0).tolist() == [6, 1, 7, 3, 2, 5, 4, 0]
    assert epoch_order(8, seed=7, epoch=2).tolist() == [3, 5, 1, 6, 2, 0, 7, 4]


def test_rows_seeds_and_epochs_out_of_range_are_rejected() -> None:
    for rows in (-1, 2**31):
        with pytest.raises(InputError, match="cannot be ordered"):
            epoch_order(rows, seed=0, epoch=0)
        with pytest.raises(InputError, match="cannot be ordered"):
            Epochs(rows, 1, 0)
    for wrong in (-1, 2**64):
        with pytest.raises(
            InputError, match=f"^seed must be a whole number from 0 to {2**64 - 1}, not {wrong}$"
        ):
            epoch_order(1, seed=wrong, epoch=0)
        with pytest.raises(
            InputError, match=f"^epoch must be a whole number from 0 to {2**64 - 1}, not {wrong}$"
        ):
            epoch_order(1, seed=0, epoch=wrong)
        with pytest.raises(
            InputError, match=f"^seed must be a whole number from 0 to {2**64 - 1}, not {wrong}$"
        ):
            Epochs(1, 1, wrong)


@given(st.data(), st.integers(1, 40), st.integers(1, 12), st.integers(1, 4))
def test_epochs_and_their_slices_equal_the_listed_orders(
    data: st.DataObject, rows: int, batch: int, count: int
) -> None:
    epochs = Epochs(rows, batch, seed=3, first=5, count=count)
    padding = [-1] * (-rows % batch)
    listed = [[*epoch_order(rows, seed=3, epoch=5 + i).tolist(), *padding] for i in range(count)]
    whole = np.array(listed, np.int32).reshape(-1)
    for _ in range(3):  # a slice, and slices of it
        ends = sorted(data.draw(st.tuples(*[st.integers(0, len(epochs) // batch)] * 2)))
        epochs, whole = (item[ends[0] * batch : ends[1] * batch] for item in (epochs, whole))
        drawn = np.asarray(epochs)
        assert drawn.dtype == np.int32
        assert len(epochs) == len(whole)
        np.testing.assert_array_equal(drawn, whole)
        visited = (whole.reshape(-1, batch) >= 0).sum(axis=1)
        np.testing.assert_array_equal(epochs.rows_per_step(), visited)


def test_epochs_can_be_sliced_at_batch_boundaries_only() -> None:
    epochs = Epochs(10, 4, seed=0)
    assert len(epochs[:4]) == 4
    for wrong in (slice(1, None), slice(0, 5), slice(0, 8, 2)):
        with pytest.raises(ValueError, match="cannot be cut"):
            epochs[wrong]
