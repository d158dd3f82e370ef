"""A table as numbers: fitted on training rows, applied to others, and kept in a document.

This is one file because all tests share the small tables that are encoded.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgrad.common.errors import InputError
from glassgrad.data import category_encoding, scaling
from glassgrad.data.encoding import TableEncoding
from glassgrad.data.number_encodings import NumberEncoding
from glassgrad.data.schema import Schema
from glassgrad.data.table import Column, Table


def column(name: str, values: list[Any], kind: str | None = None) -> Column:
    """None is a missing value; text, dates (as datetime64), bools, ints and floats keep their kind."""
    missing = np.array([value is None for value in values])
    present = [value for value in values if value is not None]
    kind = kind or ("O" if isinstance(present[0], str) else np.array(present).dtype.kind)
    empty: Any = {"O": "", "f": np.nan, "i": 0, "b": False, "M": np.datetime64("NaT")}[kind]
    dtype: Any = {"O": object, "f": np.float64, "i": np.int64, "b": bool, "M": "datetime64[us]"}[kind]
    return Column(name, np.array([empty if v is None else v for v in values], dtype=dtype), missing)


def table(place: str = "t.csv", /, **columns: list[Any]) -> Table:
    made = tuple(column(name, values) for name, values in columns.items())
    return Table.of(place, made, len(made[0].values), first_line=2)


def days(*texts: str | None) -> list[Any]:
    return [None if text is None else np.datetime64(text, "us") for text in texts]


def again(encoding: TableEncoding) -> TableEncoding:
    return TableEncoding.from_document(json.loads(json.dumps(encoding.to_document(), allow_nan=False)))


def inputs(encoding: TableEncoding, other: Table, **options: Any) -> dict[str, list[float]]:
    values, _ = encoding.transform(other, **options)
    return {name: values[:, number].tolist() for number, name in enumerate(encoding.names)}


TRAINING = table(
    id=[f"row {i}" for i in range(12)],
    age=[30, 40, None, 60, 20, 50, 35, 45, 55, 25, 65, 70],
    city=["Rome", "Oslo", "Rome", None] * 3,
    member=[True, False, None, True] * 3,
    joined=days(*[f"20{10 + i}-0{1 + i % 9}-15" for i in range(12)]),
    same=["x"] * 12,
)


# --- what the inputs are ------------------------------------------------------------------------------------


def test_every_input_has_a_name_and_an_origin() -> None:
    encoding = TableEncoding.fit(TRAINING, "y")
    assert encoding.names == (
        "age",
        "age is missing",
        "city=Oslo",
        "city=Rome",
        "city is missing",
        "member",
        "member is missing",
        "joined",
        "joined (sine of the week)",
        "joined (cosine of the week)",
        "joined (sine of the year)",
        "joined (cosine of the year)",
    )
    assert encoding.width == len(encoding.origins) == 12
    assert dict(zip(encoding.names, encoding.origins, strict=True))["city=Rome"] == "city"
    kinds = {fact["name"]: (fact["kind"], fact["inputs"]) for fact in encoding.facts()}
    assert kinds == {
        "id": ("identifier", 0),
        "age": ("number", 2),
        "city": ("category", 3),
        "member": ("boolean", 2),
        "joined": ("date", 5),
        "same": ("constant", 0),
    }
    assert encoding.facts()[0]["use"].startswith("left out: an identifier")


def test_inputs_match_their_names() -> None:
    found = inputs(TableEncoding.fit(TRAINING), TRAINING)
    assert found["age"][:4] == [30, 40, 45, 60]  # the median of the others replaced
    assert found["age is missing"] == [0, 0, 1] + [0] * 9
    assert found["city=Rome"] == [1, 0, 1, 0] * 3
    assert found["city is missing"] == [0, 0, 0, 1] * 3
    assert found["member"] == pytest.approx([1, 0, 2 / 3, 1] * 3)
    assert found["member is missing"] == [0, 0, 1, 0] * 3
    assert found["joined"][0] == (np.datetime64("2010-01-15") - np.datetime64("1970-01-01")).astype(int)
    turn = 2 * math.pi * found["joined"][5] / 7
    assert found["joined (sine of the week)"][5] == pytest.approx(math.sin(turn))


def test_a_date_with_a_time_of_day_has_its_cycle() -> None:
    hours = table(t=days(*[f"2020-01-0{d}T{h:02}:00" for d in range(1, 6) for h in (0, 6, 12, 18)]))
    encoding = TableEncoding.fit(hours)
    assert encoding.names == ("t", "t (sine of the day)", "t (cosine of the day)")
    values, _ = encoding.transform(hours)
    assert values[:5, 0].tolist() == [18262, 18262.25, 18262.5, 18262.75, 18263]
    np.testing.assert_allclose(values[:4, 1], [0, 1, 0, -1], atol=1e-9)


def test_a_heavy_tail_is_transformed_and_can_be_inverted() -> None:
    values = np.exp(np.random.default_rng(0).normal(0, 2, 500))
    data = table(money=values.tolist(), even=np.linspace(-1, 1, 500).tolist())
    encoding = TableEncoding.fit(data)
    money, even = encoding.columns
    assert isinstance(money, NumberEncoding)
    assert isinstance(even, NumberEncoding)
    assert even.spread is None
    assert money.spread is not None
    coded, _ = encoding.transform(data)
    np.testing.assert_allclose(money.center + money.spread * np.sinh(coded[:, 0]), values, rtol=1e-9)
    assert np.abs(coded[:, 0]).max() < 8 < values.max() / np.median(values)
    assert TableEncoding.fit(data, transform_tails=False).columns[0] == NumberEncoding(
        "money", money.fill, False
    )


def test_mostly_zeros_with_a_few_large_numbers_are_transformed() -> None:
    gains = [0.0] * 95 + [3000.0, 5000.0, 7000.0, 15000.0, 99999.0]
    encoding = TableEncoding.fit(table(gain=gains))
    (gain,) = encoding.columns
    assert isinstance(gain, NumberEncoding)
    assert (gain.center, gain.spread) == (0.0, 7000.0)
    coded, _ = encoding.transform(table(gain=gains))
    assert coded[97, 0] == math.asinh(1)


def test_rare_categories_share_an_input_and_categories_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"c{i:02}" for i in range(30) for _ in range(40)] + ["odd", "odder"]
    encoding = TableEncoding.fit(table(c=names))
    assert encoding.width == 31
    assert encoding.names[-1] == "c is rare or unknown"
    found = inputs(encoding, table(c=["odd", "c03", "new"]))
    assert found["c is rare or unknown"] == [1, 0, 1]
    _, told = encoding.transform(table(c=["odd", "c03", "new"]))
    assert told == (
        "column 'c': 1 cell has a category that is not in the training rows ('new', in line 4); counted as rare",
    )
    monkeypatch.setattr(category_encoding, "CATEGORIES", 3)
    few = TableEncoding.fit(table(c=["a"] * 50 + ["b"] * 40 + ["c"] * 30 + ["d"] * 60 + ["e"] * 20))
    assert few.names == ("c=a", "c=b", "c=d", "c is rare or unknown")


def test_categories_that_are_all_rare_are_left_out() -> None:
    encoding = TableEncoding.fit(table(c=[f"c{i // 2}" for i in range(2000)], x=list(range(2000))))
    assert encoding.names == ("x",)
    assert encoding.columns[0].kind == "identifier"


def test_unseen_cells_become_the_average_of_the_training_rows() -> None:
    encoding = TableEncoding.fit(table(c=["a", "a", "a", "b"]))
    values, told = encoding.transform(table(c=["b", "new", None]))
    assert values.tolist() == [[0, 1], [0.75, 0.25], [0.75, 0.25]]
    assert [message.split(";")[0] for message in told] == [
        "column 'c': 1 cell has no value (in line 4), but all training rows had one",
        "column 'c': 1 cell has a category that is not in the training rows ('new', in line 3)",
    ]


def test_a_table_without_usable_columns_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^t.csv: no column is left .*'a' \(constant\), 'b' \(identifier\)$"
    ):
        TableEncoding.fit(table(a=["x"] * 3, b=["1a", "2b", "3c"]))


def test_only_the_training_rows_count() -> None:
    whole = table(x=[1.0, 2.0, 3.0, 1000.0, None], c=["a", "b", "a", "zzz", None])
    encoding = TableEncoding.fit(whole[[0, 1, 2]])
    assert encoding.names == ("x", "c=a", "c=b")
    assert encoding.columns[0] == NumberEncoding("x", 2.0, False)
    values, _ = encoding.transform(whole)
    assert values[4].tolist() == [2.0, pytest.approx(2 / 3), pytest.approx(1 / 3)]


# --- other tables -------------------------------------------------------------------------------------------


def test_columns_are_found_by_name_and_others_give_a_notice() -> None:
    encoding = TableEncoding.fit(TRAINING, "y")
    names = ["more", "joined", "member", "city", "age", "y", "less"]
    columns = {name: TRAINING.column(name) for name in TRAINING.names}
    extra = {name: column(name, list(range(12))) for name in ("more", "y", "less")}
    other = Table.of("o.csv", tuple((columns | extra)[name] for name in names), 12)
    values, told = encoding.transform(other)
    assert np.array_equal(values, encoding.transform(TRAINING)[0])
    assert told == ("columns ignored because the training table did not have them: 'more', 'less'",)


def test_missing_columns_are_named() -> None:
    encoding = TableEncoding.fit(TRAINING)
    with pytest.raises(InputError, match=r"^t.csv: has no column 'age', 'joined', which this model needs$"):
        encoding.transform(TRAINING.without("age").without("joined"))
    other = Table.of("t.csv", (*TRAINING.without("city").columns, column("City ", ["x"] * 12)), 12)
    with pytest.raises(InputError, match=r"no column 'city', which .*; did you rename it to 'City '\?$"):
        encoding.transform(other)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("age", ["7", "x7"], "column 'age' has 'x7' in line 3, which is not a number"),
        ("age", ["7", "inf"], "column 'age' has 'inf' in line 3, which is not a number"),
        ("age", ["7", "1_000"], "column 'age' has '1_000' in line 3, which is not a number"),
        ("age", days("2020-01-01", "2020-01-01"), "column 'age' has dates, but numbers are needed"),
        ("member", ["yes", "maybe"], "column 'member' has 'maybe' in line 3, which is not true or false"),
        ("member", [1, 2], "column 'member' has '2' in line 3, which is not true or false"),
        (
            "joined",
            ["2020-02-29", "2021-02-29"],
            "column 'joined' has '2021-02-29' in line 3, which is not a date",
        ),
        ("joined", ["2020-02-29", "now"], "column 'joined' has 'now' in line 3, which is not a date"),
        ("joined", [1.5, 2.5], "column 'joined' has numbers, but dates are needed"),
        (
            "city",
            days("2020-01-01", "2020-01-01"),
            "column 'city' holds dates, but training had categories there",
        ),
    ],
)
def test_a_cell_of_another_kind_is_named(name: str, values: list[Any], message: str) -> None:
    base = TRAINING[:2]
    columns = tuple(column(name, values) if c.name == name else c for c in base.columns)
    with pytest.raises(InputError) as refusal:
        TableEncoding.fit(TRAINING).transform(Table.of("o.csv", columns, 2, first_line=2))
    assert str(refusal.value).startswith(f"o.csv: {message}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "values", "same"),
    [
        ("age", ["30", " 40.0"], [30.0, 40.0]),
        ("age", [True, False], [1.0, 0.0]),
        ("member", ["Yes", "false"], [True, False]),
        ("member", [1.0, 0.0], [True, False]),
        ("joined", ["2010-01-15", "2011-02-15T01:00+01:00"], days("2010-01-15", "2011-02-15")),
    ],
)
def test_cells_that_can_be_converted_are_accepted(name: str, values: list[Any], same: list[Any]) -> None:
    encoding = TableEncoding.fit(TRAINING)
    base = TRAINING[:2]

    def with_cells(cells: list[Any]) -> Table:
        return Table.of("o.csv", tuple(column(name, cells) if c.name == name else c for c in base.columns), 2)

    assert np.array_equal(encoding.transform(with_cells(values))[0], encoding.transform(with_cells(same))[0])


@pytest.mark.parametrize(
    ("categories", "read", "slots"),
    [
        (["1", "2", "A"], [1, 2, 3], [0, 1, None]),
        (["1.50", "2", "A"], [1.5, 2.0, 3.0], [0, 1, None]),
        (["true", "FALSE", "A"], [True, False, True], [2, 1, 2]),
    ],
)
def test_categories_match_when_a_file_reads_as_numbers(
    categories: list[str], read: list[Any], slots: list[int | None]
) -> None:
    encoding = TableEncoding.fit(table(c=categories * 10))
    values, _ = encoding.transform(table(c=read))
    known = [int(row.argmax()) if row.max() == 1 else None for row in values]
    assert known == slots


def test_strict_refuses_the_first_unseen_cell() -> None:
    encoding = TableEncoding.fit(table(c=["a", "b"] * 3, x=[1.0, 2.0] * 3))
    with pytest.raises(InputError, match=r"^t.csv: column 'c' has 'z', a category .* in line 3; "):
        encoding.transform(table(c=["a", "z"], x=[1.0, 1.0]), strict=True)
    with pytest.raises(InputError, match=r"^t.csv: column 'x' has no value in line 3; "):
        encoding.transform(table(c=["a", "b"], x=[1.0, None]), strict=True)
    assert encoding.transform(table(c=["a", "b"], x=[1.0, 7.0]), strict=True)[1] == ()


def test_a_rare_category_is_not_unseen() -> None:
    encoding = TableEncoding.fit(table(c=["a"] * 1000 + ["b"] * 2))
    assert encoding.names == ("c=a", "c is rare or unknown")
    values, told = encoding.transform(table(c=["b"]), strict=True)
    assert (values.tolist(), told) == ([[0, 1]], ())


def test_chunks_change_nothing_and_their_counts_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = TableEncoding.fit(TRAINING)
    cities = ["Rome", "Bonn", "Oslo", "Kyiv"] * 3
    other = Table.of("o.csv", (*TRAINING.without("city").columns, column("city", cities)), 12, first_line=2)
    whole = encoding.transform(other)
    monkeypatch.setattr(scaling, "CHUNK", 40)
    parts = encoding.transform(other)
    assert np.array_equal(whole[0], parts[0])
    assert whole[1] == parts[1]
    assert (
        "6 cells have a category that is not in the training rows ('Bonn', the first in line 3)"
        in whole[1][0]
    )


# --- in a schema --------------------------------------------------------------------------------------------

LABELS = np.arange(12) % 2


def test_numbers_are_standardized_and_booleans_are_not() -> None:
    schema = Schema.fit(TRAINING, LABELS, True, target="y")
    assert schema.input_names[:3] == ("age", "age is missing", "city=Oslo")
    assert schema.feature_shape == (12,)
    ready = schema.transform_features(TRAINING, "float64")
    found = dict(zip(schema.input_names, ready.T, strict=True))
    for name in ("age", "joined"):
        assert found[name].mean() == pytest.approx(0, abs=1e-12)
        assert found[name].std() == pytest.approx(1)
    assert set(found["city=Rome"].tolist()) == {0.0, 1.0}
    raw = Schema.fit(TRAINING, LABELS, True, "none").transform_features(TRAINING, "float64")
    assert np.array_equal(raw, TableEncoding.fit(TRAINING, transform_tails=False).transform(TRAINING)[0])


def test_inputs_of_arrays_are_named_by_index() -> None:
    assert Schema.fit(np.eye(3), np.arange(3) % 2, True).input_names == ("x[0]", "x[1]", "x[2]")
    images = Schema.fit(np.zeros((4, 2, 3)), np.arange(4) % 2, True)
    assert images.input_names[4] == "x[1, 1]"
    assert len(images.input_names) == 6


def test_a_number_too_large_is_named() -> None:
    schema = Schema.fit(table(a=[1.0, 2.0, 3.0], b=["x", "y", "x"]), LABELS[:3], True)
    with pytest.raises(
        InputError, match=r"^t.csv: column 'a' has a number in line 3 that is too large for float32"
    ):
        schema.transform_features(table(a=[1.0, 1e300, 1.0], b=["x", "x", "x"]), "float32")


def test_other_objects_than_tables_are_refused() -> None:
    schema = Schema.fit(TRAINING, LABELS, True)
    with pytest.raises(InputError, match="this model takes tables with the columns 'age', 'city', 'member'"):
        schema.transform_features(np.zeros((3, 5)), "float32")
    with pytest.raises(
        InputError, match=r"^t.csv: is a table, but this model takes arrays of shape \[rows, 3\]"
    ):
        Schema.fit(np.eye(3), LABELS[:3], True).transform_features(TRAINING, "float32")
    with pytest.raises(InputError, match="there are no targets; give y"):
        schema.take_targets(TRAINING)


def test_a_dict_of_columns_is_a_table() -> None:
    schema = Schema.fit(table(a=[1.0, 2.0, 3.0], b=["x", "y", "x"]), LABELS[:3], True)
    found = schema.transform_features({"b": ["y", "x"], "a": np.array([3.0, 1.0])}, "float64")
    assert np.array_equal(found, schema.transform_features(table(a=[3.0, 1.0], b=["y", "x"]), "float64"))


# --- the document -------------------------------------------------------------------------------------------


def test_the_document_keeps_every_bit() -> None:
    schema = Schema.fit(TRAINING, LABELS, True, target="y")
    document = json.loads(json.dumps(schema.to_document(), allow_nan=False))
    restored = Schema.from_document(document)
    assert restored.to_document() == schema.to_document()
    assert restored.input_names == schema.input_names
    for name in ("float32", "float64"):
        first, second = (s.transform_features(TRAINING, name) for s in (schema, restored))
        assert first.tobytes() == second.tobytes()


CELLS = st.none() | st.floats(-1e9, 1e9) | st.integers(-5, 5).map(float)
WORDS = st.none() | st.sampled_from(["a", "b", "c", "ä=b", "1", "true"])


@given(st.lists(st.tuples(CELLS, WORDS), min_size=3, max_size=30))
def test_training_rows_have_no_unseen_cells(rows: list[tuple[Any, Any]]) -> None:
    numbers, words = (list(items) for items in zip(*rows, strict=True))
    columns = (column("n", numbers, "f"), column("w", words, "O"), column("i", list(range(len(rows)))))
    whole = Table.of("t", columns, len(rows))
    encoding = TableEncoding.fit(whole)
    restored = again(encoding)
    values, told = encoding.transform(whole, strict=True)
    assert told == ()
    assert np.isfinite(values).all()
    assert values.tobytes() == restored.transform(whole)[0].tobytes()
    assert restored.names == encoding.names
    assert len(set(encoding.names)) == encoding.width == values.shape[1]


DOCUMENT = Schema.fit(TRAINING, LABELS, True, target="y").to_document()
JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3,
    1e308,
    10**400,
    float("nan"),
    "x",
    "number",
    [],
    ["x"],
    [[]],
    {},
    {"kind": "date"},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(place for key in keys for place in places(value[key], (*path, key)))]


@given(st.sampled_from(places(DOCUMENT["table"])), st.sampled_from(JUNK) | st.just("DELETE"))
def test_a_damaged_document_is_refused_or_harmless(place: tuple[Any, ...], junk: Any) -> None:
    document = copy.deepcopy(DOCUMENT)
    inside: Any = document
    *path, last = ("table", *place)
    for key in path:
        inside = inside[key]
    if junk == "DELETE":
        del inside[last]
    else:
        inside[last] = junk
    with contextlib.suppress(InputError):  # any other exception is a failure
        Schema.from_document(document).transform_features(TRAINING, "float32")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "number", "fill": float("nan")},
        {"kind": "number", "spread": 0.0},
        {"kind": "number", "spread": -1},
        {"kind": "number", "gaps": 1},
        {"kind": "number", "more": 1},
        {"kind": "category", "categories": ["Rome", "Rome"]},
        {"kind": "category", "counts": [6, 3, 0]},
        {"kind": "category", "counts": [6, 3, 1, 3]},
        {"kind": "category", "counts": [0, 3, 0, 3]},
        {"kind": "category", "rare": ["Rome"]},
        {"kind": "date", "cycles": ["week", "day"]},
        {"kind": "date", "fill": 1e30},
        {"kind": "boolean", "fill": "1"},
        {"kind": "identifier", "why": 1},
    ],
)
def test_a_damaged_column_is_refused(change: dict[str, Any]) -> None:
    document = copy.deepcopy(DOCUMENT)
    columns = document["table"]["columns"]
    number = next(i for i, entry in enumerate(columns) if entry["kind"] == change["kind"])
    columns[number] |= change
    with pytest.raises(InputError, match=r"^preprocessing: .*save .*again$"):
        Schema.from_document(document)


def test_a_table_that_does_not_fit_the_network_is_refused() -> None:
    for change in ({"feature_shape": [11]}, {"table": None}, {"table": {"target": "age", "columns": []}}):
        with pytest.raises(InputError, match=r"^preprocessing: "):
            Schema.from_document(DOCUMENT | change)
    twice = copy.deepcopy(DOCUMENT)
    twice["table"]["target"] = "age"
    with pytest.raises(InputError, match="two columns of the table have the same name"):
        Schema.from_document(twice)
