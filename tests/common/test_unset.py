"""The marker for options that were not given."""

from __future__ import annotations

import copy
import pickle

import pytest

from glassgrad.common.unset import UNSET, Unset, given


def test_there_is_one_marker() -> None:
    assert copy.copy(UNSET) is UNSET
    assert copy.deepcopy({"a": [UNSET]})["a"][0] is UNSET
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert Unset("unset") is UNSET


def test_it_reads_as_unset_and_is_false() -> None:
    assert repr(UNSET) == str(UNSET) == f"{UNSET}" == "unset"
    assert not UNSET


@pytest.mark.parametrize("value", [None, 0, 0.0, False, "", (), {}])
def test_false_values_are_given(value: object) -> None:
    assert value != UNSET
    assert given({"a": value, "b": UNSET}) == {"a": value}
