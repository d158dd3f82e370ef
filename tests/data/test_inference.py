"""What kind a column is taken for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from glassgrad.data.inference import infer, is_called_identifier
from glassgrad.data.table import Column


def column(values: Any, name: str = "x", missing: Any = ()) -> Column:
    array = np.array(values, dtype=object) if isinstance(values[0], str) else np.array(values)
    mask = np.zeros(len(array), dtype=bool)
    mask[list(missing)] = True
    if array.dtype.kind in "fO":
        array[mask] = np.nan if array.dtype.kind == "f" else ""
    return Column(name, array, mask)


SENTENCES = [f"the house number {i} has a garden" for i in range(40)]
CODES = [f"A{i:05}" for i in range(40)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, 1.5, 2.5], "number"),
        ([1, 2, 1, 2, 1], "number"),
        (list(range(40)), "number"),
        ([True, False, True], "boolean"),
        (np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[us]"), "date"),
        (["red", "green", "red", "red"], "category"),
        ([f"city {i % 30}" for i in range(90)], "category"),
        (CODES, "identifier"),
        (CODES[:5], "identifier"),
        (SENTENCES, "text"),
        (SENTENCES * 2 + ["the same words once more"] * 3, "category"),
        ([f"review {i} is long enough to be text" for i in range(120)] * 3, "text"),
        (["x"] * 5, "constant"),
        ([3] * 5, "constant"),
        ([0.1] * 5, "constant"),
        ([True] * 5, "constant"),
        (np.array(["2020-01-01"] * 3, dtype="datetime64[us]"), "constant"),
        (["x"], "constant"),
    ],
)
def test_the_kind_follows_from_the_values(values: Any, kind: str) -> None:
    assert infer(column(values)) == kind


def test_a_column_without_a_value_is_empty() -> None:
    assert infer(column([np.nan] * 3, missing=range(3))) == "empty"


def test_a_constant_with_missing_values_is_used() -> None:
    assert infer(column(["x"] * 5, missing=[1])) == "category"
    assert infer(column([2.5] * 5, missing=[1])) == "number"
    assert infer(column([True] * 5, missing=[1])) == "boolean"


def test_missing_values_are_not_counted_as_distinct() -> None:
    assert infer(column(CODES, missing=range(30))) == "identifier"
    assert infer(column(["a", "b"] * 20, missing=range(30))) == "category"


@pytest.mark.parametrize(
    "name", ["id", "ID", "PassengerId", "customer_id", "row index", "uuid", "order-key", "userID"]
)
def test_whole_numbers_with_such_a_name_are_an_identifier(name: str) -> None:
    assert is_called_identifier(name)
    assert infer(column(list(range(1000, 1040)), name)) == "identifier"
    assert infer(column([float(i) for i in range(40)], name)) == "identifier"
    assert infer(column([1, 2, 3, 4] * 10, name)) == "number"  # a few shops, say
    assert infer(column([i + 0.5 for i in range(40)], name)) == "number"


@pytest.mark.parametrize("name", ["paid", "humid", "bid", "idea", "price index per year", "valid", "monkey"])
def test_whole_numbers_with_other_names_are_not_an_identifier(name: str) -> None:
    assert not is_called_identifier(name)
    assert infer(column(list(range(1000, 1040)), name)) == "number"
