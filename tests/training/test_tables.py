"""Networks trained on tables: DataFrames, files, predictions, and accuracy on real data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import glassgrad as gg

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
ADULT, HOUSING = SHARED / "adult_income.csv.gz", SHARED / "california_housing.csv.gz"
QUICK: dict[str, Any] = {"backend": "reference", "layers": [6], "epochs": 4, "learning_rate": 0.02}


def people(rows: int = 240) -> pd.DataFrame:
    """What somebody earns follows from age and city, as far as they are known."""
    generator = np.random.default_rng(0)
    age = generator.integers(18, 80, rows)
    city = generator.choice(["Rome", "Oslo", "Bern"], rows)
    frame = pd.DataFrame(
        {
            "id": np.arange(rows) + 1000,
            "age": age,
            "city": city,
            "member": generator.random(rows) < 0.4,
            "joined": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(generator.integers(0, 900, rows), unit="D"),
            "earns": np.where((age > 45) ^ (city == "Oslo"), "much", "little"),
        }
    )
    frame.loc[::9, "city"] = None
    return frame


@pytest.fixture(scope="module")
def run() -> gg.Run:
    return gg.train(people(), target="earns", **QUICK | {"epochs": 60})


def test_a_network_learns_from_columns_of_every_kind(run: gg.Run) -> None:
    assert run.metrics["train"]["accuracy"] > 0.85
    assert run.model.schema.classes == ("little", "much")
    table = run.model.schema.table
    assert table is not None
    assert table.target == "earns"
    assert [column.name for column in table.columns if not column.inputs] == ["id"]
    assert run.model.weights["dense_1.weights"].shape == (table.width, 6)
    assert run.dataset.target == "earns"


@pytest.mark.parametrize(
    "convert", [pl.from_pandas, pa.Table.from_pandas, lambda frame: frame.to_dict("list"), pd.DataFrame]
)
def test_every_form_of_a_table_gives_the_same_bits(run: gg.Run, convert: Callable[[Any], Any]) -> None:
    frame = people()
    expected = run.model.predict_probabilities(frame)
    given = convert(frame)
    assert run.model.predict_probabilities(given).tobytes() == expected.tobytes()
    assert run.model.predict(given).tolist() == run.model.predict(frame).tolist()


def test_columns_may_be_in_any_order_with_or_without_the_target(run: gg.Run) -> None:
    frame = people()
    expected = run.model.predict_probabilities(frame)
    other = frame[["joined", "member", "city", "age"]]
    assert run.model.predict_probabilities(other).tobytes() == expected.tobytes()
    assert expected.shape == (240, 2)
    np.testing.assert_allclose(expected.sum(axis=1), 1, rtol=1e-12)


def test_the_file_keeps_every_bit(run: gg.Run, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    loaded = gg.load_model(tmp_path / "run", backend="reference")
    frame = people()
    assert loaded.predict_probabilities(frame).tobytes() == run.model.predict_probabilities(frame).tobytes()
    assert loaded.to_bytes() == run.model.to_bytes()


def test_a_table_with_its_target_is_evaluated(run: gg.Run) -> None:
    frame = people()
    found = run.model.evaluate(frame)
    assert found == run.model.evaluate(frame.drop(columns="earns"), frame["earns"])
    assert found["accuracy"] == (run.model.predict(frame) == frame["earns"]).mean()
    frame.loc[3:, "earns"] = None
    assert run.model.evaluate(frame) == run.model.evaluate(people()[:3])
    with pytest.raises(gg.InputError, match="no column 'earns', which is this model's target"):
        run.model.evaluate(frame.drop(columns="earns"))
    with pytest.raises(gg.InputError, match=r"has 'a lot' in row 0 .*, which is not a class of this model"):
        run.model.evaluate(people().assign(earns="a lot"))


def test_inner_values_can_be_read(run: gg.Run) -> None:
    frame = people()
    assert run.model.inside(frame, "dense_1")["dense_1"].shape == (240, 6)
    assert run.model.neuron("dense_1[2]", frame).shape == (240,)


def test_unknown_categories_warn_at_the_line_that_calls_predict(run: gg.Run) -> None:
    with pytest.warns(
        UserWarning, match="240 cells have a category that is not in the training rows"
    ) as caught:
        run.model.predict(people().assign(city="Paris"))
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="the training table did not have them: 'more'"):
        run.model.predict(people().assign(more=1))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (people().drop(columns="age"), "the DataFrame: has no column 'age', which this model needs"),
        (people().assign(age="old"), "column 'age' has 'old' in row 0"),
        (people().to_numpy(), "this model takes tables with the columns 'age', 'city', 'member', 'joined'"),
        ("people.csv", "give a DataFrame, not str"),
    ],
)
def test_unsuitable_tables_are_refused(run: gg.Run, frame: Any, said: str) -> None:
    with pytest.raises(gg.InputError) as refusal:
        run.model.predict(frame)
    assert said in str(refusal.value)


def test_preprocessing_is_fitted_on_the_training_rows() -> None:
    """Other values in the rows that are held back leave the weights and the preprocessing as they are."""
    frame = people()
    first = gg.train(frame, target="earns", keep="last", **QUICK)
    held = np.ones(len(frame), dtype=bool)
    held[gg_split_rows(frame)] = False
    changed = frame.assign(
        age=np.where(held, 500, frame["age"]), city=np.where(held, "Atlantis", frame["city"].astype(object))
    )
    second = gg.train(changed, target="earns", keep="last", **QUICK)
    assert first.model.schema.to_document() == second.model.schema.to_document()
    for name, array in first.model.weights.items():
        assert array.tobytes() == second.model.weights[name].tobytes()
    notices = second.task.parts.notices
    assert any(said.startswith("validation rows: column 'city': ") for said in notices)
    assert any(said.startswith("test rows: column 'city': ") for said in notices)


def gg_split_rows(frame: pd.DataFrame) -> np.ndarray:
    from glassgrad.data.dataset import from_table
    from glassgrad.data.split import split

    return split(from_table(frame, "earns"), validation=0.1, test=0.2, seed=0).train


def test_a_regression_on_a_table_is_reported_in_its_own_units() -> None:
    frame = people()
    run = gg.train(frame, target="age", **QUICK)
    assert run.model.schema.task == "regression"
    assert 18 <= run.model.predict(frame).mean() <= 80
    labels = gg.train(frame.assign(age=frame["age"] // 20), target="age", **QUICK)
    assert labels.model.schema.classes == (0, 1, 2, 3)
    assert labels.model.predict(frame).dtype == np.int64


def test_sample_weights_of_dropped_rows_are_dropped() -> None:
    frame = people()
    frame.loc[::5, "earns"] = None
    weights = np.random.default_rng(0).random(240)
    whole = gg.train(frame, target="earns", sample_weight=weights, **QUICK)
    kept = frame["earns"].notna().to_numpy()
    short = gg.train(frame[kept], target="earns", sample_weight=weights[kept], **QUICK)
    for name, array in whole.model.weights.items():
        assert array.tobytes() == short.model.weights[name].tobytes()
    assert whole.dataset.dropped == 48


def test_many_networks_share_one_table() -> None:
    runs = gg.train_many(people(), [{"seed": 0}, {"seed": 1}], target="earns", **QUICK)
    alone = gg.train(people(), target="earns", seed=1, **QUICK)
    assert runs[1].metrics == alone.metrics


def test_without_scaling_numbers_stay_as_they_are() -> None:
    run = gg.train(people(), target="earns", scaling="none", **QUICK)
    assert run.model.prepare(people())[:, 0].tolist() == people()["age"].tolist()


def test_prepared_is_called_before_the_training() -> None:
    told: list[Any] = []
    gg.train(
        people(),
        target="earns",
        prepared=lambda task: told.append(task.parts.schema.input_names),
        progress=lambda progress: told.append(progress.epoch),
        **QUICK,
    )
    assert "city=Oslo" in told[0]
    assert set(told[1:]) == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ([1, 2], {}, "data must be a source, a DataFrame or a Dataset, not list"),
        (gg.load_source("digits"), {"target": "y"}, "a Dataset already has a target and a task"),
        ("digits", {"target": "y"}, "has its own targets"),
        (people(), {"target": "earnings"}, "no column 'earnings'; did you mean 'earns'?"),
        (people(), {"target": "earns", "task": "regression"}, "a regression needs numbers"),
        (people(), {"target": "city", "task": "clustering"}, "unknown task 'clustering'"),
        (people()[["id", "earns"]], {}, "no column is left to learn from; left out: 'id' (identifier)"),
    ],
)
def test_invalid_data_arguments_are_refused(data: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(gg.InputError) as refusal:
        gg.train(data, **options, **QUICK)
    assert said in str(refusal.value)


def test_arrays_are_trained_on_as_before() -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    run = gg.train(gg.from_arrays(x, x[:, 0] > 0), **QUICK)
    assert run.model.schema.table is None
    assert "table" not in run.model.schema.to_document()
    assert run.model.predict(x).shape == (60,)
    assert run.model.predict(pd.DataFrame(x)).tolist() == run.model.predict(x).tolist()


# --- what the defaults give on known data -------------------------------------------------------------------


def test_accuracy_on_adult_income_is_at_least_85_percent() -> None:
    if not ADULT.is_file():
        pytest.skip(f"the Adult income data is not at {ADULT}")
    data = gg.load_source(ADULT, target="income >50K")
    runs = gg.train_many(data, [{"seed": seed} for seed in range(5)])
    assert np.mean([run.metrics["test"]["accuracy"] for run in runs]) >= 0.850
    assert runs[0].model.schema.classes == (0, 1)


def test_rmse_on_california_housing_is_at_most_56_000_dollars() -> None:
    if not HOUSING.is_file():
        pytest.skip(f"the California housing data is not at {HOUSING}")
    data = gg.load_source(HOUSING, target="median_house_value")
    runs = gg.train_many(data, [{"seed": seed} for seed in range(5)])
    assert np.mean([run.metrics["test"]["rmse"] for run in runs]) <= 56_000
    table = runs[0].model.schema.table
    assert table is not None
    assert "total_bedrooms is missing" in table.names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert runs[0].model.predict(data.features).shape == (20_640,)
