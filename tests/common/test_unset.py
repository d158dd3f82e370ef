"""``UNSET``, the default of options that were not given."""

from __future__ import annotations

import copy
import pickle

import pytest

from glassgrad.common.unset import UNSET, Unset, given


def test_unset_keeps_its_identity_when_copied_or_pickled() -> None:
    assert copy.copy(UNSET) is UNSET
    assert copy.deepcopy({"a": [UNSET]})["a"][0] is UNSET
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert Unset("unset") is UNSET


def test_unset_prints_as_unset_and_is_false() -> None:
    assert repr(UNSET) == str(UNSET) == f"{UNSET}" == "unset"
    assert not UNSET


@pytest.mark.parametrize("value", [None, 0, 0.0, False, "", (), {}])
def test_false_values_count_as_given(value: object) -> None:
    assert value != UNSET
    assert given({"a": value, "b": UNSET}) == {"a": value}
