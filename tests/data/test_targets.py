"""The target of a table: which column, which task, and its cells as labels or quantities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glassgrad.common.errors import InputError
from glassgrad.data.dataset import from_arrays, from_table
from glassgrad.data.sources import load_rows, load_source
from glassgrad.data.table import Table
from glassgrad.data.tabular import to_tabular
from glassgrad.data.targets import known_targets, training_targets


def data(**columns: Any) -> dict[str, Any]:
    rows = len(next(iter(columns.values())))
    return {"x": list(range(rows)), "z": [0.5] * rows} | columns


def refusal(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "classification", "dtype"),
    [
        (["a", "b"] * 3, True, "U"),
        ([True, False] * 3, True, "b"),
        ([0, 1] * 3, True, "i"),
        ([0.0, 1.0] * 3, True, "i"),
        ([*range(20), 0], True, "i"),
        ([*range(21), 0], False, "f"),
        ([*range(10)], False, "f"),  # each of its own: no classes
        ([0.5, 1.0] * 3, False, "f"),
    ],
)
def test_auto_takes_the_task_from_the_values(values: list[Any], classification: bool, dtype: str) -> None:
    found = from_table(data(y=values))
    assert (found.classification, found.targets.dtype.kind) == (classification, dtype)
    assert found.targets.tolist() == values


def test_the_last_column_is_the_target_unless_one_is_named() -> None:
    columns = data(y=["a", "b", "a"])
    guessed = from_table(columns)
    assert (guessed.target, guessed.target_is_guessed) == ("y", True)
    named = from_table(columns, "x")
    assert (named.target, named.target_is_guessed, named.classification) == ("x", False, False)
    assert isinstance(named.features, Table)
    assert named.features.names == ("z", "y")
    assert "no column 'Y'; did you mean 'y'?" in refusal(from_table, columns, "Y")


def test_the_task_can_be_given() -> None:
    assert from_table(data(y=[0, 1, 0]), task="regression").targets.dtype == np.float64
    assert from_table(data(y=["1", "2", "1"]), task="regression").targets.tolist() == [1, 2, 1]
    assert from_table(data(y=[5, 6, 7]), task="classification").targets.tolist() == [5, 6, 7]
    assert "unknown task 'regresion'; did you mean 'regression'" in refusal(
        from_table, data(y=[1, 2]), task="regresion"
    )


def test_rows_without_a_target_are_left_out() -> None:
    found = from_table(data(y=[1.5, None, 2.5, None]))
    assert found.dropped == 2
    assert found.targets.tolist() == [1.5, 2.5]
    assert isinstance(found.features, Table)
    assert found.features.numbers.tolist() == [0, 2]
    assert "'y' has no value in any row" in refusal(from_table, data(y=[None, None]))


@pytest.mark.parametrize(
    ("values", "task", "said"),
    [
        (["a", "a", "a"], "auto", "target 'y' has only one class, 'a'"),
        (
            [f"name {i}" for i in range(30)],
            "auto",
            "target 'y' has 30 distinct texts in 30 rows, too many",
        ),
        (
            ["1", "x", "2"],
            "regression",
            "target 'y' has 'x' in row 1 (rows count from 0), which is not a number",
        ),
        ([0.5, 1.0, 2.5], "classification", "target 'y' has 0.5 in row 0"),
        (np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[us]"), "auto", "target 'y' holds dates"),
    ],
)
def test_targets_that_do_not_suit_the_task_are_refused(values: Any, task: str, said: str) -> None:
    message = refusal(from_table, data(y=values), task=task)
    assert message.startswith(f"the dict of columns: {said}")


def test_a_table_with_only_a_target_is_refused() -> None:
    assert "no column besides the target" in refusal(from_table, {"y": [1, 0, 1]})


@pytest.mark.parametrize(
    ("classes", "values", "known"),
    [
        ((0, 1), [1, 0], [1, 0]),
        ((0, 1), [1.0, 0.0], [1, 0]),
        ((0, 1), ["1", "0"], [1, 0]),
        ((False, True), [True, False], [True, False]),
        ((False, True), ["TRUE", "False"], None),
        (("1", "2", "A"), [2, 1], ["2", "1"]),
        (("no", "yes"), ["yes", "maybe"], None),
        ((0, 1), [1, 2], None),
    ],
)
def test_labels_match_those_of_training(classes: Any, values: Any, known: Any) -> None:
    table = to_tabular(data(y=values))
    assert table is not None
    if known is not None:
        found = known_targets(table, "y", classes).values.tolist()
        assert found == known
        assert [type(item) for item in found] == [type(item) for item in known]
    else:
        assert "which is not a class of this model; its classes are" in refusal(
            known_targets, table, "y", classes
        )


def test_known_targets_need_their_column() -> None:
    table = to_tabular(data(y=[1, 2]))
    assert table is not None
    assert "no column 'label', which is this model's target" in refusal(known_targets, table, "label", (0, 1))
    assert known_targets(table, "y", None).values.dtype == np.float64


def test_training_targets_count_the_dropped_rows() -> None:
    table = to_tabular(data(y=["a", None, "b"]))
    assert table is not None
    found, classification = training_targets(table, "y", "auto")
    assert (found.dropped, found.values.tolist(), classification) == (1, ["a", "b"], True)
    assert found.features.names == ("x", "z")


def test_from_arrays_takes_a_table_with_separate_targets() -> None:
    columns = {"a": [1, 2, 3, 4], "b": ["x", "y", "x", "y"]}
    found = from_arrays(columns, ["no", "yes", "no", "yes"])
    assert isinstance(found.features, Table)
    assert (found.target, found.classification) == (None, True)
    with_test = from_arrays(columns, [0, 1, 0, 1], test_features=columns, test_targets=[0, 1, 0, 1])
    assert isinstance(with_test.test_features, Table)
    assert "X has 4 rows but y has 2" in refusal(from_arrays, columns, [0, 1])
    said = refusal(from_arrays, columns, [0, 1, 0, 1], test_features=np.eye(4), test_targets=[0, 1, 0, 1])
    assert "only one of X and test X is a table" in said


# --- files --------------------------------------------------------------------------------------------------


def test_a_file_is_a_data_set_with_a_name_and_an_origin(tmp_path: Path) -> None:
    (tmp_path / "some.data.csv").write_text("a,b,y\n1,x,no\n2,y,yes\n3,x,\n")
    found = load_source(tmp_path / "some.data.csv")
    assert (found.name, found.target, found.dropped) == ("some.data", "y", 1)
    assert found.origin is not None
    other = load_source(str(tmp_path / "some.data.csv"), target="a", task="regression")
    assert other.targets.tolist() == [1, 2, 3]
    assert other.origin is not None
    assert other.origin.options == {"target": "a", "task": "regression"}
    rows = load_rows(tmp_path / "some.data.csv", targets=True)
    assert isinstance(rows.features, Table)
    assert (rows.features.names, rows.targets, rows.part) == (("a", "b", "y"), None, "all")


def test_a_target_is_for_tables_only() -> None:
    assert "has its own targets" in refusal(load_source, "digits", target="y")


def test_the_task_of_arrays_can_be_given(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", X=np.eye(3), y=np.array([0, 1, 0]))
    found = load_source(tmp_path / "some.npz", task="regression")
    assert (found.name, found.classification, found.targets.dtype) == ("some", False, np.float64)
    assert load_source("digits", task="classification").targets[:3].tolist() == [0, 1, 2]
